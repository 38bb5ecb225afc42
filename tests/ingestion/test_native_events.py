"""Native messages: what is accepted and how it is normalised, what is refused and how that is said."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.formats import native, validation
from ingestion.formats.embeddings import vector
from ingestion.formats.event import Event, partition_key
from ingestion.formats.timestamps import rfc3339, unix_nanoseconds
from ingestion.formats.validation import Limits, Rejection
from tests.ingestion.malformed import KINDS, good_message, malformed_messages

RECEIVED_MS = 1_730_888_760_000  # 2024-11-06T10:26:00Z
LIMITS = Limits()
FLAT = {
    "event_id": "e-1",
    "timestamp": "2024-11-06T10:25:00.250Z",
    "service_name": "chat-api",
    "model_name": "gpt-4",
    "latency_ms": 1234.5,
    "prompt_tokens": 512,
    "completion_tokens": 128,
    "cost_usd": 0.0125,
    "finish_reason": "stop",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "metadata": {"region": "eu"},
    "errors": [],
}
NESTED = {
    "event_id": "e-1",
    "timestamp": "2024-11-06T10:25:00.250Z",
    "service_name": "chat-api",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "model": "gpt-4",
    "prompt": {"text": "How are you?", "tokens": 512, "embedding": [0.1, 0.2]},
    "response": {"text": "Fine.", "tokens": 128, "finish_reason": "stop", "embedding": None},
    "latency_ms": 1234.5,
    "cost_usd": 0.0125,
    "metadata": {"region": "eu"},
    "errors": [],
}


def decode(payload: bytes, limits: Limits = LIMITS) -> Event:
    return native.decode(payload, received_ms=RECEIVED_MS, limits=limits)


def event(limits: Limits = LIMITS, /, **changes: Any) -> Event:
    """The flat event with changes, decoded; a value of `...` leaves the key out."""
    message = {key: value for key, value in (FLAT | changes).items() if value is not ...}
    return decode(json.dumps(message).encode(), limits)


def outcome(payload: bytes) -> Event | Rejection:
    """The event, if it is one; anything but a Rejection is an error of ours."""
    try:
        return decode(payload)
    except Rejection as rejection:
        return rejection


def refused(**changes: Any) -> Rejection:
    with pytest.raises(Rejection) as caught:
        event(**changes)
    return caught.value


def test_a_flat_event_becomes_the_canonical_event() -> None:
    assert event() == Event(
        timestamp_ns=1_730_888_700_250_000_000,
        service="chat-api",
        model="gpt-4",
        event_id="e-1",
        latency_ms=1234.5,
        prompt_tokens=512,
        completion_tokens=128,
        total_tokens=640,
        cost_usd=0.0125,
        cost_source="reported",
        metadata={"region": "eu"},
        finish_reason="stop",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="00f067aa0ba902b7",
    )


def test_the_nested_shape_means_the_same() -> None:
    assert decode(json.dumps(NESTED).encode()) == event(embedding=[0.1, 0.2])


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2024-11-06T10:25:00Z", 1_730_888_700_000_000_000),
        ("2024-11-06T10:25:00", 1_730_888_700_000_000_000),
        ("2024-11-06t10:25:00z", 1_730_888_700_000_000_000),
        ("2024-11-06T12:25:00.5+02:00", 1_730_888_700_500_000_000),
        ("2024-11-06T10:25:00.123456Z", 1_730_888_700_123_456_000),
        ("2024-11-06T10:25:00.123456789Z", 1_730_888_700_123_456_789),
        ("2024-11-06T10:25:00.1234567-01:30", 1_730_894_100_123_456_700),
        ("2024-11-06T10:25:00.123456789123Z", 1_730_888_700_123_456_789),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_a_timestamp_is_read_to_the_nanosecond(text: str, nanoseconds: int) -> None:
    assert unix_nanoseconds(text) == nanoseconds


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_written_timestamp_reads_back(nanoseconds: int) -> None:
    assert unix_nanoseconds(rfc3339(nanoseconds)) == nanoseconds


def test_the_alias_and_the_request_id_serve() -> None:
    found = event(model_name=..., model="gpt-4o", event_id=..., request_id="r-9")
    assert (found.model, found.event_id) == ("gpt-4o", "r-9")
    assert event(event_id="e-1", request_id="r-9").event_id == "e-1"
    assert event(event_id="", request_id=None).event_id is None


def test_unknown_keys_and_nulls_are_ignored() -> None:
    changes = dict.fromkeys(("user_id", "ttft_ms", "metadata", "errors", "error", "request_id", "provider"))
    assert event(surprise={"deep": [1, {"x": None}]}, prompt="a text", response=["text"], **changes).metadata == {}


def test_of_a_repeated_key_the_last_one_counts() -> None:
    payload = json.dumps(FLAT).encode().replace(b"}}", b"}}", 1)
    assert decode(payload[:-1] + b', "latency_ms": 7, "service_name": "search"}') == event(
        latency_ms=7, service_name="search"
    )


def test_a_wrong_total_is_corrected_and_marked() -> None:
    assert event(total_tokens=640).marks == ()
    found = event(total_tokens=9)
    assert (found.total_tokens, found.marks) == (640, ("total_corrected",))


def test_a_cost_that_nobody_told_is_unknown_and_not_zero() -> None:
    assert (event(cost_usd=None).cost_usd, event(cost_usd=None).cost_source) == (None, "unpriced")
    assert (event(cost_usd=0).cost_usd, event(cost_usd=0).cost_source) == (0.0, "reported")


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({"error": "timeout"}, ["timeout"]),
        ({"errors": ["timeout", "", "retry failed"]}, ["timeout", "retry failed"]),
        ({"error": "timeout", "errors": ["retry failed", "timeout"]}, ["timeout", "retry failed"]),
        ({"error": ["a"], "errors": "b"}, ["a", "b"]),
        ({"error": True}, ["unspecified"]),
    ],
)
def test_a_failed_call_needs_no_tokens(changes: dict[str, Any], texts: list[str]) -> None:
    found = event(prompt_tokens=..., completion_tokens=..., cost_usd=..., **changes)
    assert (found.error, found.errors) == (True, texts)
    assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (None, None, None)


@pytest.mark.parametrize("changes", [{"error": ""}, {"errors": []}, {"error": False}, {"errors": [""]}])
def test_an_empty_error_is_no_failure(changes: dict[str, Any]) -> None:
    assert event(**changes).error is False
    assert refused(completion_tokens=..., **changes).code == "missing"


def test_what_is_above_the_maxima_is_clamped_and_marked() -> None:
    found = event(latency_ms=1e12, prompt_tokens=2**62, cost_usd=5000)
    assert (found.latency_ms, found.prompt_tokens, found.total_tokens, found.cost_usd) == (3e5, 100_000, 100_128, 100.0)
    assert set(found.marks) == {"clamped_latency", "clamped_tokens", "clamped_cost"}
    assert (event(latency_ms=0).latency_ms, event(latency_ms=0).marks) == (0.1, ("clamped_latency",))


def test_a_failed_calls_lone_total_is_clamped_too() -> None:
    found = event(prompt_tokens=..., completion_tokens=..., error="x", total_tokens=2**60)
    assert found.total_tokens == 2 * LIMITS.max_tokens


def test_limits_are_configurable() -> None:
    limits = replace(LIMITS, max_latency_ms=10.0, min_latency_ms=5.0, max_tokens=3, max_cost_usd=0.5)
    found = event(limits, latency_ms=11, prompt_tokens=4, completion_tokens=4, cost_usd=0.6)
    assert (found.latency_ms, found.total_tokens, found.cost_usd) == (10.0, 6, 0.5)


def test_only_the_future_is_bounded() -> None:
    assert event(timestamp="2024-11-06T10:31:00Z").marks == ()
    found = event(timestamp="2024-11-06T10:31:00.001Z")
    assert (found.timestamp_ns, found.marks) == ((RECEIVED_MS + 300_000) * 1_000_000, ("future",))
    assert event(timestamp="9999-12-31T23:59:59Z").timestamp_ns == found.timestamp_ns
    assert event(timestamp="1971-01-01T00:00:00Z").marks == ()


def test_metadata_becomes_text_and_loses_what_is_nested() -> None:
    found = event(metadata={"n": 3, "share": 0.5, "on": True, "none": None, "list": [1], "map": {"a": 1}})
    assert found.metadata == {"n": "3", "share": "0.5", "on": "true"}
    assert found.marks == ("metadata_dropped",)


def test_metadata_is_bounded() -> None:
    found = event(metadata={f"k{number}": "v" for number in range(1000)})
    assert (len(found.metadata), found.marks) == (64, ("metadata_dropped",))
    found = event(metadata={"long": "v" * 5000, "k" * 500: "v"})
    assert found.metadata == {"long": "v" * 1024}
    assert set(found.marks) == {"metadata_dropped", "truncated"}


def test_values_of_sensitive_metadata_are_masked() -> None:
    metadata = {"X-API-Key": "sk-1", "db_password": 7, "client.secret": {"a": "b"}, "region": "eu"}
    masked = {"X-API-Key": "[redacted]", "db_password": "[redacted]", "client.secret": "[redacted]", "region": "eu"}
    assert event(metadata=metadata).metadata == masked
    off = replace(LIMITS, sanitize_patterns=())
    assert event(off, metadata={"password": "x"}).metadata == {"password": "x"}


def test_failure_texts_are_cut_and_lose_secrets() -> None:
    found = event(error="login failed: password=hunter2 for x", errors=["e" * 5000, *map(str, range(100))])
    assert found.errors[0] == "login failed: password=[redacted] for x"
    assert found.errors[1] == "e" * 500
    assert len(found.errors) == 16


def test_texts_are_kept_only_where_capture_is_on() -> None:
    payload = json.dumps(NESTED).encode()
    assert (decode(payload).prompt_text, decode(payload).response_text) == ("", "")
    capturing = replace(LIMITS, capture_text=True, max_text_length=7)
    assert (decode(payload, capturing).prompt_text, decode(payload, capturing).response_text) == ("How are", "Fine.")
    assert event(capturing, prompt_text="flat text", response_text=None).prompt_text == "flat te"
    assert "How are" not in repr(decode(payload))


def test_a_text_of_a_wrong_type_does_not_matter_where_texts_are_dropped() -> None:
    assert event(prompt_text=5).prompt_text == ""


def test_too_long_texts_are_cut_and_too_long_ids_still_identify() -> None:
    found = event(user_id="u" * 300, event_id="a" * 200, provider="p" * 65)
    assert (found.user_id, found.provider, found.marks) == ("u" * 256, "p" * 64, ("truncated",))
    assert found.event_id is not None
    assert len(found.event_id) == 71
    assert found.event_id != event(event_id="a" * 199 + "b").event_id


def test_an_overlong_finish_reason_of_the_nested_shape_is_cut() -> None:
    response = {"tokens": 128, "finish_reason": "r" * 100}
    found = decode(json.dumps(NESTED | {"response": response}).encode())
    assert (found.finish_reason, found.marks) == ("r" * 64, ("truncated",))


def test_nul_outside_of_names_is_replaced() -> None:
    found = event(user_id="a\0b", errors=["x\0y"], metadata={"k\0": "v\0"})
    assert (found.user_id, found.errors, found.metadata) == ("a\ufffdb", ["x\ufffdy"], {"k\ufffd": "v\ufffd"})
    assert found.marks == ("nul_replaced",)
    assert event(user_id="a\\u0000b").user_id == "a\\u0000b"
    assert event(prompt_text="\0").marks == ()


def test_a_byte_order_mark_is_skipped() -> None:
    assert decode(b"\xef\xbb\xbf" + json.dumps(FLAT).encode()) == event()


def test_a_tombstone_is_refused() -> None:
    with pytest.raises(Rejection, match="tombstone"):
        native.decode(None, received_ms=RECEIVED_MS, limits=LIMITS)


@pytest.mark.parametrize(
    ("changes", "code", "field", "sentence"),
    [
        ({"service_name": ...}, "missing", "service_name", "is required"),
        ({"model_name": ...}, "missing", "model_name", "is required (or its alias `model`)"),
        ({"latency_ms": "12"}, "wrong_type", "latency_ms", "must be a number, not text"),
        ({"prompt_tokens": 1.0}, "wrong_type", "prompt_tokens", "must be an integer, not a number"),
        ({"latency_ms": -1}, "negative", "latency_ms", "must not be negative"),
        ({"prompt_tokens": 2**63}, "out_of_range", "prompt_tokens", "is a number too large to hold"),
        ({"service_name": "a\tb"}, "bad_name", "service_name", "must not hold control characters"),
        ({"model_name": " "}, "bad_name", "model_name", "must not be blank"),
        ({"model_name": "m" * 129}, "bad_name", "model_name", "must have 1 to 128 characters"),
        ({"completion_tokens": ...}, "missing", "completion_tokens", "is required unless the call failed"),
        ({"errors": [1]}, "wrong_type", "errors[0]", "must be text, not an integer"),
        ({"prompt": {"tokens": -1}}, "negative", "prompt.tokens", "must not be negative"),
    ],
)
def test_a_refusal_names_code_field_and_reason(changes: dict[str, Any], code: str, field: str, sentence: str) -> None:
    rejection = refused(**changes)
    assert (rejection.code, rejection.field, rejection.detail) == (code, field, sentence)
    assert str(rejection) == f"{field}: {sentence}"


def test_an_array_is_sent_to_the_role_that_takes_it_apart() -> None:
    with pytest.raises(Rejection, match="`normalize` role"):
        decode(b"[" + json.dumps(FLAT).encode() + b"]")


def test_nan_names_its_field() -> None:
    with pytest.raises(Rejection) as caught:
        decode(json.dumps(FLAT | {"latency_ms": float("nan")}).encode())
    assert (caught.value.code, caught.value.field) == ("not_finite", "latency_ms")


def test_every_kind_of_malformed_message_is_refused_with_its_code() -> None:
    found: Counter[str] = Counter()
    for payload, code in malformed_messages(2 * len(KINDS), seed=7):
        with pytest.raises(Rejection) as caught:
            decode(payload)
        assert (caught.value.code, payload[:120]) == (code, payload[:120])
        assert caught.value.detail
        found[code] += 1
    assert len(KINDS) >= 40
    assert found.keys() == validation.REJECTION_CODES - {"invalid", "foreign_service"}


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    assert malformed_messages(300, seed=1) == malformed_messages(300, seed=1)
    assert malformed_messages(300, seed=1) != malformed_messages(300, seed=2)


def mutated(rng: random.Random) -> bytes:
    """A message with bytes flipped, cut, doubled or swapped for what is special in JSON."""
    special = [
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"\x00",
        b"\xff",
        b"1e999",
        b"-",
    ]
    payload = bytearray(good_message(rng) if rng.random() < 0.7 else json.dumps(NESTED).encode())
    for _ in range(rng.randrange(1, 6)):
        start = rng.randrange(len(payload))
        end = min(len(payload), start + rng.randrange(0, 12))
        payload[start:end] = rng.choice([rng.randbytes(3), rng.choice(special), bytes(payload[start:end]) * 2, b""])
    return bytes(payload)


def check_sane(found: Event | Rejection) -> None:
    """What every sink relies on, or a refusal by a known code."""
    if isinstance(found, Rejection):
        assert found.code in validation.REJECTION_CODES
        return
    assert 0 <= found.timestamp_ns <= (RECEIVED_MS + LIMITS.max_future_ms) * 1_000_000
    assert 1 <= len(found.service) <= 128
    assert 1 <= len(found.model) <= 128
    assert found.latency_ms is not None
    assert LIMITS.min_latency_ms <= found.latency_ms <= LIMITS.max_latency_ms
    assert found.error == bool(found.errors)
    assert set(found.marks) <= validation.MARKS
    if not found.error:
        assert found.prompt_tokens is not None
        assert found.completion_tokens is not None
        assert found.total_tokens == found.prompt_tokens + found.completion_tokens
    assert "\0" not in msgspec.json.encode(found).decode()


def test_5000_mutated_messages_are_accepted_sane_or_refused_with_a_code() -> None:
    rng = random.Random(20241106)
    refusals = 0
    for _ in range(5000):
        found = outcome(mutated(rng))
        check_sane(found)
        refusals += isinstance(found, Rejection)
    assert 500 < refusals < 4900


@given(st.binary(max_size=300))
def test_any_bytes_are_accepted_or_refused(payload: bytes) -> None:
    check_sane(outcome(payload))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(native.Message.__struct_fields__)), JSON_VALUES, max_size=4))
def test_any_value_of_any_field_is_accepted_or_refused(changes: dict[str, Any]) -> None:
    check_sane(outcome(json.dumps(FLAT | changes).encode()))


NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=128)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=32)
TOKENS = st.integers(0, 2**63 - 1)
MESSAGES = st.fixed_dictionaries(
    {
        "timestamp": st.integers(0, 2**62).map(rfc3339),
        "service_name": NAMES,
        "model_name": NAMES,
        "latency_ms": st.floats(0, allow_infinity=False),
        "prompt_tokens": TOKENS,
        "completion_tokens": TOKENS,
    },
    optional={
        "event_id": TEXTS,
        "total_tokens": TOKENS,
        "cost_usd": st.floats(0, allow_infinity=False),
        "cost_source": st.sampled_from(["reported", "table", "unpriced", "guessed"]),
        "errors": st.lists(TEXTS, max_size=4),
        "error": TEXTS | st.booleans(),
        "finish_reason": TEXTS,
        "provider": TEXTS,
        "user_id": TEXTS,
        "session_id": TEXTS,
        "trace_id": TEXTS,
        "span_id": TEXTS,
        "ttft_ms": st.floats(0, allow_infinity=False),
        "cached_tokens": TOKENS,
        "reasoning_tokens": TOKENS,
        "quality_score": st.floats(allow_infinity=False, allow_nan=False),
        "metadata": st.dictionaries(TEXTS, TEXTS | st.integers(-(2**60), 2**60) | st.booleans(), max_size=4),
    },
)


@given(MESSAGES)
def test_an_encoded_event_decodes_to_itself(message: dict[str, Any]) -> None:
    first = decode(json.dumps(message).encode())
    again = decode(native.encode(first))
    assert again.marks == ()
    first.marks = ()
    assert again == first


@given(MESSAGES, st.booleans())
def test_a_nested_message_means_what_the_flat_one_means(message: dict[str, Any], extra: bool) -> None:
    nested = {key: value for key, value in message.items() if not key.endswith("_tokens") or key == "total_tokens"}
    for kept in ("cached_tokens", "reasoning_tokens"):
        nested |= {kept: message[kept]} if kept in message else {}
    nested["model"] = nested.pop("model_name")
    nested["prompt"] = {"tokens": message["prompt_tokens"], "text": "x"}
    nested["response"] = {"tokens": message["completion_tokens"]} | ({"unknown": [0.5]} if extra else {})
    if "finish_reason" in nested:
        nested["response"]["finish_reason"] = nested.pop("finish_reason")
    assert decode(json.dumps(nested).encode()) == decode(json.dumps(message).encode())


# Embeddings


def embedded(prompt: Any, response: Any) -> Event:
    message = NESTED | {"prompt": {"tokens": 1, "embedding": prompt}, "response": {"tokens": 1, "embedding": response}}
    return decode(json.dumps(message).encode())


@pytest.mark.parametrize(
    ("prompt", "response", "kept"),
    [([1, -2.5e-3], [3], b"[1, -0.0025]"), (None, [3], b"[3]"), (None, None, b""), ([], None, b"[]")],
)
def test_the_embedding_is_that_of_the_prompt_else_of_the_response(prompt: Any, response: Any, kept: bytes) -> None:
    found = embedded(prompt, response)
    assert (found.embedding, found.marks) == (kept, ())


@pytest.mark.parametrize("strange", ["my number is 1", {"a": 1}, 7, ["one"], [[1]], [None], [1.5] * 40_000])
def test_what_is_no_embedding_is_dropped_and_the_event_kept(strange: Any) -> None:
    found = embedded(strange, None)
    assert (found.embedding, found.marks) == (b"", ("embedding_dropped",))
    assert found.prompt_tokens == 1


def test_an_embedding_outlives_being_written_anew_as_it_was() -> None:
    found = embedded([0.1, 2e-7], None)
    assert decode(native.encode(found)) == found
    assert b"embedding" not in native.encode(event())


@pytest.mark.parametrize(
    ("text", "numbers"), [(b"[1, -2.5]", [1.0, -2.5]), (b"[]", []), (b"[1e999]", []), (b"[1,,2]", []), (b"[--1]", [])]
)
def test_what_cannot_be_read_as_numbers_is_no_vector(text: bytes, numbers: list[float]) -> None:
    assert vector(text).tolist() == numbers


def test_the_key_of_a_series_names_service_and_model() -> None:
    assert partition_key("chat-api", "gpt-4") == b"chat-api|gpt-4"
    assert partition_key("caf\u00e9", "m") == "caf\u00e9|m".encode()


def test_a_good_event_of_the_corpus_is_good() -> None:
    assert native.decode(good_message(random.Random(1)), received_ms=RECEIVED_MS * 2, limits=LIMITS).marks == ()
