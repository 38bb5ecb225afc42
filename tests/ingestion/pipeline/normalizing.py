"""Records as OpenTelemetry Collector's Kafka exporter writes them, the calls in them, and the topics they lie in."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka.admin import NewTopic

from ingestion.formats.otlp.envelopes import Encoding
from tests.ingestion.kafka_reading import Landed, landed
from tests.ingestion.otlp.requests import START_NS, encoded, span, traces
from tests.ingestion.pipeline.worlds import Topics, World, publish

ARRIVED_MS = START_NS // 1_000_000 + 60_000
SERVICES = ("chat-api", "search", "billing")
MODELS = ("gpt-4o", "claude-3-5-sonnet")


@dataclass(frozen=True)
class Call:
    """One LLM call as an application would tell of it."""

    number: int

    @property
    def service(self) -> str:
        return SERVICES[self.number % len(SERVICES)]

    @property
    def model(self) -> str:
        return MODELS[self.number % len(MODELS)]

    @property
    def trace_id(self) -> bytes:
        return uuid.uuid5(uuid.NAMESPACE_OID, str(self.number)).bytes

    def span(self) -> Any:
        start = START_NS + self.number * 10_000_000
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": self.model,
            "gen_ai.usage.input_tokens": 100 + self.number,
            "gen_ai.usage.output_tokens": self.number,
        }
        length = round((200 + self.number) * 1e6)
        ids = {"trace_id": self.trace_id, "span_id": self.trace_id[:8]}
        return span(attributes, start_time_unix_nano=start, end_time_unix_nano=start + length, **ids)

    def row(self) -> dict[str, object]:
        """What must arrive of it, in the names of the native shape."""
        identifier = self.trace_id.hex()
        return {
            "service_name": self.service,
            "model_name": self.model,
            "latency_ms": 200.0 + self.number,
            "event_id": f"{identifier}-{identifier[:16]}",
            "prompt_tokens": 100 + self.number,
            "completion_tokens": self.number,
            "total_tokens": 100 + 2 * self.number,
            "trace_id": identifier,
            "span_id": identifier[:16],
            "provider": "openai",
            "otlp_signal": "span",
        }


def collected(calls: Iterable[Call], encoding: Encoding) -> bytes:
    """One record: the spans of all calls, by service, among them what is no call."""
    request = traces()
    del request.resource_spans[:]
    by_service: dict[str, list[Any]] = {}
    for call in calls:
        by_service.setdefault(call.service, []).append(call.span())
    for service, spans in by_service.items():
        other = span({"http.request.method": "GET"}, span_id=uuid.uuid4().bytes[:8])
        request.MergeFrom(traces(other, *spans, resource={"service.name": service}))
    return encoded(request, encoding)


def records(calls: Sequence[Call], encoding: Encoding, each: int) -> Iterator[tuple[None, bytes, int]]:
    """Keyless messages with so many calls each."""
    for place in range(0, len(calls), each):
        yield None, collected(calls[place : place + each], encoding), ARRIVED_MS + place


@dataclass(frozen=True)
class Inputs:
    """Topics for the role normalize that no other test knows."""

    spans: str
    metrics: str
    native: str

    @classmethod
    def create(cls, topics: Topics, partitions: int = 2) -> Inputs:
        stem = f"{topics.telemetry}.in{uuid.uuid4().hex[:6]}"
        made = cls(f"{stem}.spans", f"{stem}.metrics", f"{stem}.native")
        # Metrics in one partition: their order matters.
        topics.make([NewTopic(made.spans, partitions, 1), NewTopic(made.metrics, 1, 1), NewTopic(made.native, 1, 1)])
        return made

    def names(self) -> list[str]:
        return [self.spans, self.metrics, self.native]

    def settings(self, **changes: Any) -> dict[str, str]:
        section = {
            "spans_topic": self.spans,
            "metrics_topic": self.metrics,
            "logs_topic": None,
            "native_topics": [self.native],
        }
        return {"SENTINEL__INGESTION__NORMALIZE": json.dumps(section | changes)}


def arrived(world: World) -> list[Landed]:
    """What is in the telemetry topic."""
    return landed(world.topics.brokers, world.topics.telemetry)


def send(world: World, topic: str, *payloads: bytes, at_ms: int = ARRIVED_MS) -> None:
    publish(world.topics, [(None, payload, at_ms) for payload in payloads], topic)
