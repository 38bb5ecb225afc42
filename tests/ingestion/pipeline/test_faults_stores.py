"""Redis and the telemetry store in trouble: detection goes on, and the rows are what they would have been."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from baselines.store import PartitionStore
from tests.ingestion.pipeline.conftest import Inhabit, MakeWorld
from tests.ingestion.pipeline.recordings import traffic
from tests.ingestion.pipeline.rows import DETECTED, Dump, differences, dump
from tests.ingestion.pipeline.threads import Consumer, await_offsets, consume, consumer
from tests.ingestion.pipeline.worlds import World, publish
from tests.support.services import PrivateService, private
from tests.support.waiting import eventually

EVENTS = list(traffic(3000))
PARTS = [EVENTS[:1000], EVENTS[1000:2000], EVENTS[2000:]]


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateService]:
    with private("redis", tmp_path_factory.mktemp("redis")) as service:
        yield service


@pytest.fixture
def client(own_redis: PrivateService) -> Iterator[redis.Redis]:
    """The private Redis, empty and as it should be."""
    if not own_redis.state()["up"]:
        own_redis.start()
    with redis.Redis.from_url(own_redis.url) as connected:
        connected.flushall()
        connected.config_set("maxmemory", 0)
        connected.config_set("maxmemory-policy", "noeviction")
        yield connected
        if own_redis.state()["up"]:
            connected.config_set("maxmemory", 0)


def expected_of(make_world: MakeWorld, inhabit: Inhabit) -> Dump:
    """What an undisturbed run over the same telemetry leaves."""
    undisturbed = make_world()
    inhabit(undisturbed)
    consume(undisturbed, "detect")
    return dump(undisturbed.database, DETECTED)


@pytest.fixture
def world_here(make_world: MakeWorld, inhabit: Inhabit, own_redis: PrivateService) -> World:
    made = replace(make_world(), redis=own_redis.url)
    inhabit(made)
    return made


def test_a_flushed_redis_is_filled_again_and_a_restart_goes_on_from_it(
    world_here: World, client: redis.Redis, make_world: MakeWorld, inhabit: Inhabit
) -> None:
    with consumer(world_here) as running:
        publish(world_here.topics, PARTS[0])
        await_offsets(world_here)
        client.flushall()
        publish(world_here.topics, PARTS[1])
        await_offsets(world_here)
        store = PartitionStore(client, world_here.prefix)
        eventually(lambda: {store.load(name).offset for name in store.names()} >= set(world_here.ends().values()))
        assert running.stop() == 0
    publish(world_here.topics, PARTS[2])
    consume(world_here, "detect")
    assert not differences(expected_of(make_world, inhabit), dump(world_here.database, DETECTED))


def test_without_redis_detection_goes_on_and_a_restart_replays_from_the_database(
    world_here: World, own_redis: PrivateService, client: redis.Redis, make_world: MakeWorld, inhabit: Inhabit
) -> None:
    with consumer(world_here) as running:
        publish(world_here.topics, PARTS[0])
        await_offsets(world_here)
        own_redis.kill()
        publish(world_here.topics, PARTS[1])
        await_offsets(world_here, deadline=60)
        assert running.stop() == 0
    consume(world_here, "detect")  # still without: all is replayed from what the database has
    own_redis.start()
    publish(world_here.topics, PARTS[2])
    consume(world_here, "detect")
    assert not differences(expected_of(make_world, inhabit), dump(world_here.database, DETECTED))


def test_a_redis_out_of_memory_takes_the_state_later(
    world_here: World, client: redis.Redis, make_world: MakeWorld, inhabit: Inhabit
) -> None:
    with consumer(world_here) as running:
        publish(world_here.topics, PARTS[0])
        await_offsets(world_here)
        client.config_set("maxmemory", 1)
        publish(world_here.topics, PARTS[1])
        await_offsets(world_here)
        client.config_set("maxmemory", 0)
        publish(world_here.topics, PARTS[2])
        await_offsets(world_here)
        assert running.stop() == 0
    store = PartitionStore(client, world_here.prefix)
    assert {store.load(name).offset for name in store.names()} == {end for end in world_here.ends().values() if end}
    assert not differences(expected_of(make_world, inhabit), dump(world_here.database, DETECTED))


def test_a_redis_that_evicts_is_refused_at_the_start(world_here: World, client: redis.Redis) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    refused = Consumer(world_here).start()
    assert refused.join(20) == 1
    assert "allkeys-lru" in refused.runner.failed[0]
    assert "noeviction" in refused.runner.failed[0]
