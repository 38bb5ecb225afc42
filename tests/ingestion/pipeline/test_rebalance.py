"""Partitions that move: between consumers that come and go, and away from one that sleeps and does not know."""

from __future__ import annotations

import signal

import pytest

from tests.ingestion.pipeline.conftest import Inhabit, MakeWorld
from tests.ingestion.pipeline.recordings import traffic
from tests.ingestion.pipeline.rows import DETECTED, differences, dump
from tests.ingestion.pipeline.threads import Consumer, await_offsets, consume, consumer
from tests.ingestion.pipeline.worlds import Topics, World, await_rows, finish, publish, running
from tests.support.services import require
from tests.support.waiting import eventually


@pytest.fixture
def topics() -> Topics:  # type: ignore[misc]
    made = Topics.create(require("kafka"), partitions=4)
    yield made
    made.drop()


def expected_equals(world: World, make_world: MakeWorld, inhabit: Inhabit) -> None:
    whole = make_world()
    inhabit(whole)
    consume(whole, "detect")
    assert not differences(dump(whole.database, DETECTED), dump(world.database, DETECTED))


@pytest.mark.timeout(180)
def test_consumers_that_come_and_go_while_events_flow_leave_the_rows_of_one(
    world: World, make_world: MakeWorld, inhabit: Inhabit
) -> None:
    events = list(traffic(8000))
    members: list[Consumer] = [Consumer(world, batch=100).start()]
    try:
        for number in range(8):
            publish(world.topics, events[number * 1000 : (number + 1) * 1000])
            if number % 3 == 2:
                assert members.pop(0).stop() == 0
            members.append(Consumer(world, batch=100).start())
            eventually(lambda: members[-1].role.is_ready, deadline=30)
        await_offsets(world, deadline=60)
    finally:
        assert [member.stop() for member in members] == [0] * len(members)
    expected_equals(world, make_world, inhabit)


@pytest.mark.timeout(180)
def test_a_consumer_that_sleeps_while_its_partitions_move_writes_nothing_when_it_wakes(
    world: World, make_world: MakeWorld, inhabit: Inhabit
) -> None:
    events = list(traffic(6000))
    hasty = world.configured(SENTINEL__INGESTION__KAFKA__SESSION_TIMEOUT_MS="1500")
    sleeper = hasty.start("--batch-size", "20", role="detect")
    with running(sleeper):
        publish(world.topics, events[:3000])
        await_rows(world.database, "baselines_servedmodel", 1, deadline=60)
        sleeper.send_signal(signal.SIGSTOP)
        with consumer(hasty) as successor:
            publish(world.topics, events[3000:4500])
            await_offsets(world, deadline=40)
            sleeper.send_signal(signal.SIGCONT)
            publish(world.topics, events[4500:])
            await_offsets(world, deadline=40)
            sleeper.send_signal(signal.SIGTERM)
            output = finish(sleeper, 20)
            assert successor.stop() == 0
    assert sleeper.returncode == 0, output
    assert "partitions_lost" in output or "partition_lost" in output
    expected_equals(world, make_world, inhabit)
