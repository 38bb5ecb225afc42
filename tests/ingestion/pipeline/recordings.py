"""Input for consumers: recorded and made-up telemetry, with enough in it to be detected."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ingestion.formats.event import partition_key

Message = tuple[bytes | None, bytes, int]
BEGIN = datetime(2026, 3, 2, 9, tzinfo=UTC)
PAIRS = (("chat-api", "gpt-4"), ("search", "gpt-4"), ("summarizer", "claude-3-opus"))


def call(at: datetime, service: str = "chat-api", model: str = "gpt-4", **fields: Any) -> dict[str, Any]:
    """A call that went well, but for what is said."""
    usual = {"latency_ms": 120.0, "prompt_tokens": 100, "completion_tokens": 50, "cost_usd": 0.01}
    names = {"timestamp": at.isoformat(timespec="milliseconds"), "service_name": service, "model_name": model}
    return names | usual | fields


def message(event: dict[str, Any], record: datetime | None = None) -> Message:
    """The event as a message that was recorded when it says it happened, or at `record`."""
    at = record or datetime.fromisoformat(event["timestamp"])
    key = partition_key(event["service_name"], event["model_name"])
    return key, json.dumps(event).encode(), round(at.timestamp() * 1000)


def traffic(events: int, seed: int = 7, begin: datetime = BEGIN) -> Iterator[Message]:
    """Calls of three services over some minutes: with bursts that are anomalies, failures, late and repeated events."""
    rng = random.Random(seed)
    sent: list[Message] = []
    at = begin
    for number in range(events):
        at += timedelta(milliseconds=rng.expovariate(1 / 120))
        service, model = rng.choice(PAIRS)
        is_burst = number % 400 > 380
        late = timedelta(seconds=rng.choice([0, 0, 0, 0, 5, 50])) if number % 7 == 0 else timedelta(0)
        event = call(
            at - late,
            service,
            model,
            latency_ms=round(rng.lognormvariate(5 if not is_burst else 8, 0.3), 3),
            prompt_tokens=rng.randrange(50, 150) * (20 if is_burst and service == "search" else 1),
            request_id=f"e-{number}",
            trace_id=f"{number:032x}",
            **({"error": "boom"} if rng.random() < 0.02 else {}),
        )
        sent.append(message(event, record=at))
        yield sent[-1]
        if number % 50 == 0:
            key, value, _ = rng.choice(sent[-300:])
            yield key, value, round(at.timestamp() * 1000)
