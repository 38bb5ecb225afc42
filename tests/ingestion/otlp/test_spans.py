"""Spans of every generation of the conventions, in both encodings: which count as LLM calls, and as what."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from ingestion.formats import native
from ingestion.formats.event import Event
from ingestion.formats.otlp import Decoded, Encoding, Unreadable, sniffed, spans_of
from ingestion.formats.validation import Limits
from tests.ingestion.otlp.requests import (
    CHAT,
    ENCODINGS,
    RECEIVED_MS,
    START_NS,
    as_json,
    encoded,
    logs,
    metrics,
    record,
    span,
    traces,
)

pytestmark = pytest.mark.parametrize("encoding", ENCODINGS)
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o",
    "llm.provider": "openai",
    "llm.token_count.prompt": 120,
    "llm.token_count.completion": 30,
    "llm.token_count.prompt_details.cache_read": 64,
    "llm.token_count.prompt_details.cache_write": 16,
    "llm.token_count.completion_details.reasoning": 8,
    "llm.cost.total": 0.0042,
    "session.id": "s-1",
    "user.id": "u-1",
    "input.value": "How are you?",
    "output.value": "Fine.",
}


def decode(request: Any, encoding: Encoding, **limits: Any) -> Decoded:
    payload = request if isinstance(request, bytes) else encoded(request, encoding)
    assert sniffed(payload) == encoding
    return spans_of(payload, encoding, received_ms=RECEIVED_MS, limits=Limits(**limits))


def event(attributes: dict[str, Any], encoding: Encoding, /, **fields: Any) -> Event:
    """The one event of a span with these attributes."""
    decoded = decode(traces(span(attributes, **fields)), encoding)
    assert decoded.rejections == []
    (found,) = decoded.events
    return found


def refusal(attributes: dict[str, Any], encoding: Encoding, **fields: Any) -> tuple[str, str]:
    """Code and field of the one rejection of a span; what it accompanies is accepted."""
    decoded = decode(traces(span(), span(attributes, **fields), span()), encoding)
    assert len(decoded.events) == 2
    (rejection,) = decoded.rejections
    return rejection.code, rejection.field


def test_a_span_of_the_current_conventions_becomes_an_event(encoding: Encoding) -> None:
    more = {
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.cache_write.input_tokens": 16,
        "gen_ai.usage.reasoning.output_tokens": 8,
        "gen_ai.usage.cost": 0.0042,
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.conversation.id": "c-1",
        "enduser.id": "u-1",
        "server.port": 443,
    }
    found = event(CHAT | more, encoding)
    assert found == Event(
        timestamp_ns=START_NS + 850_000_000,
        service="chat-api",
        model="gpt-4o-2024-08-06",
        event_id="4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        latency_ms=850.0,
        prompt_tokens=120,
        completion_tokens=30,
        total_tokens=150,
        cost_usd=0.0042,
        cost_source="reported",
        metadata={"environment": "production", "region": "eu-west-1"},
        ttft_ms=250.0,
        cached_tokens=64,
        cache_write_tokens=16,
        reasoning_tokens=8,
        finish_reason="stop",
        provider="openai",
        user_id="u-1",
        session_id="c-1",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="00f067aa0ba902b7",
        otlp_signal="span",
    )
    assert native.decode(native.encode(found), received_ms=RECEIVED_MS, limits=Limits()) == found


def test_a_span_of_openinference_becomes_the_same_event(encoding: Encoding) -> None:
    found = event(OPENINFERENCE, encoding)
    assert (found.model, found.provider, found.cost_usd, found.cost_source) == ("gpt-4o", "openai", 0.0042, "reported")
    assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (120, 30, 150)
    assert (found.cached_tokens, found.cache_write_tokens, found.reasoning_tokens) == (64, 16, 8)
    assert (found.user_id, found.session_id, found.prompt_text) == ("u-1", "s-1", "")


@pytest.mark.parametrize(
    ("attributes", "model"),
    [
        ({"embedding.model_name": "e"}, "e"),
        ({"llm.invocation_parameters": '{"model": "asked", "n": 1}'}, "asked"),
        ({"llm.invocation_parameters": '{"model": "asked"}', "llm.model_name": "answered"}, "answered"),
    ],
)
def test_a_model_is_found_wherever_openinference_names_it(
    attributes: dict[str, Any], model: str, encoding: Encoding
) -> None:
    assert event({"openinference.span.kind": "LLM"} | attributes, encoding).model == model


@pytest.mark.parametrize("parameters", ["", "{", "[]", '{"model": 7}', "[" * 100_000, '{"model": null}'])
def test_parameters_that_name_no_model_are_passed_over(parameters: str, encoding: Encoding) -> None:
    attributes = {"openinference.span.kind": "LLM", "llm.invocation_parameters": parameters}
    assert refusal(attributes, encoding) == ("missing", "gen_ai.request.model")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.usage.prompt_tokens": 5, "gen_ai.usage.completion_tokens": 6}, (5, 6)),
        ({"llm.prompt.tokens": 5, "llm.response.tokens": 6}, (5, 6)),
        ({"llm.prompt.tokens": 1, "gen_ai.usage.prompt_tokens": 5, "gen_ai.usage.output_tokens": 6}, (5, 6)),
        ({"gen_ai.usage.output_tokens": 6, "llm.response.tokens": 1, "llm.token_count.prompt": 5}, (5, 6)),
        ({"gen_ai.usage.input_tokens": "5", "gen_ai.usage.output_tokens": 6.0}, (5, 6)),
        ({"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}, (0, 0)),
    ],
)
def test_of_several_names_the_newest_counts(attributes: dict[str, Any], expected: Any, encoding: Encoding) -> None:
    found = event({"gen_ai.request.model": "m"} | attributes, encoding)
    assert (found.prompt_tokens, found.completion_tokens) == expected


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("az.ai.openai", "azure.ai.openai"),
        ("az.ai.inference", "azure.ai.inference"),
        ("vertex_ai", "gcp.vertex_ai"),
        ("gemini", "gcp.gemini"),
        ("anthropic", "anthropic"),
    ],
)
def test_providers_have_their_current_names(said: str, meant: str, encoding: Encoding) -> None:
    assert (
        event({"gen_ai.system": said} | {k: v for k, v in CHAT.items() if "provider" not in k}, encoding).provider
        == meant
    )


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "invoke_agent"},
        {"gen_ai.operation.name": "execute_tool"},
        {"gen_ai.operation.name": "create_agent"},
        {"openinference.span.kind": "AGENT"},
        {"openinference.span.kind": "CHAIN"},
        {"openinference.span.kind": "TOOL"},
    ],
)
def test_agents_chains_and_tools_are_not_counted_again(attributes: dict[str, Any], encoding: Encoding) -> None:
    tokens = {"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 6}
    decoded = decode(traces(span(), span(tokens | attributes)), encoding)
    assert (len(decoded.events), decoded.rejections, decoded.ignored) == (1, [], 1)


def test_a_span_of_something_else_is_ignored(encoding: Encoding) -> None:
    decoded = decode(traces(span({"http.request.method": "POST"})), encoding)
    assert (decoded.events, decoded.rejections, decoded.ignored) == ([], [], 1)


def test_an_embedding_generates_no_tokens(encoding: Encoding) -> None:
    attributes = {"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 5}
    for kind in ({"gen_ai.operation.name": "embeddings"}, {"openinference.span.kind": "EMBEDDING"}):
        found = event(attributes | kind, encoding)
        assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (5, 0, 5)


def test_a_call_that_does_not_tell_its_tokens_counts_with_its_latency(encoding: Encoding) -> None:
    found = event({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}, encoding)
    assert (found.latency_ms, found.prompt_tokens, found.total_tokens, found.error) == (850.0, None, None, False)
    assert native.decode(native.encode(found), received_ms=RECEIVED_MS, limits=Limits()) == found


def test_only_an_error_is_a_failure(encoding: Encoding) -> None:
    assert event(CHAT, encoding, status={"code": 1, "message": "fine"}).errors == []
    assert event(CHAT, encoding, status={"message": "unset"}).error is False
    assert event(CHAT, encoding, status={"code": 2, "message": "boom"}).errors == ["boom"]
    assert event(CHAT, encoding, status={"code": 2}).errors == ["unspecified"]
    both = event(CHAT | {"error.type": "RateLimitError"}, encoding, status={"code": 2, "message": "boom"})
    assert (both.error, both.errors) == (True, ["RateLimitError"])


def test_secrets_in_a_failure_are_masked(encoding: Encoding) -> None:
    found = event(CHAT, encoding, status={"code": 2, "message": 'bad api_key="sk-123456"'})
    assert "sk-123456" not in found.errors[0]


def test_private_data_reaches_no_event(encoding: Encoding) -> None:
    said = {"user.id": "ann@example.com", "session.id": "from 192.168.7.9", "input.value": "I am ann@example.com"}
    request = traces(
        span(CHAT | said, status={"code": 2, "message": "no such user ann@example.com"}),
        resource={"service.name": "chat-api", "service.version": "built by ann@example.com"},
    )
    (found,) = decode(request, encoding, capture_text=True).events
    told = [found.user_id, found.session_id, found.prompt_text, *found.errors, *found.metadata.values()]
    assert all(told)
    assert not any("ann" in text or "192" in text for text in told)


def test_texts_are_kept_only_where_they_are_asked_for(encoding: Encoding) -> None:
    messages = {"gen_ai.input.messages": [{"role": "user", "parts": [{"content": "hé"}]}], "gen_ai.completion": "ho"}
    request = traces(span(CHAT | messages))
    assert decode(request, encoding).events[0].prompt_text == ""
    (kept,) = decode(request, encoding, capture_text=True).events
    assert json.loads(kept.prompt_text) == [{"role": "user", "parts": [{"content": "hé"}]}]
    assert kept.response_text == "ho"


def test_what_is_too_large_is_clamped_and_marked(encoding: Encoding) -> None:
    found = event(CHAT | {"gen_ai.usage.input_tokens": 10**9, "gen_ai.usage.cost": 1e6}, encoding, milliseconds=320_000)
    assert (found.latency_ms, found.prompt_tokens, found.cost_usd) == (300_000.0, 100_000, 100.0)
    assert set(found.marks) == {"clamped_latency", "clamped_tokens", "clamped_cost"}
    ahead = event(CHAT, encoding, start_time_unix_nano=START_NS + 10**15, end_time_unix_nano=START_NS + 2 * 10**15)
    assert (ahead.timestamp_ns, "future" in ahead.marks) == ((RECEIVED_MS + 300_000) * 10**6, True)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.usage.input_tokens": -1}, ("negative", "gen_ai.usage.input_tokens")),
        ({"gen_ai.usage.input_tokens": "many"}, ("wrong_type", "gen_ai.usage.input_tokens")),
        ({"gen_ai.usage.input_tokens": "9" * 5000}, ("wrong_type", "gen_ai.usage.input_tokens")),
        ({"gen_ai.usage.input_tokens": True}, ("wrong_type", "gen_ai.usage.input_tokens")),
        ({"gen_ai.usage.input_tokens": 1.5}, ("wrong_type", "gen_ai.usage.input_tokens")),
        ({"gen_ai.usage.input_tokens": float("nan")}, ("not_finite", "gen_ai.usage.input_tokens")),
        ({"gen_ai.usage.input_tokens": 1e300}, ("out_of_range", "gen_ai.usage.input_tokens")),
        ({"gen_ai.usage.cost": float("inf")}, ("not_finite", "gen_ai.usage.cost")),
        ({"gen_ai.usage.cost": -0.5}, ("negative", "gen_ai.usage.cost")),
        ({"gen_ai.response.model": "", "gen_ai.request.model": ""}, ("missing", "gen_ai.request.model")),
        ({"gen_ai.response.model": "x" * 129}, ("bad_name", "gen_ai.request.model")),
        ({"gen_ai.response.model": "gpt\n4"}, ("bad_name", "gen_ai.request.model")),
    ],
)
def test_a_bad_span_is_refused_by_itself(attributes: dict[str, Any], expected: Any, encoding: Encoding) -> None:
    assert refusal(CHAT | attributes, encoding) == expected


def test_a_span_without_usable_times_is_refused(encoding: Encoding) -> None:
    assert refusal(CHAT, encoding, start_time_unix_nano=None) == ("bad_timestamp", "startTimeUnixNano")
    assert refusal(CHAT, encoding, end_time_unix_nano=None) == ("bad_timestamp", "endTimeUnixNano")
    assert refusal(CHAT, encoding, end_time_unix_nano=START_NS - 1) == ("negative", "endTimeUnixNano")


def test_a_service_without_a_name_has_opentelemetrys_own(encoding: Encoding) -> None:
    assert decode(traces(span(), resource={}), encoding).events[0].service == "unknown_service"
    decoded = decode(traces(span(), span(), resource={"service.name": "chat\x1bapi"}), encoding)
    assert [(r.code, r.field) for r in decoded.rejections] == [("bad_name", "service.name")] * 2


def test_ids_that_are_none_are_left_out(encoding: Encoding) -> None:
    found = event(CHAT, encoding, trace_id=bytes(16), span_id=b"abc")
    assert (found.trace_id, found.span_id, found.event_id) == ("", "", None)


def test_an_empty_request_holds_nothing(encoding: Encoding) -> None:
    for payload in (encoded(traces(), encoding), b"{}" if encoding == "json" else b""):
        decoded = spans_of(payload, encoding, received_ms=RECEIVED_MS, limits=Limits())
        assert (decoded.events, decoded.rejections, decoded.ignored) == ([], [], 0)


def test_a_request_of_another_signal_is_told_where_it_belongs(encoding: Encoding) -> None:
    metric = {"name": "gen_ai.client.operation.duration", "histogram": {"data_points": [{"count": 1, "sum": 2.0}]}}
    ours = encoded(logs(record(body="hello", trace_id=bytes(range(16)), span_id=bytes(8)), record()), encoding)
    with pytest.raises(Unreadable, match="/v1/logs"):
        decode(ours, encoding)
    with pytest.raises(Unreadable, match="/v1/metrics"):
        decode(encoded(metrics(Metric(**metric)), encoding), encoding)


def test_a_body_that_is_no_request_cannot_be_read(encoding: Encoding) -> None:
    bodies = {
        "protobuf": [b"\xff\xff", b"\x00" * 9, b"hello", encoded(traces(span()), "protobuf")[:-3]],
        "json": [b"", b"[]", b"7", b'"x"', b"{", b"\xff", b'{"resourceSpans": 7}', b"[" * 100_000, b'{"a":' * 100_000],
    }
    for body in bodies[encoding]:
        with pytest.raises(Unreadable, match="is no ExportTraceServiceRequest"):
            spans_of(body, encoding, received_ms=RECEIVED_MS, limits=Limits())


def test_json_takes_what_other_writers_write(encoding: Encoding) -> None:
    document = as_json(traces(span(CHAT | {"n": 1})))
    one = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    one["traceId"] = one["traceId"].upper()
    one["startTimeUnixNano"] = int(one["startTimeUnixNano"])
    one["status"] = None
    one["unknown"] = {"a": [1, None]}
    for attribute in one["attributes"]:
        if "intValue" in attribute["value"]:
            attribute["value"]["intValue"] = int(attribute["value"]["intValue"])
    one["attributes"] += [{"key": "odd", "value": {"stringValue": 7}}, {"key": "user.id", "value": None}, {}]
    payload = b"\xef\xbb\xbf " + json.dumps(document).encode()
    (found,) = decode(payload, "json").events
    assert found == decode(traces(span()), encoding).events[0]


def test_json_that_is_wrong_somewhere_spoils_only_that(encoding: Encoding) -> None:
    document = as_json(traces(span()))
    group = document["resourceSpans"][0]
    good = group["scopeSpans"][0]["spans"][0]
    bad = [7, good | {"startTimeUnixNano": "soon"}, good | {"attributes": [{"key": "gen_ai.system", "value": 7}]}]
    bad.append(good | {"startTimeUnixNano": "9" * 5000})
    group["scopeSpans"] = [{"spans": [*bad, good]}, "x", {"spans": 7}, {"spans": None}, {}]
    document["resourceSpans"] += [
        None,
        7,
        {"resource": 7, "scopeSpans": []},
        group | {"scopeSpans": [{"spans": [good]}]},
    ]
    decoded = decode(json.dumps(document).encode(), "json")
    assert len(decoded.events) == 2
    assert len(decoded.rejections) == len(bad) + 2 + 2, [str(r) for r in decoded.rejections]


def test_a_text_that_is_not_utf_8_spoils_only_its_span(encoding: Encoding) -> None:
    payload = encoded(traces(span(), span(CHAT | {"user.id": "MARK"}), span()), encoding)
    decoded = decode(payload.replace(b"MARK", b"\xff\xfe\xff\xff"), encoding)
    assert [r.code for r in decoded.rejections] == ["invalid_text"]
    assert decoded.events == decode(traces(span(), span()), encoding).events
