"""Alertmanager: `POST /api/v2/alerts`. Each anomaly is an alert there; Alertmanager groups, silences and tells.

https://prometheus.io/docs/alerting/latest/alerts_api/
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import msgspec

from alerting.channels.base import (
    TIMEOUT,
    Answer,
    DeliveryFailed,
    Message,
    NoticeType,
    Setting,
    Target,
    seconds_problem,
    unknown_keys,
)
from alerting.channels.posting import post, url_problem
from alerting.channels.wording import is_web_address
from alerting.rules.payload import AnomalyData
from alerting.rules.plain import one_line

PATH = "/api/v2/alerts"
HOLD = timedelta(days=1)
"""How long an alert fires that nobody resolves, should the resolve be lost; each repetition begins it anew."""
TEST_HOLD = timedelta(minutes=1)
SEVERITIES = ("critical", "warning", "info")
PRINTABLE = re.compile(r"[\x20-\x7e]+")
MAX_LABEL = 512


class Alertmanager:
    """The secret, if any, is a bearer token, or with `username` the password of basic authentication."""

    name: ClassVar[str] = "alertmanager"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("url", "Where Alertmanager is, as in http://alertmanager:9093.", required=True),
        Setting("username", "For basic authentication; without it the secret is a bearer token."),
        TIMEOUT,
    )
    credential: ClassVar[str] = "None, a bearer token, or with a user name the password."

    def problems(self, config: dict[str, Any], secret: str) -> dict[str, str]:
        found = unknown_keys(config, self.settings) | seconds_problem(config, "timeout_secs")
        problem = url_problem(config.get("url"), "http://alertmanager:9093")
        if problem:
            found["url"] = problem
        elif "?" in config["url"] or "#" in config["url"]:
            found["url"] = "must have neither query nor fragment"
        if not isinstance(config.get("username", ""), str) or ":" in config.get("username", ""):
            found["username"] = "must be a text without a colon"
        return found | _secret_problem(secret)

    def send(self, target: Target, message: Message, at: datetime) -> Answer:
        for problem in _secret_problem(target.secret).values():
            raise DeliveryFailed(f"the secret {problem}", permanent=True)
        url = target.config["url"].rstrip("/").removesuffix(PATH) + PATH
        body = msgspec.json.encode(list(alerts(message, at)))
        return post(url, body, at, target.config, headers=_credentials(target), secret=target.secret)


def _secret_problem(secret: str) -> dict[str, str]:
    return {"secret": "must be one line of ASCII text"} if secret and not PRINTABLE.fullmatch(secret) else {}


def alerts(message: Message, at: datetime) -> Iterator[dict[str, Any]]:
    """The alerts of a notice: its anomalies under their severity, ended under every other one.

    The severity is a label, by which people route, and labels are what Alertmanager knows an alert by. So an
    anomaly that became critical would go on as a warning beside it. One that was never there ends unheard.
    """
    for anomaly in message.notice.anomalies:
        ended = message.notice.is_resolved or anomaly.status == "resolved"
        for severity in SEVERITIES:
            fires = severity == anomaly.severity and not ended
            if fires or message.notice.type != NoticeType.TEST:
                yield alert(message, anomaly, severity, _end(message, at) if fires else at, at)


def alert(message: Message, anomaly: AnomalyData, severity: str, ends_at: datetime, at: datetime) -> dict[str, Any]:
    """One alert, as the API wants it."""
    own = {
        "alertname": anomaly.anomaly_type,
        "severity": severity,
        "service": anomaly.service,
        "model": anomaly.model,
        "metric": anomaly.metric,
        "source": "llm-sentinel",
    }
    labels = {label_name(name): value for name, value in anomaly.labels.items()} | own
    annotations = {
        "summary": anomaly.title,
        "description": anomaly.description,
        "runbook_url": anomaly.runbook_url or "",
        "anomaly_id": anomaly.id,
        "delivery_id": message.id,
    }
    link = {"generatorURL": anomaly.url} if is_web_address(anomaly.url) else {}
    return link | {
        "labels": {name: one_line(value, MAX_LABEL) for name, value in labels.items() if value},
        "annotations": {name: one_line(value, 4000) for name, value in annotations.items() if value},
        "startsAt": _stamp(min(anomaly.first_seen, at)),
        "endsAt": _stamp(ends_at),
    }


def label_name(name: str) -> str:
    """A label of a service as Prometheus may name it: letters, digits and `_`, and none of those we set."""
    return "label_" + re.sub(r"[^A-Za-z0-9_]", "_", name)[:100]


def _end(message: Message, at: datetime) -> datetime:
    return at + (TEST_HOLD if message.notice.type == NoticeType.TEST else HOLD)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _credentials(target: Target) -> dict[str, str]:
    if not target.secret:
        return {}
    user = target.config.get("username")
    if not user:
        return {"Authorization": f"Bearer {target.secret}"}
    return {"Authorization": "Basic " + b64encode(f"{user}:{target.secret}".encode()).decode()}
