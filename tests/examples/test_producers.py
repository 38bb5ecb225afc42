"""Both example producers against the real Kafka: what they send, where it lands, how they stop."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ingestion.formats import native
from ingestion.formats.event import Event, partition_key
from ingestion.formats.validation import Limits
from ingestion.partitioner import partition_of
from tests.examples.programs import EXAMPLES, PROGRAMS, Program, go_program
from tests.ingestion.kafka_reading import Landed, landed
from tests.ingestion.pipeline.worlds import Topics
from tests.support.services import require
from tests.support.waiting import eventually

PARTITIONS = 5
KINDS = ["high_latency", "high_tokens", "high_cost", "suspicious_pattern"]
SUMMARY = re.compile(r"(\d+) sent, (\d+) delivered \(([^)]*)\)")
MOST_BYTES = 20_000_000

pytestmark = pytest.mark.timeout(400)  # Go compiles its libraries the first time


@pytest.fixture(scope="module", params=sorted(PROGRAMS))
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return PROGRAMS[request.param](shared_directory(tmp_path_factory))


def shared_directory(factory: pytest.TempPathFactory) -> Path:
    """The same for all processes of this test run."""
    base = factory.getbasetemp()
    return base.parent if base.name.startswith("popen-") else base


@pytest.fixture
def topics() -> Iterator[Topics]:
    made = Topics.create(require("kafka"), PARTITIONS)
    yield made
    made.drop()


def decoded(message: Landed) -> Event:
    """The event as the product understands it, with nothing to repair."""
    event = native.decode(msgspec.json.encode(message.value), received_ms=time.time_ns() // 10**6, limits=Limits())
    assert event.marks == ()
    return event


def test_a_round_is_normal_calls_and_then_four_kinds_of_anomalies(program: Program, topics: Topics) -> None:
    ran = program.run(brokers=topics.brokers, topic=topics.telemetry, service="shop", model="m-1")
    assert ran.returncode == 0, ran.stderr
    arrived = landed(topics.brokers, topics.telemetry)
    events = [decoded(message) for message in arrived]
    assert [event.metadata["kind"] for event in events] == ["normal"] * 20 + [*KINDS, KINDS[0]]
    assert {(event.service, event.model, event.error) for event in events} == {("shop", "m-1", False)}
    assert len({event.event_id for event in events}) == 25
    place = partition_of(b"shop|m-1", PARTITIONS)
    assert {(message.key, message.partition) for message in arrived} == {(b"shop|m-1", place)}
    assert f"25 sent, 25 delivered (25 in partition {place})" in ran.stdout


def test_each_kind_stands_out_in_its_own_metric(program: Program, topics: Topics) -> None:
    options = {"normal_events": 200, "anomalous_events": 8, "seed": 3}
    assert program.run(brokers=topics.brokers, topic=topics.telemetry, **options).returncode == 0
    events = [decoded(message) for message in landed(topics.brokers, topics.telemetry)]
    usual = [event for event in events if event.metadata["kind"] == "normal"]
    for kind, metric in zip(KINDS, ["latency_ms", "completion_tokens", "cost_usd", "prompt_tokens"], strict=True):
        odd = [getattr(event, metric) for event in events if event.metadata["kind"] == kind]
        assert len(odd) == 2
        assert min(odd) > 5 * max(getattr(event, metric) for event in usual)


def test_keys_land_where_the_product_looks_for_them(program: Program, topics: Topics) -> None:
    names = ["chat", "täglich", "search-api", "a", "ab", "abc", "x" * 100]
    for name in names:
        options = {"service": name, "model": f"gpt/{name}", "normal_events": 1, "anomalous_events": 0}
        assert program.run(brokers=topics.brokers, topic=topics.telemetry, **options).returncode == 0
    arrived = landed(topics.brokers, topics.telemetry)
    keys = [partition_key(name, f"gpt/{name}") for name in names]
    expected = Counter((key, partition_of(key, PARTITIONS)) for key in keys)
    assert Counter((message.key, message.partition) for message in arrived) == expected
    assert len({message.partition for message in arrived}) > 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_loses_nothing(program: Program, topics: Topics, number: signal.Signals) -> None:
    options = {"continuous": True, "rate": 2000, "normal_events": 7, "anomalous_events": 1}
    process = program.start(brokers=topics.brokers, topic=topics.telemetry, **options)
    eventually(lambda: len(landed(topics.brokers, topics.telemetry)) > 100, deadline=30)
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    summary = SUMMARY.findall(output)[-1]
    arrived = landed(topics.brokers, topics.telemetry)
    assert (process.returncode, summary[0], summary[1]) == (0, str(len(arrived)), str(len(arrived))), errors
    kinds = Counter(str(decoded(message).metadata["kind"]) for message in arrived)
    assert set(kinds) == {"normal", *KINDS}
    assert kinds["normal"] > 0.8 * len(arrived)


def test_a_topic_that_takes_nothing_is_told_and_fails_the_program(program: Program, topics: Topics) -> None:
    ran = program.run(brokers=topics.brokers, topic="not a topic", normal_events=3, anomalous_events=0)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("options", [{"normal_events": -1}, {"normal_events": 0, "anomalous_events": 0}, {"rate": -2}])
def test_options_that_make_no_sense_are_refused(program: Program, options: dict[str, int]) -> None:
    ran: subprocess.CompletedProcess[str] = program.run(**options)
    assert ran.returncode != 0
    assert f"{program.dashes}{next(iter(options)).replace('_', '-')}" in ran.stderr


def test_the_go_binary_is_small(tmp_path_factory: pytest.TempPathFactory) -> None:
    binary = Path(go_program(shared_directory(tmp_path_factory)).command[0])
    assert binary.stat().st_size <= MOST_BYTES


@pytest.mark.verify
def test_the_go_producer_delivers_ten_thousand_events_a_second(
    topics: Topics, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = go_program(shared_directory(tmp_path_factory))
    began = time.monotonic()
    ran = program.run(brokers=topics.brokers, topic=topics.telemetry, normal_events=100_000, anomalous_events=0)
    seconds = time.monotonic() - began
    assert SUMMARY.findall(ran.stdout)[-1][:2] == ("100000", "100000")
    assert 100_000 / seconds >= 10_000


def test_the_readmes_name_every_option(program: Program) -> None:
    folder = EXAMPLES / ("python" if program.dashes == "--" else "go")
    helped = program.run(help=True)
    options = set(re.findall(rf"^  (?:-X .*, )?({program.dashes}[a-z-]+)", helped.stdout + helped.stderr, re.MULTILINE))
    options -= {"--property"}  # told by its short form
    assert {"brokers", "topic", "normal-events", "continuous"} <= {option.lstrip("-") for option in options}
    readme = (folder / "README.md").read_text()
    assert {option for option in options if f"`{option}`" not in readme and f"`{option} " not in readme} == set()
