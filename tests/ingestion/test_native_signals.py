"""Native messages that were made of OpenTelemetry's signals: they alone may lack what no signal promises."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingestion.formats import native
from ingestion.formats.event import Event
from ingestion.formats.validation import Limits, Rejection

UNTIMED: dict[str, Any] = {"timestamp": "2024-11-06T10:25:00Z", "service_name": "chat-api", "model_name": "gpt-4"}


def decode(message: dict[str, Any], **limits: Any) -> Event:
    return native.decode(json.dumps(message).encode(), received_ms=1 << 62, limits=Limits(**limits))


@pytest.mark.parametrize("signal", ["span", "metric", "log"])
def test_what_a_signal_made_may_lack_latency_and_tokens(signal: str) -> None:
    event = decode(UNTIMED | {"otlp_signal": signal})
    assert (event.latency_ms, event.prompt_tokens, event.total_tokens) == (None, None, None)
    assert (event.otlp_signal, event.error) == (signal, False)
    assert native.decode(native.encode(event), received_ms=1 << 62, limits=Limits()) == event


@pytest.mark.parametrize("signal", ["trace", "", None, 7, ["span"], {"span": 1}])
def test_any_other_value_of_the_key_is_ignored(signal: Any) -> None:
    with pytest.raises(Rejection, match="latency_ms: is required"):
        decode(UNTIMED | {"otlp_signal": signal})
    with pytest.raises(Rejection, match="prompt_tokens: is required"):
        decode(UNTIMED | {"otlp_signal": signal, "latency_ms": 5})


def test_what_a_signal_made_is_refused_for_the_same_faults() -> None:
    with pytest.raises(Rejection, match="latency_ms: must not be negative"):
        decode(UNTIMED | {"otlp_signal": "span", "latency_ms": -1})
    with pytest.raises(Rejection, match="prompt_tokens: must not be negative"):
        decode(UNTIMED | {"otlp_signal": "log", "prompt_tokens": -1})


def test_an_untimed_event_is_cut_and_keeps_its_text_only_if_asked() -> None:
    message = UNTIMED | {"otlp_signal": "log", "prompt_text": "hello"}
    assert decode(message).prompt_text == ""
    assert decode(message, capture_text=True).prompt_text == "hello"
    assert len(decode(message | {"user_id": "u" * 1000}).user_id) == 256


def test_tokens_written_to_the_cache_are_carried() -> None:
    event = decode(UNTIMED | {"otlp_signal": "span", "latency_ms": 5, "cache_write_tokens": 7})
    assert event.cache_write_tokens == 7
    assert native.decode(native.encode(event), received_ms=1 << 62, limits=Limits()).cache_write_tokens == 7
