"""Events of the SDK, over both doors of a running server, end as the rows that people see."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from llm_sentinel import TelemetryProducer

from tests.sentinel_site.standalone_process import TOKEN, Standalone, standalone
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


def completion(number: int) -> Any:
    """An answer as OpenAI's client returns it."""
    usage = SimpleNamespace(prompt_tokens=100 + number, completion_tokens=10 + number)
    choices = [SimpleNamespace(finish_reason="stop")]
    return SimpleNamespace(id=f"chatcmpl-{number}", model="gpt-4o", choices=choices, usage=usage)


def message(number: int) -> dict[str, Any]:
    """An answer as Anthropic's API returns it."""
    usage = {"input_tokens": number, "cache_read_input_tokens": 1000, "output_tokens": 20 + number}
    return {"id": f"msg-{number}", "model": "claude-sonnet-4", "stop_reason": "end_turn", "usage": usage}


def make_calls(producer: TelemetryProducer, service: str) -> dict[str, dict[str, Any]]:
    """Calls of every form; by event id, what the rows must say."""
    expected: dict[str, dict[str, Any]] = {}

    @producer.timed(service)
    async def ask(number: int) -> dict[str, Any]:
        return message(number)

    @producer.timed(service, "gpt-4o")
    def fail() -> None:
        raise TimeoutError

    for number in range(5):
        with producer.call(service, cost_usd=0.25, user_id=number, session_id="s") as call:
            call.record(completion(number))
        expected[f"chatcmpl-{number}"] = row(
            service, "gpt-4o", 100 + number, 10 + number, cost_usd=0.25, user_id=str(number)
        )
        asyncio.run(ask(number))
        expected[f"msg-{number}"] = row(
            service, "claude-sonnet-4", 1000 + number, 20 + number, finish_reason="end_turn"
        )
    with pytest.raises(TimeoutError):
        fail()
    return expected


def row(service: str, model: str, prompt: int, completed: int, **more: Any) -> dict[str, Any]:
    tokens = {"prompt_tokens": prompt, "completion_tokens": completed, "total_tokens": prompt + completed}
    return {"service": service, "model": model, **tokens, "error": False, "finish_reason": "stop", **more}


def rows(running: Standalone, service: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.get("/api/v1/telemetry", service=service).json()["data"]
    return found


def assert_stored(running: Standalone, service: str, expected: dict[str, dict[str, Any]]) -> None:
    """Every call is one row, equal to what was said; the failed one is beside them."""
    eventually(lambda: len(rows(running, service)) == len(expected) + 1, deadline=30, interval=0.2)
    stored = rows(running, service)
    (failed,) = [each for each in stored if each["error"]]
    assert (failed["errors"], failed["model"]) == (["TimeoutError"], "gpt-4o")
    told = {(each["model"], each["prompt_tokens"]): each for each in stored if not each["error"]}
    for values in expected.values():
        found = told[values["model"], values["prompt_tokens"]]
        assert {name: found[name] for name in values} == values
        assert 0 < found["latency_ms"] < 60_000


def assert_refused(producer: TelemetryProducer) -> None:
    """A token that is not accepted loses events visibly and at once."""
    producer.send_event(producer.create_telemetry_event("s", "m", 1.0, 1, 1))
    assert producer.flush(20)
    assert producer.statistics.lost == 1
    assert "HTTP 401" in producer.statistics.last_problem
    assert producer.close()


def test_calls_become_telemetry_over_http_and_over_kafka(tmp_path: Path) -> None:
    with standalone(tmp_path) as running:
        over_http = TelemetryProducer(url=running.url, token=TOKEN)
        over_kafka = TelemetryProducer(running.brokers)
        expected = {producer: make_calls(producer, name) for producer, name in [(over_http, "h"), (over_kafka, "k")]}
        over_http.send_event(over_http.create_telemetry_event("h", "m", 1.0, 1, 1, timestamp="yesterday"))
        for producer, rejected in ((over_http, 1), (over_kafka, 0)):
            assert producer.flush(20)
            counts = producer.statistics
            assert (counts.delivered, counts.rejected, counts.lost, counts.dropped) == (11, rejected, 0, 0), counts
        assert "timestamp" in over_http.statistics.last_problem
        assert_refused(TelemetryProducer(url=running.url, token="wrong"))
        assert_stored(running, "h", expected[over_http])
        assert_stored(running, "k", expected[over_kafka])
        assert over_http.close()
        assert over_kafka.close()
