"""manage.py replay, from the file to the real broker."""

import gzip
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from django.core.management import CommandError, call_command

from ingestion.formats.timestamps import unix_nanoseconds
from tests.ingestion.kafka_reading import landed
from tests.support.services import free_ports, require


@pytest.fixture
def brokers() -> str:
    return require("kafka")


@pytest.fixture
def topic(brokers: str) -> Iterator[str]:
    name = f"replay-{uuid.uuid4()}"
    admin = AdminClient({"bootstrap.servers": brokers})
    admin.create_topics([NewTopic(name, 3, 1)])[name].result()
    yield name
    admin.delete_topics([name])[name].result()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """60 events of three series, ten seconds apart, with one bad line among them; gzip."""
    lines = []
    for n in range(60):
        event = {
            "timestamp": f"2024-11-06T10:{n // 6:02d}:{n % 6}0Z",
            "service_name": "chat-api",
            "model_name": f"m{n % 3}",
            "latency_ms": 100 + n,
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "event_id": f"e{n:02d}",
        }
        lines.append(msgspec.json.encode(event))
    lines.insert(7, b'{"timestamp": 5}')
    path = tmp_path / "recording.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    return path


def test_a_recording_lands_in_kafka_keyed_by_its_series(recording, topic, brokers, capfd):
    call_command("replay", str(recording), "--speed=max", "--timestamps=original", topic=topic, brokers=brokers)
    messages = landed(brokers, topic)
    by_key: dict[bytes | None, list[str]] = {}
    for message in messages:
        by_key.setdefault(message.key, []).append(str(message.value["event_id"]))
    assert by_key == {
        f"chat-api|m{series}".encode(): [f"e{n:02d}" for n in range(60) if n % 3 == series] for series in range(3)
    }
    assert all(len({m.partition for m in messages if m.key == key}) == 1 for key in by_key)
    assert {m.value["timestamp"] for m in messages} >= {"2024-11-06T10:00:00Z", "2024-11-06T10:09:50Z"}
    out, err = capfd.readouterr()
    assert "60 events published, 0 not delivered, 1 bad lines" in out
    assert "line 8 skipped" in err


def test_dated_now_keeps_the_scaled_spacing(recording, topic, brokers):
    call_command("replay", str(recording), "--speed=1000", topic=topic, brokers=brokers)  # 590 s in 0.59
    times = sorted(unix_nanoseconds(str(m.value["timestamp"])) for m in landed(brokers, topic))
    assert (times[-1] - times[0]) / 1e9 >= 0.585
    assert times[0] > unix_nanoseconds("2024-11-07T00:00:00Z")


def test_strict_stops_at_the_first_bad_line(recording, topic, brokers):
    with pytest.raises(CommandError, match="line 8: "):
        call_command("replay", str(recording), "--speed=max", "--strict", topic=topic, brokers=brokers)
    assert len(landed(brokers, topic)) == 7  # what was sent before it is delivered all the same


def test_a_trace_lands_with_derived_latency_and_cost(tmp_path, topic, brokers):
    path = tmp_path / "code.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,1000,10\n")
    options = ["--format=llm-trace", "--speed=max", "--timestamps=original", "--service=code", "--model=codex"]
    call_command("replay", str(path), *options, "--noise=0", "--base-ms=50", topic=topic, brokers=brokers)
    [message] = landed(brokers, topic)
    assert message.key == b"code|codex"
    assert message.value["latency_ms"] == pytest.approx(50 + 80 + 220)
    assert message.value["cost_usd"] == pytest.approx(0.0026)
    assert message.value["timestamp"] == "2023-11-16T18:17:03.979960Z"


def test_an_event_the_broker_refuses_makes_the_command_fail(tmp_path, topic, brokers, recording):
    admin = AdminClient({"bootstrap.servers": brokers})
    small = f"{topic}-small"
    admin.create_topics([NewTopic(small, 1, 1, config={"max.message.bytes": "300"})])[small].result()
    path = tmp_path / "two.jsonl"
    event = msgspec.json.decode(gzip.decompress(recording.read_bytes()).splitlines()[0])
    large = event | {"prompt_text": uuid.uuid4().hex * 40 + "".join(uuid.uuid4().hex for _ in range(200))}
    path.write_bytes(msgspec.json.encode(large))
    try:
        with pytest.raises(CommandError, match="1 events were not delivered"):
            call_command("replay", str(path), "--speed=max", topic=small, brokers=brokers)
    finally:
        admin.delete_topics([small])[small].result()


def test_a_broker_that_is_not_there_is_named(recording, monkeypatch):
    monkeypatch.setattr("ingestion.publishing.ADMIN_SECONDS", 0.3)
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(CommandError, match=nowhere):
        call_command("replay", str(recording), "--speed=max", brokers=nowhere)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--speed=0", "above 0, or max"),
        ("--speed=fast", "above 0, or max"),
        ("--seed=-1", "0 or more"),
        ("--noise=-1", "0 or more"),
    ],
)
def test_impossible_options_say_what_is_allowed(recording, option, reason):
    with pytest.raises(CommandError, match=reason):
        call_command("replay", str(recording), option)


def test_a_missing_file_is_an_error_that_names_it():
    with pytest.raises(CommandError, match=r"/nowhere\.jsonl: No such file"):
        call_command("replay", "/nowhere.jsonl")
