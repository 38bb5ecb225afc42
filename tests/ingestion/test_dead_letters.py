"""Dead letters: nothing is lost, nothing secret is kept, and too many of them are noticed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from ingestion.dead_letters import PoisonGauge, Record, dead_letter, headers
from ingestion.formats.validation import Rejection
from ingestion.metrics import BoundedLabel
from ingestion.privacy import redact, scrub_payload
from tests.ingestion.malformed import KINDS, malformed_messages

PATTERNS = ("password", "api_key", "secret")
REJECTION = Rejection("negative", "latency_ms", "must not be negative")


def letter(payload: bytes | None, **options: Any) -> dict[str, Any]:
    record = Record("llm.telemetry", 2, 77, 1_730_888_700_123, payload)
    found: dict[str, Any] = json.loads(dead_letter(record, REJECTION, patterns=PATTERNS, **options))
    return found


def test_a_dead_letter_says_what_where_and_why() -> None:
    assert letter(b'{"latency_ms":-1}') == {
        "reason": "negative",
        "detail": "must not be negative",
        "field": "latency_ms",
        "topic": "llm.telemetry",
        "partition": 2,
        "offset": 77,
        "timestamp": "2024-11-06T10:25:00.123Z",
        "payload": '{"latency_ms":-1}',
        "encoding": "utf-8",
    }
    assert headers(REJECTION) == {"reason": b"negative"}


def test_bytes_that_are_no_text_are_kept_as_base64() -> None:
    found = letter(b"\xff\xfe\x00binary")
    assert found["encoding"] == "base64"
    assert base64.b64decode(found["payload"]) == b"\xff\xfe\x00binary"


def test_a_tombstone_without_a_time_makes_a_letter_too() -> None:
    found = json.loads(dead_letter(Record("t", 0, 0, None, None), REJECTION))
    assert (found["payload"], found["timestamp"]) == ("", None)


def test_a_letter_is_counted_by_its_reason() -> None:
    before = REGISTRY.get_sample_value("sentinel_dead_letters_total", {"reason": "negative"}) or 0
    letter(b"")
    assert REGISTRY.get_sample_value("sentinel_dead_letters_total", {"reason": "negative"}) == before + 1


def test_texts_go_and_numbers_stay() -> None:
    payload = {
        "prompt_text": "my diagnosis",
        "response_text": "my answer",
        "prompt": {"text": "my diagnosis", "tokens": -4, "embedding": [0.25]},
        "response": {"text": ["my answer"], "tokens": 8},
        "messages": [{"role": "user", "content": "my diagnosis"}],
        "prompt_tokens": 12,
        "latency_ms": -1,
        "metadata": {"prompt_version": "v2", "api_key": "sk-123", "note": "password=hunter2"},
    }
    kept = json.loads(letter(json.dumps(payload).encode())["payload"])
    assert "my " not in json.dumps(kept)
    assert "0.25" not in json.dumps(kept)
    assert (kept["prompt"]["tokens"], kept["prompt_tokens"], kept["latency_ms"]) == (-4, 12, -1)
    assert kept["metadata"] == {"prompt_version": "v2", "api_key": "[redacted]", "note": "password=[redacted]"}


@pytest.mark.parametrize(
    "broken",
    [
        b'{"prompt_text": "my diagnosis", "password": "hunter two", "latency_ms": ',
        b'[{"response_text":"my \\"quoted\\" diagnosis","x":1},{"client_secret":"hunter"',
        b'{"prompt":{"text":"my diagnosis that is cut off',
        b"{'password': 'hunter two', 'latency_ms': 1}",
        b'\xff{"prompt_text": "my diagnosis", "API-Key": "hunter"}',
        b"password=hunter&latency=1",
        b'"{\\"password\\": \\"hunter two\\"',
    ],
)
def test_what_does_not_parse_loses_texts_and_secrets_too(broken: bytes) -> None:
    kept = scrub_payload(broken, PATTERNS, 1000)
    assert b"diagnosis" not in kept
    assert b"hunter" not in kept
    assert b"two" not in kept


def test_a_payload_is_capped() -> None:
    assert len(letter(b"x" * 1_000_000)["payload"]) == 65_536
    big = json.dumps({"user_id": "u" * 1_000_000}).encode()
    assert len(letter(big, max_payload_bytes=100)["payload"]) == 100


def test_every_malformed_message_makes_a_letter() -> None:
    for payload, code in malformed_messages(len(KINDS), seed=3):
        record = Record("t", 0, 1, 0, payload)
        found = json.loads(dead_letter(record, Rejection(code, "", "x"), patterns=PATTERNS))
        assert found["reason"] == code
        assert len(found["payload"]) <= 65_536 * 4 // 3 + 4


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text, PATTERNS)
    assert redact(once, PATTERNS) == once


@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=3), st.sampled_from(["=", ": ", '": "']))
def test_a_secret_is_gone_whatever_it_is(secret: str, sign: str) -> None:
    text = f'login "db_password{sign}{secret}" failed'
    assert f"{sign}{secret}" not in redact(text, PATTERNS).replace("[redacted]", "")


def test_running_text_about_secrets_stays() -> None:
    text = "The secret of a good password is length; an api_key was missing."
    assert redact(text, PATTERNS) == text
    assert redact("password=x", ()) == "password=x"


def test_long_hostile_texts_are_scrubbed_in_linear_time() -> None:
    for hostile in (b'"' * 65_536, b"password" * 8_000, b'password="' + b"\\" * 65_000, b'"prompt' * 9_000):
        assert len(scrub_payload(hostile, PATTERNS, 65_536)) <= 65_536


def test_fifty_invalid_in_a_row_are_an_alarm_that_one_valid_message_ends() -> None:
    gauge = PoisonGauge(max_consecutive=50, max_share=1.0, window=1000)
    for _ in range(49):
        gauge.invalid()
    assert gauge.alarm is None
    gauge.invalid()
    assert gauge.alarm == "50 invalid messages in a row"
    gauge.valid()
    assert gauge.alarm is None


def test_more_than_a_share_of_the_latest_messages_is_an_alarm_until_they_are_past() -> None:
    gauge = PoisonGauge(max_consecutive=50, max_share=0.05, window=1000)
    for _ in range(50):
        gauge.valid(9)
        gauge.invalid()
    assert gauge.alarm is None
    gauge.valid(9)
    gauge.invalid()
    assert gauge.alarm == "51 of the last 1000 messages are invalid"
    gauge.valid(490)
    assert gauge.alarm is not None
    gauge.valid(10)
    assert gauge.alarm is None
    gauge.valid(10_000)
    gauge.invalid()
    assert gauge.alarm is None


def test_only_so_many_services_are_named_in_metrics() -> None:
    label = BoundedLabel(2)
    assert [label.of(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", "__other__", "a", "__other__"]
