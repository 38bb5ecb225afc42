"""Requests sent to the path of another signal: told from the body, where nothing else can be made of it."""

from __future__ import annotations

from itertools import islice
from typing import Any

from ingestion.formats.otlp.envelopes import LOGS, METRICS, SIGNALS, TRACES, Encoding, Signal, groups
from ingestion.formats.otlp.faults import Unreadable
from ingestion.formats.otlp.json_messages import ABSENT, members
from ingestion.formats.validation import Rejection

MOST_LOOKED_AT = 100


def misplaced(signal: Signal, payload: bytes, encoding: Encoding) -> str:
    """A sentence that names the path a request of another signal belongs to; "" if it may be of this one."""
    if not payload or _fits(signal, payload, encoding):
        return ""
    for other in SIGNALS:
        if other is not signal and _fits(other, payload, encoding):
            return f" It looks like a request with {other.name}: these go to /v1/{other.name}."
    return ""


def _fits(signal: Signal, payload: bytes, encoding: Encoding) -> bool:
    if encoding == "json":
        try:
            return getattr(members(payload), signal.levels[0]) is not ABSENT
        except Rejection:
            return False
    return _is_plausible(signal, payload)


def _is_plausible(signal: Signal, payload: bytes) -> bool:
    """Whether the first items of a protobuf request have what every item of this signal has.

    Protobuf reads a request of another signal without complaint where the types on the wire allow it.
    """
    try:
        found = groups(signal, payload, "protobuf", [])
        items = islice((item for _, _, some in found for item in some), MOST_LOOKED_AT)
        verdicts = [_ESSENTIAL[signal.name](item) for item in items]
    except Unreadable:
        return False
    return bool(verdicts) and all(verdicts)


def _ends(span: Any) -> bool:
    return bool(span.start_time_unix_nano or span.end_time_unix_nano or (span.trace_id and span.span_id))


def _measures(metric: Any) -> bool:
    return bool(metric.name and metric.WhichOneof("data"))


def _tells(record: Any) -> bool:
    return bool(record.time_unix_nano or record.observed_time_unix_nano or record.HasField("body"))


_ESSENTIAL = {TRACES.name: _ends, METRICS.name: _measures, LOGS.name: _tells}
