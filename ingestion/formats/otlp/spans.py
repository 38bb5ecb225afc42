"""Spans: each that is an LLM call becomes one event."""

from __future__ import annotations

from typing import Any

from ingestion.formats import validation
from ingestion.formats.event import Event
from ingestion.formats.otlp.attributes import SPAN, SPAN_WITH_TEXTS, collect, is_llm_call
from ingestion.formats.otlp.calls import Origin, event_of, failures_of, hexadecimal, latency_within, moment
from ingestion.formats.otlp.encoded import EncodedAttributes
from ingestion.formats.otlp.envelopes import TRACES, Decoded, Encoding, groups
from ingestion.formats.otlp.faults import Unreadable
from ingestion.formats.otlp.json_messages import read_wanted
from ingestion.formats.otlp.mistaken import misplaced
from ingestion.formats.validation import Limits, Rejection

ERROR_CODES = (2, "2", "STATUS_CODE_ERROR")
ENCODED, ENCODED_WITH_TEXTS = EncodedAttributes(SPAN), EncodedAttributes(SPAN_WITH_TEXTS)


def spans_of(payload: bytes, encoding: Encoding, *, received_ms: int, limits: Limits) -> Decoded:
    """The LLM calls among the spans of a request. Raises Unreadable."""
    decoded = Decoded()
    places, encoded = (SPAN_WITH_TEXTS, ENCODED_WITH_TEXTS) if limits.capture_text else (SPAN, ENCODED)
    try:
        found = groups(TRACES, payload, encoding, decoded.rejections)
    except Unreadable as error:
        raise Unreadable(f"{error}{misplaced(TRACES, payload, encoding)}") from None
    timed, is_json = False, encoding == "json"
    for resource, _, spans in found:
        origin = Origin.of(resource, limits)
        for span in spans:
            try:
                attributes = span.attributes
                told = collect(read_wanted(attributes, places), places) if is_json else encoded.collect(attributes)
                event = _event(span, told, origin, received_ms, limits) if is_llm_call(told) else None
            except Rejection as rejection:
                decoded.rejections.append(rejection.kept())
                continue
            if event is None:
                decoded.ignored += 1
                timed = timed or bool(span.start_time_unix_nano)
            else:
                decoded.events.append(event)
    if not (decoded.events or timed) and (hint := misplaced(TRACES, payload, encoding)):
        raise Unreadable(f"The body holds no spans.{hint}")
    return decoded


def _event(span: Any, found: dict[str, Any], origin: Origin, received_ms: int, limits: Limits) -> Event:
    """The event of a span that is an LLM call."""
    start, end = span.start_time_unix_nano or 0, span.end_time_unix_nano or 0
    if start <= 0 or end < start:
        raise _bad_times(start, end)
    marks: list[str] = []
    status = span.status
    code = status.code if status is not None else None
    failed = bool(code) and code in ERROR_CODES
    return event_of(
        found,
        origin,
        limits,
        marks,
        signal="span",
        timestamp_ns=moment(end, received_ms, limits, marks),
        latency_ms=latency_within((end - start) / 1e6, limits, marks),
        errors=failures_of(found, status.message if failed else None, failed=failed, limits=limits),
        trace_id=hexadecimal(span.trace_id, 16),
        span_id=hexadecimal(span.span_id, 8),
    )


def _bad_times(start: int, end: int) -> Rejection:
    for field, value in (("startTimeUnixNano", start), ("endTimeUnixNano", end)):
        if value <= 0:
            return Rejection(validation.BAD_TIMESTAMP, field, "is required, in nanoseconds since 1970")
    return Rejection(validation.NEGATIVE, "endTimeUnixNano", "must not lie before startTimeUnixNano")
