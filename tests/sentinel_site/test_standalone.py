"""The embedded default as a person meets it: started, fed, asked, stopped, started again."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from tests.ingestion.otlp.requests import encoded as encoded_request
from tests.ingestion.otlp.requests import span, traces
from tests.sentinel_site.standalone_process import Standalone, fresh_environment, manage, standalone
from tests.support.waiting import eventually

TOPIC = "llm.telemetry"
STOP_SECONDS = 5.0

pytestmark = pytest.mark.timeout(180)


def flat(service: str) -> bytes:
    tokens = {"prompt_tokens": 100, "completion_tokens": 50}
    return encoded(service, model_name="gpt-4", latency_ms=812.0, cost_usd=0.01, **tokens)


def nested(service: str) -> bytes:
    texts = {"prompt": {"text": "Hello", "tokens": 100}, "response": {"text": "Hi", "tokens": 50}}
    return encoded(service, model="gpt-4", latency_ms=640.0, errors=[], **texts)


def encoded(service: str, **call: object) -> bytes:
    return json.dumps({"service_name": service, "timestamp": datetime.now(UTC).isoformat(), **call}).encode()


def send_with_confluent_kafka(brokers: str, service: str) -> None:
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})
    producer.produce(TOPIC, flat(service), key=f"{service}|gpt-4".encode())
    assert producer.flush(10) == 0


def send_with_aiokafka(brokers: str, service: str) -> None:
    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=brokers) as producer:
            await producer.send_and_wait(TOPIC, nested(service), key=f"{service}|gpt-4".encode())

    asyncio.run(send())


def send_as_a_collector(brokers: str, service: str) -> None:
    """Without a key, as OpenTelemetry Collector's Kafka exporter does."""
    end = time.time_ns()
    call = span(start_time_unix_nano=end - 640_000_000, end_time_unix_nano=end)
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce("otlp_spans", encoded_request(traces(call, resource={"service.name": service}), "protobuf"))
    assert producer.flush(10) == 0


def services_stored(running: Standalone) -> set[str]:
    return {row["service"] for row in running.get("/api/v1/telemetry").json()["data"]}


def test_events_of_three_senders_are_stored_and_outlive_a_restart(tmp_path: Path) -> None:
    with standalone(tmp_path) as first:
        assert "Password" in first.said()
        send_with_confluent_kafka(first.brokers, "of-confluent-kafka")
        send_with_aiokafka(first.brokers, "of-aiokafka")
        send_as_a_collector(first.brokers, "of-a-collector")
        sent = {"of-confluent-kafka", "of-aiokafka", "of-a-collector"}
        eventually(lambda: services_stored(first) == sent, deadline=20)
        code, seconds = first.stop(signal.SIGINT)
        assert (code, seconds < STOP_SECONDS) == (0, True), first.said()
        assert "Every event was consumed." in first.said()
    with standalone(tmp_path) as second:
        assert "Password" not in second.said()
        assert services_stored(second) == sent
        code, seconds = second.stop(signal.SIGTERM)
        assert (code, seconds < STOP_SECONDS) == (0, True), second.said()
    assert not (tmp_path / "var" / "kafka.bootstrap").exists()


def test_other_commands_meet_the_running_standalone(tmp_path: Path) -> None:
    with standalone(tmp_path) as running:
        environment = fresh_environment(running.var)
        asked = "from django.conf import settings as s; print(s.SENTINEL.ingestion.kafka.brokers, s.DATABASES)"
        adopted = manage("shell", "--no-imports", "-c", asked, environment=environment)
        assert running.brokers in adopted.stdout
        assert str(running.var / "sentinel.sqlite3") in adopted.stdout
        in_force = manage("check_config", environment=environment)
        assert in_force.returncode == 0, in_force.stdout + in_force.stderr
        assert running.brokers in in_force.stdout
        refused = manage("consume_telemetry", environment=environment)
        assert refused.returncode == 1
        assert "no other one can share it" in refused.stderr
        again = manage("standalone", environment=environment)
        assert again.returncode == 1
        assert f"already runs here (process {running.process.pid}" in again.stderr


def test_demo_traffic_brings_anomalies_within_two_minutes(tmp_path: Path) -> None:
    with standalone(tmp_path, DEMO="1") as running:
        eventually(lambda: running.get("/api/v1/anomalies").json()["anomalies"], deadline=100, interval=0.5)
        code, seconds = running.stop(signal.SIGINT)
        assert (code, seconds < STOP_SECONDS) == (0, True), running.said()


def test_a_taken_port_is_named_before_anything_is_stored(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = str(taken.getsockname()[1])
        result: subprocess.CompletedProcess[str] = manage(
            "standalone", environment=fresh_environment(tmp_path, SENTINEL_PORT=port)
        )
    assert result.returncode == 1
    assert f"127.0.0.1:{port} cannot be used" in result.stdout
    assert "SENTINEL_PORT" in result.stdout
    assert not (tmp_path / "sentinel.sqlite3").exists()
