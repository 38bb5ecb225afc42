"""Batches of native messages: whatever is in them, each becomes what it becomes by itself."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.formats import batches, native
from ingestion.formats.batches import decode_all
from ingestion.formats.moments import UNUSUAL, moments
from ingestion.formats.timestamps import unix_nanoseconds
from ingestion.formats.validation import Limits, Rejection
from ingestion.pricing.prices import Prices
from ingestion.pricing.table import parse_table
from tests.ingestion.malformed import good_event, good_message, malformed_messages
from tests.ingestion.test_native_events import FLAT, JSON_VALUES, MESSAGES, NESTED, RECEIVED_MS

TABLE = """
as_of: 2024-11-01
prices:
  - provider: openai
    models: [gpt-4]
    source: https://example.com/prices
    history:
      - {effective_from: 2023-01-01, input: 30, output: 60, cached: 3}
"""
SETTINGS: list[dict[str, Any]] = [
    {},
    {"capture_text": True},
    {"max_latency_ms": 10.0, "max_tokens": 100, "max_cost_usd": 0.001},
    {"sanitize_patterns": ("region",)},
]


def one_by_one(payloads: Iterable[bytes], limits: Limits) -> list[Any]:
    found: list[Any] = []
    for payload in payloads:
        try:
            found.append(native.decode(payload, received_ms=RECEIVED_MS, limits=limits))
        except Rejection as rejection:
            found.append((rejection.code, rejection.field, rejection.detail))
    return found


def together(payloads: list[bytes], limits: Limits) -> list[Any]:
    found = decode_all(payloads, [RECEIVED_MS] * len(payloads), limits)
    return [(each.code, each.field, each.detail) if isinstance(each, Rejection) else each for each in found]


def check(payloads: list[bytes], **settings: Any) -> None:
    limits = Limits(**settings)
    expected = one_by_one(payloads, Limits(**settings))
    assert together(payloads, limits) == expected
    assert together(payloads, limits) == expected  # now that it knows what is clean


@pytest.mark.parametrize("settings", SETTINGS)
def test_malformed_messages_among_good_ones_spoil_nothing_else(settings: dict[str, Any]) -> None:
    rng = random.Random(5)
    payloads = [payload for payload, _ in malformed_messages(300, 5) if len(payload) < 50_000]
    payloads += [good_message(rng) for _ in range(100)]
    rng.shuffle(payloads)
    check(payloads, **settings)


def test_nothing_is_left_of_no_messages() -> None:
    assert decode_all([], [], Limits()) == []


ODD: list[dict[str, Any]] = [
    {"event_id": None, "request_id": "r-1"},
    {"event_id": "anna@example.com"},
    {"event_id": "", "trace_id": None, "span_id": None},
    {"user_id": "anna@example.com", "session_id": "4111 1111 1111 1111"},
    {"user_id": "a\0b", "trace_id": "\0", "metadata": {"k": "v\0"}},
    {"metadata": {"mail": "anna@example.com", "password": "x", "n": 3, "deep": {"a": 1}}},
    {"metadata": None},
    {"metadata": [1]},
    {"metadata": {f"k{number}": "v" for number in range(100)}},
    {"metadata": {"long": "v" * 5_000}},
    {"model_name": None, "model": "other"},
    {"model_name": "a\nb"},
    {"service_name": " "},
    {"total_tokens": 640},
    {"total_tokens": 641},
    {"total_tokens": None},
    {"prompt_tokens": 200_000},
    {"prompt_tokens": None},
    {"cost_usd": None},
    {"cost_usd": None, "cost_source": "table"},
    {"cost_source": "table"},
    {"cost_source": "unpriced"},
    {"cost_source": "guessed"},
    {"cost_usd": 101},
    {"latency_ms": 0},
    {"latency_ms": 1e9},
    {"error": "boom"},
    {"error": False, "errors": None},
    {"error": True},
    {"errors": ["boom", "boom"]},
    {"prompt": "a text"},
    {"response": {"finish_reason": "length"}},
    {"embedding": [1.0, 2.0]},
    {"embedding": "secret"},
    {"otlp_signal": "span"},
    {"otlp_signal": "metric", "latency_ms": None},
    {"otlp_signal": ["span"]},
    {"prompt_text": "my mail is anna@example.com", "response_text": 'a "quoted" \\ answer'},
    {"timestamp": "2024-11-06T10:25:00"},
    {"timestamp": "2024-11-06T12:25:00+02:00"},
    {"timestamp": "2124-11-06T10:25:00Z"},
    {"timestamp": "1924-11-06T10:25:00Z"},
    {"timestamp": "2024-11-06T10:25:00.123456789123Z"},
    {"timestamp": "2024-11-31T10:25:00Z"},
    {"timestamp": "\uff12024-11-06T10:25:00Z"},
    {"timestamp": ""},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_what_is_odd_in_a_message_is_treated_as_in_a_message_by_itself(settings: dict[str, Any]) -> None:
    payloads = [json.dumps(shape | odd).encode() for odd in ODD for shape in (FLAT, NESTED)]
    assert len(set(map(str, one_by_one(payloads, Limits())))) > len(ODD)
    check(payloads, **settings)
    for payload in payloads:
        check([payload], **settings)


def test_keys_that_appear_twice_count_as_in_a_message_by_itself() -> None:
    flat = json.dumps(FLAT)[:-1]
    twice = ('"latency_ms": 7', '"metadata": {"a": "b"}', '"metadata": {}, "metadata": 5', '"event_id": "e-2"')
    check([f"{flat}, {again}}}".encode() for again in twice])


def test_prices_of_the_time_of_the_call_are_used() -> None:
    prices = Prices(parse_table(TABLE))
    payloads = [json.dumps(FLAT | {"cost_usd": None, "provider": "openai", "cached_tokens": 9}).encode()] * 2
    check(payloads, prices=prices)
    (event, _) = decode_all(payloads, [RECEIVED_MS] * 2, Limits(prices=prices))
    assert isinstance(event, native.Event)
    assert event.cost_source == "table"
    assert event.cost_usd == pytest.approx((503 * 30 + 9 * 3 + 128 * 60) / 1e6)


@given(st.lists(MESSAGES, min_size=1, max_size=6))
def test_valid_messages(messages: list[dict[str, Any]]) -> None:
    check([json.dumps(message).encode() for message in messages])


@given(
    st.lists(
        st.dictionaries(st.sampled_from(sorted(native.Message.__struct_fields__)), JSON_VALUES, max_size=4),
        min_size=1,
        max_size=6,
    )
)
def test_any_value_of_any_field(changes: list[dict[str, Any]]) -> None:
    check([json.dumps(FLAT | change).encode() for change in changes])


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_any_bytes(payloads: list[bytes]) -> None:
    check(payloads)


def test_almost_all_that_applications_send_is_decoded_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, limits = random.Random(3), Limits()
    calls = ({"timestamp": FLAT["timestamp"], "user_id": f"u-{rng.randrange(9)}"} for _ in range(200))
    payloads = [json.dumps(good_event(rng) | call).encode() for call in calls]
    expected = together(payloads, limits)
    monkeypatch.setattr(batches, "decode", None)
    monkeypatch.setattr(batches, "finished", None)
    assert together(payloads, limits) == expected


STAMPS = st.from_regex(r"[12]\d{3}-[01]\d-[0-3]\d[T ]\d\d:\d\d:\d\d(\.\d{0,12})?(Z|z|[+-]0[01]:00)?", fullmatch=True)


@given(st.lists(STAMPS | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z") | st.text(max_size=30)))
@example(["2024-02-29T23:59:59.123456789+00:00", "2023-02-29T00:00:00Z", "2024-11-06T10:25:00:Z", "x"])
@example(["2262-04-11T23:47:16.854775807Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2024-11-06T24:00:00Z"])
@example(["2100-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "2024-11-06T10:25:00.Z", "2024-11-06T10:25:60Z"])
def test_moments_are_those_of_the_whole_grammar_or_unusual(texts: list[str]) -> None:
    for text, moment in zip(texts, moments(texts), strict=True):
        assert moment in (UNUSUAL, nanoseconds(text))


def nanoseconds(text: str) -> int | None:
    try:
        return unix_nanoseconds(text)
    except ValueError:
        return None


def test_the_usual_ways_to_write_a_moment_are_not_unusual() -> None:
    texts = [
        f"2024-02-29T10:25:00{fraction}{zone}" for fraction in ("", ".5", ".123456789") for zone in ("Z", "+00:00")
    ]
    assert moments(texts) == [unix_nanoseconds(text) for text in texts]
