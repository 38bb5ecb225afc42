"""From the senders, unmodified, to the API: every call that was sent over Kafka is one row, and says the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.examples.programs import PROGRAMS
from tests.examples.test_producers import shared_directory
from tests.ingestion.kafka_reading import landed
from tests.ingestion.otlp.requests import ENCODINGS, START_NS
from tests.ingestion.pipeline.normalizing import Call, Inputs, collected
from tests.ingestion.pipeline.worlds import Topics
from tests.sentinel_site.standalone_process import Standalone, standalone
from tests.support.services import require
from tests.support.waiting import eventually

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("standalone-rows")]
# Names of a sender, and those of a row where they differ.
RENAMED = {"service_name": "service", "model_name": "model"}
COMPARED = ("service_name", "model_name", "latency_ms", "prompt_tokens", "completion_tokens")
DAY = {"start": "2024-11-06T00:00:00Z", "end": "2024-11-07T00:00:00Z"}


@pytest.fixture(scope="module")
def topics() -> Iterator[Topics]:
    made = Topics.create(require("kafka"))
    yield made
    made.drop()


@pytest.fixture(scope="module")
def inputs(topics: Topics) -> Iterator[Inputs]:
    made = Inputs.create(topics)
    yield made
    topics.delete(made.names())


@pytest.fixture(scope="module")
def running(topics: Topics, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """Everything in one process, on the real Kafka."""
    settings = {
        "SENTINEL__INGESTION__KAFKA__BROKERS": json.dumps([topics.brokers]),
        "SENTINEL__INGESTION__KAFKA__TOPIC": topics.telemetry,
        "SENTINEL__INGESTION__KAFKA__DETECTIONS_TOPIC": topics.detections,
        "SENTINEL__INGESTION__KAFKA__DEAD_LETTER_TOPIC": topics.dead_letters,
        "SENTINEL__INGESTION__KAFKA__GROUP_ID": topics.telemetry,
        **inputs.settings(),
    }
    with standalone(tmp_path_factory.mktemp("standalone"), **settings) as server:
        yield server


def stored(running: Standalone, service: str, count: int, **asked: str) -> list[dict[str, Any]]:
    """The rows of a service, once they are all there."""

    def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = running.get("/api/v1/telemetry", service=service, limit=1000, **asked).json()[
            "data"
        ]
        return found

    eventually(lambda: len(rows()) >= count, deadline=60, interval=0.3)
    found = rows()
    assert len(found) == count
    return found


def same(row: dict[str, Any], sent: dict[str, Any], *more: str) -> None:
    for name in (*COMPARED, *more):
        assert row[RENAMED.get(name, name)] == sent[name], (name, row, sent)


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_what_the_example_producers_send_are_rows(
    running: Standalone, topics: Topics, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = PROGRAMS[name](shared_directory(tmp_path_factory))
    ran = program.run(brokers=topics.brokers, topic=topics.telemetry, service=f"shop-{name}", model="gpt-4o")
    assert ran.returncode == 0, ran.stderr
    sent = {
        str(message.value.get("event_id") or message.value["request_id"]): message.value
        for message in landed(topics.brokers, topics.telemetry)
        if message.value["service_name"] == f"shop-{name}"
    }
    rows = stored(running, f"shop-{name}", 25)
    assert {row["event_id"] for row in rows} == set(sent)
    for row in rows:
        same(row, sent[row["event_id"]], "cost_usd")
        assert row["total_tokens"] == row["prompt_tokens"] + row["completion_tokens"]
        assert row["cost_source"] == "reported"


def test_what_a_collector_writes_to_kafka_are_rows(running: Standalone, inputs: Inputs, topics: Topics) -> None:
    calls = [Call(number) for number in range(120)]
    producer = Producer({"bootstrap.servers": topics.brokers})
    for place, encoding in enumerate(ENCODINGS):
        for start in range(60 * place, 60 * place + 60, 20):
            record = collected(calls[start : start + 20], encoding)
            producer.produce(inputs.spans, record, timestamp=START_NS // 10**6 + start)
    assert producer.flush(30) == 0
    for service in {call.service for call in calls}:
        sent = {call.trace_id.hex(): call.row() for call in calls if call.service == service}
        found = stored(running, service, len(sent), **DAY)
        assert {row["trace_id"] for row in found} == set(sent)
        for row in found:
            same(row, sent[row["trace_id"]], "event_id", "span_id", "total_tokens")
            # The provider that the spans name has no price for the other's model.
            priced = ("table", True) if row["model"] == "gpt-4o" else ("unpriced", False)
            assert (row["cost_source"], row["cost_usd"] is not None) == priced
