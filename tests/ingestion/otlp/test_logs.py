"""Log records with events of the GenAI conventions, in both encodings."""

from __future__ import annotations

from typing import Any

import pytest

from ingestion.formats import native
from ingestion.formats.otlp import Decoded, Encoding, Unreadable, logs_of
from ingestion.formats.validation import Limits
from tests.ingestion.otlp.requests import (
    CHAT,
    ENCODINGS,
    RECEIVED_MS,
    SPAN_ID,
    START_NS,
    TRACE_ID,
    encoded,
    logs,
    record,
    span,
    traces,
)

pytestmark = pytest.mark.parametrize("encoding", ENCODINGS)


def decode(request: Any, encoding: Encoding, **limits: Any) -> Decoded:
    return logs_of(encoded(request, encoding), encoding, received_ms=RECEIVED_MS, limits=Limits(**limits))


def test_an_event_of_an_llm_call_becomes_an_event(encoding: Encoding) -> None:
    (found,) = decode(logs(record(CHAT | {"gen_ai.client.operation.duration": 0.85})), encoding).events
    assert (found.service, found.model, found.latency_ms) == ("chat-api", "gpt-4o-2024-08-06", 850.0)
    assert (found.prompt_tokens, found.completion_tokens, found.timestamp_ns) == (120, 30, START_NS)
    assert (found.otlp_signal, found.finish_reason, found.event_id) == ("log", "stop", None)


def test_an_event_need_not_tell_how_long_the_call_took(encoding: Encoding) -> None:
    (found,) = decode(logs(record()), encoding).events
    assert found.latency_ms is None
    assert native.decode(native.encode(found), received_ms=RECEIVED_MS, limits=Limits()) == found


def test_members_of_the_body_count_as_attributes(encoding: Encoding) -> None:
    (found,) = decode(
        logs(record({"error.type": "timeout"}, body=CHAT, time_unix_nano=0, observed_time_unix_nano=5)), encoding
    ).events
    assert (found.model, found.errors, found.timestamp_ns) == ("gpt-4o-2024-08-06", ["timeout"], 5)


def test_a_record_within_a_sampled_span_is_left_to_the_span(encoding: Encoding) -> None:
    inside = {"trace_id": TRACE_ID, "span_id": SPAN_ID}
    decoded = decode(logs(record(**inside, flags=1)), encoding)
    assert (decoded.events, decoded.rejections, decoded.ignored) == ([], [], 1)
    (found,) = decode(logs(record(**inside, flags=0)), encoding).events
    assert found.event_id == f"{TRACE_ID.hex()}-{SPAN_ID.hex()}"


@pytest.mark.parametrize("attributes", [{}, {"gen_ai.system": "openai"}, {"gen_ai.operation.name": "execute_tool"}])
def test_other_records_are_ignored(attributes: dict[str, Any], encoding: Encoding) -> None:
    decoded = decode(logs(record(attributes, body="hello", event_name="gen_ai.choice")), encoding)
    assert (decoded.events, decoded.rejections, decoded.ignored) == ([], [], 1)


def test_a_bad_record_is_refused_by_itself(encoding: Encoding) -> None:
    bad = [record(CHAT | {"gen_ai.usage.input_tokens": -1}), record(time_unix_nano=0)]
    decoded = decode(logs(record(), *bad, record()), encoding)
    assert [(r.code, r.field) for r in decoded.rejections] == [
        ("negative", "gen_ai.usage.input_tokens"),
        ("bad_timestamp", "timeUnixNano"),
    ]
    assert len(decoded.events) == 2


def test_spans_sent_as_logs_are_told_where_they_belong(encoding: Encoding) -> None:
    with pytest.raises(Unreadable, match="/v1/traces"):
        decode(traces(span()), encoding)
