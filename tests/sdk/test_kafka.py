"""The SDK over the real Kafka: what was said arrives, where the product looks for it, whatever happens to Kafka."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from llm_sentinel import KafkaTransport, TelemetryProducer

from ingestion.formats import native
from ingestion.formats.event import Event, partition_key
from ingestion.formats.timestamps import rfc3339
from ingestion.formats.validation import Limits
from ingestion.partitioner import partition_of
from tests.ingestion.kafka_reading import landed
from tests.ingestion.pipeline.worlds import Topics
from tests.support.services import require

PARTITIONS = 6
SDK = Path(__file__).resolve().parents[2] / "sdk" / "python"
CALL: dict[str, Any] = {"latency_ms": 812.5, "prompt_tokens": 420, "completion_tokens": 97}
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def topics() -> Iterator[Topics]:
    made = Topics.create(require("kafka"), PARTITIONS)
    yield made
    made.drop()


def events(topics: Topics) -> list[Event]:
    """What arrived, as the product decodes it."""
    received_ms = time.time_ns() // 10**6
    values = [msgspec.json.encode(message.value) for message in landed(topics.brokers, topics.telemetry)]
    return [native.decode(value, received_ms=received_ms, limits=Limits(capture_text=True)) for value in values]


def test_every_detail_of_an_event_arrives(topics: Topics) -> None:
    said: dict[str, Any] = {
        "service_name": "chat-api",
        "model_name": "gpt-4",
        **CALL,
        "total_tokens": 517,
        "cached_tokens": 64,
        "reasoning_tokens": 16,
        "cost_usd": 0.0021,
        "user_id": "u-1",
        "session_id": "s-1",
        "event_id": "11111111-2222-4333-8444-555555555555",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "provider": "openai",
        "finish_reason": "stop",
        "ttft_ms": 123.25,
        "quality_score": 0.75,
        "prompt_text": "How are you?",
        "response_text": "Fine \U0001f600",
        "errors": ["overloaded"],
        "metadata": {"region": "eu-west-1", "retry": True},
    }
    with TelemetryProducer([topics.brokers], topics.telemetry) as producer:
        assert producer.send_event(producer.create_telemetry_event(**said, timestamp=NOON))
    (event,) = events(topics)
    arrived = {name: getattr(event, name) for name in said.keys() & set(Event.__struct_fields__)}
    renamed = {
        "service_name": event.service,
        "model_name": event.model,
        "metadata": {"region": "eu-west-1", "retry": True},
    }
    assert {**arrived, **renamed} == said
    assert event.metadata == {"region": "eu-west-1", "retry": "true"}
    assert (rfc3339(event.timestamp_ns), event.cost_source, event.error) == (
        "2026-03-02T12:00:00.000Z",
        "reported",
        True,
    )
    assert event.marks == ()


def test_a_series_lands_in_the_partition_where_the_product_looks_for_it(topics: Topics) -> None:
    pairs = [(f"service-{number}", f"modèle/{number % 7}") for number in range(60)]
    with TelemetryProducer(topics.brokers, topics.telemetry) as producer:
        for _ in range(5):
            for service, model in pairs:
                producer.send_event(producer.create_telemetry_event(service, model, **CALL))
        assert producer.flush(30)
        assert producer.statistics.delivered == 300
    arrived = landed(topics.brokers, topics.telemetry)
    keys = {partition_key(*pair) for pair in pairs}
    assert {(message.key, message.partition) for message in arrived} == {
        (key, partition_of(key, PARTITIONS)) for key in keys
    }
    assert len(arrived) == 300


def test_more_than_one_batch_arrives_whole_and_in_order(topics: Topics) -> None:
    count = 2 * KafkaTransport.batch_events + 1
    with TelemetryProducer(topics.brokers, topics.telemetry, max_queued_events=count) as producer:
        for number in range(count):
            producer.send_event(producer.create_telemetry_event("s", "m", **CALL, event_id=str(number)))
        assert producer.flush(60)
    assert [event.event_id for event in events(topics)] == [str(number) for number in range(count)]


def test_without_kafka_sending_neither_waits_nor_raises_and_every_event_is_accounted_for() -> None:
    transport = KafkaTransport(["127.0.0.1:9"], "llm.telemetry", delivery_seconds=1.0)
    producer = TelemetryProducer(transport=transport, max_queued_events=100)
    took = []
    for _ in range(300):
        began = time.perf_counter()
        producer.send_event(producer.create_telemetry_event("s", "m", **CALL))
        took.append(time.perf_counter() - began)
    assert sorted(took)[len(took) // 2] < 0.005
    assert producer.flush(30)
    counts = producer.statistics
    assert (counts.accepted, counts.dropped, counts.lost, counts.delivered) == (100, 200, 100, 0)
    assert producer.close()


def test_closing_without_kafka_gives_up_in_time() -> None:
    producer = TelemetryProducer(["127.0.0.1:9"])
    producer.send_event(producer.create_telemetry_event("s", "m", **CALL))
    began = time.monotonic()
    assert not producer.close(0.3)
    assert time.monotonic() - began < 5
    assert producer.statistics.lost == 1


def test_a_message_that_kafka_refuses_is_rejected_and_the_others_arrive(topics: Topics) -> None:
    with TelemetryProducer(topics.brokers, topics.telemetry, kafka_settings={"message.max.bytes": 2000}) as producer:
        for text in ("short", "x" * 5000, "short"):
            producer.send_event(producer.create_telemetry_event("s", "m", **CALL, prompt_text=text))
        assert producer.flush(30)
        counts = producer.statistics
    assert (counts.delivered, counts.rejected, counts.lost) == (2, 1, 0)
    assert "too large" in counts.last_problem
    assert [event.prompt_text for event in events(topics)] == ["short", "short"]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of its own that uses the SDK."""
    environment = os.environ | {"PYTHONPATH": str(SDK / "src")}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


FORKING = """
import os, sys
from llm_sentinel import TelemetryProducer

producer = TelemetryProducer(sys.argv[1], sys.argv[2])

def send(name):
    producer.send_event(producer.create_telemetry_event(name, "m", 1.0, 1, 1))

send("before")
producer.flush()
children = []
for number in range(2):
    child = os.fork()
    if child == 0:
        send(f"child-{number}")
        sys.exit()   # with Python's own end, which must not hang on what is the parent's
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
send("after")
"""


def test_forked_children_and_their_parent_deliver_what_is_pending_when_they_end(topics: Topics) -> None:
    ran = run(FORKING, topics.brokers, topics.telemetry)
    assert (ran.returncode, ran.stderr) == (0, "")
    names = sorted(event.service for event in events(topics))
    assert names == ["after", "before", "child-0", "child-1"]


def first_program(document: Path) -> str:
    return document.read_text().split("```python\n", 1)[1].split("```", 1)[0]


def test_the_integration_example_works_as_it_is_written(topics: Topics) -> None:
    example = first_program(SDK / "README.md")
    assert '["kafka:9092"]' in example
    assert '"llm.telemetry"' in example
    told = example.replace("kafka:9092", topics.brokers).replace("llm.telemetry", topics.telemetry)
    surroundings = """
from types import SimpleNamespace as Thing
response_time, calculated_cost = 640.0, 0.0125
completion = Thing(usage=Thing(prompt_tokens=11, completion_tokens=7))
user, session = Thing(id=42), Thing(id="abc")
"""
    ran = run(surroundings + told)
    assert (ran.returncode, ran.stderr) == (0, "")
    (event,) = events(topics)
    assert (event.service, event.model, event.latency_ms, event.cost_usd) == ("my-chatbot", "gpt-4", 640.0, 0.0125)
    assert (event.prompt_tokens, event.completion_tokens, event.user_id, event.session_id) == (11, 7, "42", "abc")


def test_the_first_program_of_the_repository_works(topics: Topics) -> None:
    program = first_program(SDK.parents[1] / "README.md")
    brokers = 'brokers=Path("var/kafka.bootstrap").read_text().strip()'
    assert brokers in program
    ran = run(program.replace(brokers, f'brokers="{topics.brokers}", topic="{topics.telemetry}"'))
    assert (ran.returncode, ran.stderr) == (0, "")
    latencies = [event.latency_ms or 0.0 for event in events(topics)]
    assert (len(latencies), latencies[-1]) == (301, 30_000)
    assert max(latencies[:-1]) < 2000
