"""Records of many calls, without a key, become keyed native events: each call once, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from confluent_kafka import KafkaException
from django.db import connections
from redis import Redis

from ingestion.formats.event import partition_key
from ingestion.formats.otlp import calls
from ingestion.formats.otlp.envelopes import Encoding
from ingestion.kafka import Batch
from ingestion.letter_replay import REPLAYED, STILL_BAD, Replay
from ingestion.letters import Choice, Letter, LetterBox
from ingestion.otlp import memory
from ingestion.partitioner import partition_of
from ingestion.telemetry_store.database import DatabaseStore
from sentinel_site.config import load_config
from tests.ingestion.kafka_reading import Landed
from tests.ingestion.otlp.requests import CHAT, ENCODINGS, START_NS, encoded, histogram, metrics, span, traces
from tests.ingestion.pipeline.conftest import Inhabit, MakeWorld
from tests.ingestion.pipeline.normalizing import Call, Inputs, arrived, collected, records, send
from tests.ingestion.pipeline.threads import consume, consumer
from tests.ingestion.pipeline.worlds import KILLED, Topics, World, publish
from tests.support.waiting import eventually

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND_NS = 10**9
NATIVE = {
    "timestamp": "2024-11-06T10:25:00Z",
    "service_name": "chat-api",
    "model_name": "gpt-4o",
    "latency_ms": 12.5,
    "prompt_tokens": 5,
    "completion_tokens": 7,
}


@pytest.fixture
def inputs(topics: Topics) -> Iterator[Inputs]:
    made = Inputs.create(topics)
    yield made
    topics.delete(made.names())


@pytest.fixture
def normalized(make_world: MakeWorld, inhabit: Inhabit, inputs: Inputs) -> World:
    """A world whose database is that of the threads, with inputs for the role."""
    made = make_world(**inputs.settings())
    inhabit(made)
    return made


def letters(world: World) -> list[Letter]:
    with LetterBox(load_config(env=world.environment()).ingestion.kafka) as box:
        return list(box.letters(Choice()))


def ids(found: list[Landed]) -> list[Any]:
    return sorted(str(each.value["event_id"]) for each in found)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_span_of_a_collectors_records_arrives_once_under_its_key(
    normalized: World, inputs: Inputs, encoding: Encoding
) -> None:
    sent = [Call(number) for number in range(300)]
    publish(normalized.topics, records(sent, encoding, each=40), inputs.spans)
    consume(normalized, "normalize")
    found = {each.value["trace_id"]: each for each in arrived(normalized)}
    assert len(arrived(normalized)) == len(found) == len(sent)
    for call in sent:
        message = found[call.trace_id.hex()]
        assert message.key == partition_key(call.service, call.model)
        assert message.partition == partition_of(message.key, 2)
        assert {name: message.value[name] for name in call.row()} == call.row()
    assert letters(normalized) == []


# Killed on the way

STEPS = (
    ("spans", "decode:2"),
    ("spans", "produce:1"),
    ("spans", "redis:1"),
    ("spans", "commit:1"),
    ("metrics", "produce:1"),
    ("metrics", "redis:1"),
    ("metrics", "commit:1"),
)
ROWS = {
    "telemetry": "SELECT service, model, event_id, timestamp, latency_ms, prompt_tokens, completion_tokens, cost_usd,"
    " metadata::text FROM ingestion_telemetryevent ORDER BY 1, 2, 3",
    "minutes": "SELECT service, model, minute, sum(count), sum(prompt_tokens), sum(completion_tokens)"
    " FROM baselines_telemetryminute GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
}


def rows(world: World) -> dict[str, list[Any]]:
    with psycopg.connect(world.database) as connection:
        return {name: connection.execute(query).fetchall() for name, query in ROWS.items()}


def counted(minute: int) -> bytes:
    """A record with the cumulative histogram of a service without spans: ten more calls each minute."""
    values = [0.2 + place / 100 for place in range(10 * minute)]
    metric = histogram(values=values, cumulative=True, end_ns=START_NS + minute * 60 * SECOND_NS)
    return encoded(metrics(metric, resource={"service.name": "metered"}), "protobuf")


@pytest.fixture
def elsewhere(topics: Topics) -> Iterator[Topics]:
    other = Topics.create(topics.brokers)
    yield other
    other.drop()


@pytest.mark.timeout(240)
def test_kills_between_kafka_redis_and_the_commit_leave_the_rows_of_an_uninterrupted_run(
    make_world: MakeWorld, inputs: Inputs, elsewhere: Topics
) -> None:
    settings = inputs.settings() | {"SENTINEL__INGESTION__KAFKA__GROUP_INSTANCE_ID": "only"}
    broken, whole = make_world(**settings), make_world(elsewhere, **settings)
    spans = iter([Call(number) for number in range(400)])
    with broken.forked() as run:
        for minute, (kind, failpoint) in enumerate(STEPS, 1):
            if kind == "spans":
                some = [next(spans) for _ in range(100)]
                publish(broken.topics, records(some, "protobuf", each=10), inputs.spans)
            else:
                send(broken, inputs.metrics, counted(minute))
            killed = run("--role", "normalize", "--batch-size", "5", failpoint=failpoint)
            assert killed == KILLED, f"{failpoint} was not reached with {kind}"
            assert run("--role", "normalize") == 0
    repeated = ids(arrived(broken))
    assert len(repeated) > len(set(repeated))  # else nothing was tried
    for world in (broken, whole):
        ended = world.consume(role="all")
        assert ended.returncode == 0, ended.stdout
    assert len(ids(arrived(whole))) == len(set(repeated)) == 400 + 10 * 7
    expected = rows(whole)
    assert len(expected["telemetry"]) == 400 + 10 * 7
    assert rows(broken) == expected


def test_what_kafka_did_not_acknowledge_is_sent_again_under_the_same_ids(
    normalized: World, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait, failures = Batch.wait, [KafkaException("away"), KafkaException("still away")]

    def failing(batch: Batch, deadline: float) -> None:
        wait(batch, deadline)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(Batch, "wait", failing)
    sent = [Call(number) for number in range(20)]
    publish(normalized.topics, records(sent, "protobuf", each=20), inputs.spans)
    consume(normalized, "normalize")
    assert ids(arrived(normalized)) == sorted(3 * [str(call.row()["event_id"]) for call in sent])


def test_metrics_wait_for_redis_and_spans_do_not(
    normalized: World, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "get_redis_connection", lambda _: Redis(port=1, socket_connect_timeout=1))
    send(normalized, inputs.metrics, counted(1))
    with consumer(normalized, "normalize") as running:
        eventually(lambda: "redis" in (running.role.trouble or ""), deadline=20)
        send(normalized, inputs.spans, collected([Call(1)], "json"))
        eventually(lambda: len(arrived(normalized)) == 1, deadline=20)
        monkeypatch.undo()
        eventually(lambda: len(arrived(normalized)) == 11, deadline=20)
        eventually(lambda: running.role.trouble is None, deadline=20)


# What cannot be used


def refused_in_part(encoding: Encoding) -> bytes:
    """A record with two good spans, a bad one, and one whose model has too long a name."""
    long = CHAT | {"gen_ai.response.model": "m" * 200, "gen_ai.input.messages": "tell nobody"}
    bad = span(end_time_unix_nano=1)
    good = [span(span_id=bytes([7] * 8)), span(span_id=bytes([8] * 8))]
    return encoded(traces(good[0], bad, span(long, span_id=bytes([9] * 8)), good[1]), encoding)


def replayed(world: World, found: list[Letter]) -> list[str]:
    """Replay letters, in a thread that lives in the world's database; returns what became of each."""
    config = load_config(env=world.environment())

    def replay() -> list[str]:
        try:
            with LetterBox(config.ingestion.kafka) as box:
                return [outcome.what for outcome in Replay(config, box, DatabaseStore(), "otto").replay(found, NOW)]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(replay).result(60)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_replay_of_a_record_brings_what_was_refused_and_nothing_twice(
    normalized: World, inputs: Inputs, encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(normalized, inputs.spans, refused_in_part(encoding))
    consume(normalized, "normalize")
    assert len(arrived(normalized)) == 2
    told = {letter.reason: letter for letter in letters(normalized)}
    assert set(told) == {"negative", "bad_name"}
    assert all(b"gen_ai.operation.name" in letter.payload for letter in told.values())
    assert not any(b"tell nobody" in letter.payload for letter in told.values())
    monkeypatch.setattr(calls, "MAX_NAME_LENGTH", 256)
    assert sorted(replayed(normalized, list(told.values()))) == [REPLAYED, "replayed before"]
    consume(normalized, "normalize")
    found = arrived(normalized)
    assert sorted(str(each.value["span_id"])[:2] for each in found) == ["07", "08", "09"]
    again = [letter for letter in letters(normalized) if letter.place not in {one.place for one in told.values()}]
    assert [letter.reason for letter in again] == ["negative"]  # of the record that was sent again
    assert replayed(normalized, again) == [REPLAYED]
    consume(normalized, "normalize")
    assert len(arrived(normalized)) == 3


def test_a_record_of_which_nothing_can_be_read_is_kept_without_its_content(normalized: World, inputs: Inputs) -> None:
    send(normalized, inputs.spans, b"\xff\xfe tell nobody", collected([Call(1)], "protobuf"))
    consume(normalized, "normalize")
    assert len(arrived(normalized)) == 1
    (letter,) = letters(normalized)
    assert (letter.reason, letter.topic, letter.payload) == ("invalid", inputs.spans, b"")
    assert replayed(normalized, [letter]) == [REPLAYED]


def test_metrics_that_were_taken_in_part_are_not_sent_again(normalized: World, inputs: Inputs) -> None:
    good = histogram(values=[0.2, 0.3])
    bad = histogram(values=[0.2], bucket_counts=[1], attributes={"gen_ai.request.model": "other"})
    send(normalized, inputs.metrics, encoded(metrics(good, bad, resource={"service.name": "metered"}), "protobuf"))
    consume(normalized, "normalize")
    assert len(arrived(normalized)) == 2
    (letter,) = letters(normalized)
    assert replayed(normalized, [letter]) == [STILL_BAD]


def test_arrays_and_keyless_events_are_taken_one_by_one(normalized: World, inputs: Inputs) -> None:
    array = [NATIVE, NATIVE | {"event_id": "e1"}, NATIVE | {"latency_ms": -1}, NATIVE]
    send(normalized, inputs.native, json.dumps(array).encode(), json.dumps(NATIVE).encode(), b"[1", b"")
    consume(normalized, "normalize")
    found = arrived(normalized)
    assert len(set(ids(found))) == len(found) == 4
    assert {each.key for each in found} == {b"chat-api|gpt-4o"}
    assert sorted(letter.reason for letter in letters(normalized)) == ["empty", "invalid_json", "negative"]
    again = next(letter for letter in letters(normalized) if letter.reason == "negative")
    assert replayed(normalized, [again]) == [REPLAYED]
    consume(normalized, "normalize")
    assert ids(arrived(normalized)) == ids(found)


def test_a_flood_of_bad_records_can_stop_the_role(make_world: MakeWorld, inhabit: Inhabit, inputs: Inputs) -> None:
    world = make_world(**inputs.settings(), SENTINEL__INGESTION__DEAD_LETTERS__ON_LIMIT="stop")
    inhabit(world)
    send(world, inputs.native, *[b"{"] * 60)
    with consumer(world, "normalize") as running:
        eventually(lambda: running.exit_code == 1, deadline=30)
        assert "invalid messages in a row" in running.runner.failed[0]
    assert len(letters(world)) == 60
