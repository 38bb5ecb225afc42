"""What receivers get: the JSON body of webhooks and messages, and the routing key of RabbitMQ."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

MAX_ROUTING_KEY = 255
"""Bytes: a short string of AMQP 0-9-1."""
MAX_LISTED = 100
"""Anomalies in one body."""
MANY = "_many"
"""Stands for the service in the routing key of a message about several."""


class AnomalyData(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of an alert about one anomaly. Numbers are in the unit of the metric; what is unknown is null."""

    id: str
    title: str
    description: str
    severity: str
    status: str
    anomaly_type: str
    service: str
    model: str
    metric: str
    detector: str
    value: float | None
    baseline_mean: float | None
    baseline_stddev: float | None
    z_score: float | None
    occurrences: int
    first_seen: datetime
    last_seen: datetime
    url: str
    runbook_url: str | None
    labels: dict[str, str]
    sample_trace_ids: list[str]


class BatchData(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of an alert about several anomalies: the highest severity, at most `MAX_LISTED` of the `count` of them."""

    incident_id: str | None
    status: str
    severity: str
    title: str
    anomalies: list[AnomalyData]
    count: int


class Envelope(msgspec.Struct, frozen=True):
    """The whole body: the type of event, when it happened, and its data."""

    type: str
    timestamp: datetime
    data: AnomalyData | BatchData


def encode_body(event: str, occurred_at: datetime, data: AnomalyData | BatchData) -> bytes:
    """UTF-8 JSON; times are RFC 3339 in UTC, numbers that are not finite become null.

    Raises `ValueError` for a naive time, which would be a wrong one in every zone but one.
    """
    if occurred_at.tzinfo is None:
        raise ValueError("occurred_at must have a time zone")
    return msgspec.json.encode(Envelope(event, occurred_at.astimezone(UTC), data))


def routing_key(prefix: str, severity: str, service: str, anomaly_type: str) -> str:
    """`<prefix>.<severity>.<service>.<anomaly_type>`; any character but letters, digits, `_` and `-` becomes `_`.

    A dot in a name would otherwise add a word and break the pattern `alert.*.my-service.*`.
    """
    return ".".join([prefix, *(_word(text) for text in (severity, service, anomaly_type))])[:MAX_ROUTING_KEY]


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", text) or "_"
