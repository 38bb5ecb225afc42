"""Log records: each that tells of an LLM call by itself becomes one event."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from ingestion.formats import validation
from ingestion.formats.event import Event
from ingestion.formats.otlp.attributes import LOG, LOG_WITH_TEXTS, Wanted, collect, is_llm_call
from ingestion.formats.otlp.calls import Origin, event_of, failures_of, hexadecimal, latency_within, moment
from ingestion.formats.otlp.envelopes import LOGS, Decoded, Encoding, groups
from ingestion.formats.otlp.faults import Unreadable
from ingestion.formats.otlp.json_messages import read_value, read_wanted
from ingestion.formats.otlp.mistaken import misplaced
from ingestion.formats.validation import Limits, Rejection

SAMPLED = 1  # the flag of W3C Trace Context


def logs_of(payload: bytes, encoding: Encoding, *, received_ms: int, limits: Limits) -> Decoded:
    """The LLM calls that log records tell of. Raises Unreadable.

    A record within a sampled span says what the span says too, and less of it: it is left to the span.
    """
    decoded = Decoded()
    places = LOG_WITH_TEXTS if limits.capture_text else LOG
    try:
        found = groups(LOGS, payload, encoding, decoded.rejections)
    except Unreadable as error:
        raise Unreadable(f"{error}{misplaced(LOGS, payload, encoding)}") from None
    dated = False
    for resource, _, records in found:
        origin = Origin.of(resource, limits)
        for record in records:
            dated = dated or bool(record.time_unix_nano or record.observed_time_unix_nano)
            try:
                event = _event(record, origin, places, received_ms, limits, is_json=encoding == "json")
            except Rejection as rejection:
                decoded.rejections.append(rejection.kept())
                continue
            if event is None:
                decoded.ignored += 1
            else:
                decoded.events.append(event)
    if not (decoded.events or dated) and (hint := misplaced(LOGS, payload, encoding)):
        raise Unreadable(f"The body holds no log records.{hint}")
    return decoded


def _event(
    record: Any, origin: Origin, places: Wanted, received_ms: int, limits: Limits, *, is_json: bool
) -> Event | None:
    """The event of a record, None if it tells of no LLM call or leaves that to its span."""
    found = collect(_attributes(record, places, is_json=is_json), places)
    if not is_llm_call(found):
        return None
    span_id = hexadecimal(record.span_id, 8)
    if span_id and (record.flags or 0) & SAMPLED:
        return None
    nanoseconds = record.time_unix_nano or record.observed_time_unix_nano or 0
    if nanoseconds <= 0:
        raise Rejection(validation.BAD_TIMESTAMP, "timeUnixNano", "is required, in nanoseconds since 1970")
    marks: list[str] = []
    latency = found.get("duration", found.get("latency_ms"))
    return event_of(
        found,
        origin,
        limits,
        marks,
        signal="log",
        timestamp_ns=moment(nanoseconds, received_ms, limits, marks),
        latency_ms=None if latency is None else latency_within(latency, limits, marks),
        errors=failures_of(found, None, failed=False, limits=limits),
        trace_id=hexadecimal(record.trace_id, 16),
        span_id=span_id,
    )


def _attributes(record: Any, places: Wanted, *, is_json: bool) -> Iterable[Any]:
    """The attributes of a record and, as the first events of the conventions had it, the members of its body."""
    if not is_json:
        return chain(record.attributes, record.body.kvlist_value.values)
    body = read_value(record.body)
    members = body.kvlist_value.values if body.kvlist_value is not None else ()
    return chain(read_wanted(record.attributes, places), members)
