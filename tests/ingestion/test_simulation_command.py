"""manage.py simulate_telemetry and replay as commands: options, ends, and what lands in the real broker."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from argparse import ArgumentTypeError
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from django.core.management import CommandError, call_command

from anomalies.detection.overrides import OverrideSet
from anomalies.overrides import current
from ingestion.formats.timestamps import unix_nanoseconds
from ingestion.management.commands import simulate_telemetry
from ingestion.management.options import duration
from ingestion.simulation.scenarios import SCENARIOS
from tests.ingestion.kafka_reading import landed
from tests.support.catalogue import anomaly, minute, service
from tests.support.services import require
from tests.support.waiting import eventually

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"


@pytest.fixture
def brokers() -> str:
    return require("kafka")


@pytest.fixture
def topic(brokers: str) -> Iterator[str]:
    name = f"simulation-{uuid.uuid4()}"
    admin = AdminClient({"bootstrap.servers": brokers})
    admin.create_topics([NewTopic(name, 3, 1)])[name].result()
    yield name
    admin.delete_topics([name])[name].result()


@pytest.mark.django_db
def test_a_backfill_and_the_present_land_in_kafka_without_a_gap(topic, brokers):
    options = ["--rate=50", "--services=2", "--backfill=10m", "--duration=1s", "--seed=3"]
    begun = time.time()
    call_command("simulate_telemetry", *options, topic=topic, brokers=brokers)
    ended = time.time()
    messages = landed(brokers, topic)
    times = sorted(unix_nanoseconds(str(m.value["timestamp"])) / 1e9 for m in messages)
    assert begun - 600 <= times[0] < ended - 600
    assert begun + 1 - 0.6 < times[-1] <= ended
    assert max(later - earlier for earlier, later in pairwise(times)) < 0.6
    assert {m.key for m in messages} == {
        b"chat-api|gpt-4o",
        b"chat-api|gpt-4o-mini",
        b"code-assistant|gpt-4o-mini",
        b"code-assistant|claude-sonnet-4",
    }
    assert len({m.value["event_id"] for m in messages}) == len(messages)


@pytest.mark.django_db
def test_the_end_of_a_simulation_is_no_silence_until_the_next_one(topic, brokers, monkeypatch):
    options = ["--rate=50", "--services=2", "--duration=1s"]
    seen = []
    monkeypatch.setattr(simulate_telemetry, "publishing", noting(simulate_telemetry.publishing, seen))
    call_command("simulate_telemetry", *options, topic=topic, brokers=brokers)
    ended = current()
    assert ended.resolve("chat-api", "gpt-4o", "silence").muted
    assert not ended.resolve("chat-api", "gpt-4o", "latency_ms").muted
    call_command("simulate_telemetry", *options, topic=topic, brokers=brokers)
    assert seen == [OverrideSet(), OverrideSet()]  # while calls are made they are expected
    assert current() == ended


def noting(publishing, seen):
    """Publishing that first notes which overrides are in force."""

    def noted(*arguments):
        seen.append(current())
        return publishing(*arguments)

    return noted


@pytest.mark.django_db
def test_waiting_ends_with_the_anomaly_that_was_found(topic, brokers, capfd):
    soon = datetime.now(UTC) + timedelta(milliseconds=300)
    row = anomaly(service("chat-api"), soon, type="latency_spike", model="gpt-4o")
    options = ["--scenario=latency_spike", "--start-in=0s", "--wait", "--backfill=0s", "--services=1"]
    call_command("simulate_telemetry", *options, topic=topic, brokers=brokers)
    out = capfd.readouterr().out
    assert re.search(r"found \d+\.\d s after its start", out)
    assert str(row.pk) in out
    assert "Latency spike in chat-api" in out


@pytest.mark.django_db
@pytest.mark.parametrize(("rate", "hours"), [(1.0, 6), (2.0, 3.2), (50.0, 1)])
def test_waiting_fills_in_what_detection_needs_of_the_service_and_nothing_else(topic, brokers, rate, hours):
    began = time.time()
    soon = datetime.now(UTC) + timedelta(milliseconds=300)
    anomaly(service("chat-api"), soon, type="latency_spike", model="gpt-4o")
    options = ["--scenario=latency_spike", "--start-in=0s", "--wait", f"--rate={rate}", "--max-lag=0"]
    call_command("simulate_telemetry", *options, topic=topic, brokers=brokers)
    sent = [(unix_nanoseconds(str(m.value["timestamp"])) / 1e9, m.key) for m in landed(brokers, topic)]
    assert min(sent)[0] - began == pytest.approx(-hours * 3600, abs=0.02 * hours * 3600 + 60)
    assert {key.split(b"|")[0] for at, key in sent if at < began} == {b"chat-api"}


@pytest.mark.django_db
def test_waiting_fills_in_no_more_than_is_missing(topic, brokers):
    began = datetime.now(UTC)
    minute("chat-api", began - timedelta(minutes=3))
    anomaly(service("chat-api"), began + timedelta(milliseconds=300), type="latency_spike", model="gpt-4o")
    options = ["--scenario=latency_spike", "--start-in=0s", "--wait", "--max-lag=0"]
    call_command("simulate_telemetry", *options, topic=topic, brokers=brokers)
    times = [unix_nanoseconds(str(m.value["timestamp"])) / 1e9 for m in landed(brokers, topic)]
    assert began.timestamp() - 180 < min(times) < began.timestamp() - 60


@pytest.mark.django_db
def test_waiting_in_vain_is_a_failure(topic, brokers):
    anomaly(service("chat-api"), datetime.now(UTC) - timedelta(hours=1), type="latency_spike", state="active")
    options = ["--scenario=latency_spike", "--start-in=0s", "--wait", "--backfill=0s", "--deadline=1s"]
    with pytest.raises(CommandError, match="no anomaly latency_spike in chat-api appeared or grew worse"):
        call_command("simulate_telemetry", *options, topic=topic, brokers=brokers)


@pytest.mark.django_db
def test_the_incident_hits_the_stream_that_was_named(topic, brokers, capfd):
    options = ["--scenario=silence", "--start-in=0s", "--service=code-assistant", "--services=2", "--rate=100"]
    call_command("simulate_telemetry", *options, "--duration=2s", topic=topic, brokers=brokers)
    keys = {m.key for m in landed(brokers, topic)}
    assert b"code-assistant|gpt-4o-mini" not in keys
    assert len(keys) == 3
    out, err = capfd.readouterr()
    assert "silence (no calls at all) in code-assistant (gpt-4o-mini)" in out
    assert "no enabled detector watches request_rate" in err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--wait"], "needs --scenario"),
        (["--service=nobody"], "there are: chat-api gpt-4o"),
        (["--rate=0"], "rate must be above 0"),
        (["--rate=-2"], "must be a number, 0 or more"),
        (["--services=0"], "1 or more"),
        (["--duration=soon"], "such as 90s, 10m"),
        (["--scenario=meteor"], "invalid choice: 'meteor'"),
    ],
)
def test_impossible_options_say_what_is_allowed(options, reason):
    with pytest.raises(CommandError, match=reason):
        call_command("simulate_telemetry", *options)


def test_the_list_names_every_scenario_with_its_duration(capfd):
    call_command("simulate_telemetry", "--list")
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[name, str(s.seconds)] for name, s in SCENARIOS.items()]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("6h", 21_600), ("1h30m", 5400), ("2d", 172_800), ("45", 45), ("0s", 0)],
)
def test_durations_are_read(text, seconds):
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "h", "6 h", "-5m", "30m1h", "1.5h", "5x", "99999999999999d", "٣m"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ArgumentTypeError, match=r"duration|too long"):
        duration(text)


def started(*command: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(MANAGE.parent)}
    line = [sys.executable, str(MANAGE), *command]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_interrupt_ends_endless_traffic_with_everything_delivered(topic, brokers):
    with started("simulate_telemetry", "--rate=200", f"--topic={topic}", f"--brokers={brokers}") as process:
        eventually(lambda: len(landed(brokers, topic)) > 100, deadline=60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert f"{len(landed(brokers, topic))} events published, 0 not delivered" in out


def test_an_interrupted_replay_says_so_by_its_exit_code(tmp_path, topic, brokers):
    path = tmp_path / "slow.csv"
    rows = "".join(f"2023-11-16 18:{n:02d}:00,100,10\n" for n in range(60))
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows)
    options = ["--format=llm-trace", f"--topic={topic}", f"--brokers={brokers}"]
    with started("replay", str(path), *options) as process:
        eventually(lambda: landed(brokers, topic), deadline=60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "1 events published, 0 not delivered, 0 bad lines" in out
    assert "interrupted before the end" in err
    assert "Traceback" not in err
