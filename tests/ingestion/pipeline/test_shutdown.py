"""Told to leave, a consumer leaves within ten seconds, whatever is down, and nothing of what it did is done again."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from baselines.store import PartitionStore
from tests.ingestion.kafka_reading import landed
from tests.ingestion.pipeline.conftest import Inhabit, MakeWorld
from tests.ingestion.pipeline.recordings import Message, traffic
from tests.ingestion.pipeline.rows import differences, dump
from tests.ingestion.pipeline.threads import await_offsets, consume, consumer
from tests.ingestion.pipeline.worlds import (
    World,
    database_from,
    finish,
    migrated_template,
    publish,
    running,
)
from tests.support.services import PrivateService, private
from tests.support.waiting import eventually

LEAVE_SECONDS = 10.0


def poisoned(events: int) -> list[Message]:
    """Traffic in which every fiftieth message is no event."""
    sent = list(traffic(events))
    return [(key, b"no event" if n % 50 == 7 else value, at) for n, (key, value, at) in enumerate(sent)]


def state_offsets(world: World) -> dict[int, int]:
    with redis.Redis.from_url(world.redis) as client:
        store = PartitionStore(client, world.prefix)
        images = [store.load(name) for name in store.names()]
    return {image.name.partition: image.offset for image in images if image}


@pytest.mark.timeout(240)
def test_a_consumer_under_load_leaves_in_time_and_replays_nothing(make_world: MakeWorld, inhabit: Inhabit) -> None:
    world, whole = make_world(), make_world()
    messages = poisoned(30_000)
    process = world.start("--batch-size", "10")
    with running(process):
        feeder = threading.Thread(target=publish, args=(world.topics, messages))
        feeder.start()
        eventually(lambda: any(offset > 0 for offset in world.committed("detect").values()), deadline=60)
        process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        output = finish(process, LEAVE_SECONDS + 5)
        took = time.monotonic() - told
        feeder.join(60)
    assert process.returncode == 0, output
    assert took < LEAVE_SECONDS
    done = {number: offset for number, offset in world.committed("detect").items() if offset > 0}
    assert done
    assert done == {number: offset for number, offset in state_offsets(world).items() if number in done}
    assert sum(done.values()) < len(messages)
    inhabit(world)
    consume(world)
    inhabit(whole)
    consume(whole)
    assert not differences(dump(whole.database), dump(world.database))
    letters = [
        (x.value["partition"], x.value["offset"]) for x in landed(world.topics.brokers, world.topics.dead_letters)
    ]
    assert len(letters) == len(set(letters)) == sum(value == b"no event" for _, value, _ in messages)


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateService]:
    with private("postgres", tmp_path_factory.mktemp("postgres")) as service:
        yield service


@pytest.fixture(scope="module")
def own_template(own_postgres: PrivateService) -> Iterator[str]:
    with migrated_template(own_postgres.url) as name:
        yield name


@pytest.fixture
def world_there(own_postgres: PrivateService, own_template: str, make_world: MakeWorld) -> Iterator[World]:
    """A world whose database is on a server that the test may stop."""
    with database_from(own_postgres.url, own_template) as database:
        yield replace(make_world(), database=database)


@pytest.mark.timeout(240)
def test_a_restart_of_the_database_and_a_stop_without_it_lose_nothing(
    world_there: World, own_postgres: PrivateService, make_world: MakeWorld, inhabit: Inhabit
) -> None:
    events = list(traffic(3000))
    inhabit(world_there)
    with consumer(world_there) as detect, consumer(world_there, "store") as store:
        publish(world_there.topics, events[:1000])
        await_offsets(world_there)
        own_postgres.stop()
        publish(world_there.topics, events[1000:2000])
        own_postgres.start()
        await_offsets(world_there, "detect")
        await_offsets(world_there, "store")
        own_postgres.stop()
        publish(world_there.topics, events[2000:])
        told = time.monotonic()
        assert (detect.stop(), store.stop()) == (0, 0)
        assert time.monotonic() - told < 2 * LEAVE_SECONDS  # one after the other
    own_postgres.start()
    consume(world_there)
    whole = make_world()
    inhabit(whole)
    consume(whole)
    assert not differences(dump(whole.database), dump(world_there.database))
