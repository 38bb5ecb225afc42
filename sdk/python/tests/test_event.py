"""What an event becomes on the wire, and which events do not get there."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from llm_sentinel import InvalidEvent, TelemetryEvent

TOKENS: dict[str, Any] = {"prompt_tokens": 10, "completion_tokens": 5}


def event(**values: Any) -> TelemetryEvent:
    return TelemetryEvent(**{"service_name": "chat", "model_name": "gpt-4", "latency_ms": 12.5, **TOKENS, **values})


def said(**values: Any) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(event(**values).encode().value)
    return decoded


def test_the_key_names_service_and_model() -> None:
    assert event(service_name="täglich", model_name="gpt-4").encode().key == "täglich|gpt-4".encode()


def test_what_is_not_known_is_left_out() -> None:
    expected = {"event_id", "timestamp", "service_name", "model_name", "latency_ms", *TOKENS}
    assert set(said()) == expected


def test_every_event_has_an_id_of_its_own() -> None:
    assert uuid.UUID(said()["event_id"]) != uuid.UUID(said()["event_id"])


def test_zero_is_known() -> None:
    written = said(cost_usd=0, completion_tokens=0)
    assert (written["cost_usd"], written["completion_tokens"]) == (0, 0)


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2024, 11, 6, 10, 25, tzinfo=timezone.utc), "2024-11-06T10:25:00Z"),
        (datetime(2024, 11, 6, 10, 25), "2024-11-06T10:25:00Z"),  # noqa: DTZ001 - a naive time is UTC
        (datetime(2024, 11, 6, 12, 25, tzinfo=timezone(timedelta(hours=2))), "2024-11-06T10:25:00Z"),
        ("2024-11-06T10:25:00.123456789Z", "2024-11-06T10:25:00.123456789Z"),
    ],
)
def test_times_are_written_in_utc(moment: object, written: str) -> None:
    assert said(timestamp=moment)["timestamp"] == written


def test_identifiers_may_be_of_any_type_and_numbers_of_any_numeric_one() -> None:
    key = uuid.uuid4()
    written = said(user_id=7, session_id=key, cost_usd=Decimal("0.25"), prompt_tokens=10.0)
    assert (written["user_id"], written["session_id"]) == ("7", str(key))
    assert (written["cost_usd"], written["prompt_tokens"]) == (0.25, 10)


def test_metadata_keep_scalars_and_write_the_rest_as_text() -> None:
    given = {"region": "eu", "retry": True, "n": 3, "ratio": 0.5, "nan": float("nan"), "none": None, "id": Decimal(2)}
    kept = {"region": "eu", "retry": True, "n": 3, "ratio": 0.5, "nan": "nan", "id": "2"}
    assert said(metadata=given)["metadata"] == kept


def test_half_a_surrogate_pair_does_not_make_the_message_unreadable() -> None:
    assert said(user_id="a\ud800b")["user_id"] == "a?b"


def test_a_failed_call_needs_no_tokens() -> None:
    written = said(prompt_tokens=None, completion_tokens=None, errors=["Timeout"])
    assert written["errors"] == ["Timeout"]
    assert not written.keys() & TOKENS.keys()


def test_texts_are_cut() -> None:
    assert len(said(prompt_text="x" * 50_000)["prompt_text"]) == 10_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("service_name", ""),
        ("service_name", "  "),
        ("service_name", None),
        ("model_name", "x" * 129),
        ("model_name", "gpt\n4"),
        ("latency_ms", None),
        ("latency_ms", -1),
        ("latency_ms", float("inf")),
        ("latency_ms", "quick"),
        ("prompt_tokens", None),
        ("completion_tokens", 1.5),
        ("completion_tokens", 2**63),
        ("cost_usd", float("nan")),
        ("timestamp", 1_700_000_000),
        ("quality_score", [1]),
    ],
)
def test_an_event_that_the_server_would_refuse_names_its_field(field: str, value: object) -> None:
    with pytest.raises(InvalidEvent) as refused:
        event(**{field: value}).encode()
    assert refused.value.field == field
