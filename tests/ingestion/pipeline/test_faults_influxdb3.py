"""InfluxDB in trouble: its own consumer group falls behind, nothing else notices, and it catches up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingestion.telemetry_store.influxdb3 import InfluxStore
from tests.ingestion.pipeline.recordings import BEGIN, call, message, traffic
from tests.ingestion.pipeline.threads import await_offsets, consumer
from tests.ingestion.pipeline.worlds import World, publish
from tests.ingestion.stores import storage
from tests.support.influxdb3_double import Fault, InfluxDouble
from tests.support.waiting import eventually

EVENTS = list(traffic(900))


@pytest.fixture
def double() -> Iterator[InfluxDouble]:
    with InfluxDouble() as started:
        yield started


def stored(double: InfluxDouble) -> int:
    return sum(len(double.points("telemetry", table)) for table in tables(double))


def tables(double: InfluxDouble) -> list[str]:
    known = double.catalogue.databases.get("telemetry")
    return list(known.tables) if known else []


@pytest.mark.parametrize("fault", ["500", "timeout", "partial"])
def test_only_the_store_group_lags_and_then_catches_up(world: World, double: InfluxDouble, fault: Fault) -> None:
    store = InfluxStore(storage(double, timeout_secs=1))
    with consumer(world, "detect") as detect, consumer(world, "store", store=store) as writer:
        publish(world.topics, EVENTS[:300])
        await_offsets(world, "store")
        before = world.committed("store")
        with double.failing(fault):
            publish(world.topics, EVENTS[300:])
            await_offsets(world, "detect")
            eventually(lambda: writer.role.trouble, deadline=20)
            assert detect.role.trouble is None
            assert world.committed("store") == before
        await_offsets(world, "store", deadline=40)
        assert (detect.stop(), writer.stop()) == (0, 0)
    unique = len({value for _, value, _ in EVENTS})
    assert stored(double) == unique


def test_ten_thousand_events_of_one_millisecond_are_ten_thousand_points(world: World, double: InfluxDouble) -> None:
    publish(world.topics, [message(call(BEGIN)) for _ in range(10_000)])
    with consumer(world, "store", store=InfluxStore(storage(double))) as writer:
        await_offsets(world, "store", deadline=60)
        assert writer.stop() == 0
    assert stored(double) == 10_000


def test_a_store_that_is_down_does_not_hold_up_who_leaves(world: World, double: InfluxDouble) -> None:
    with double.failing("500"), consumer(world, "store", store=InfluxStore(storage(double))) as writer:
        publish(world.topics, EVENTS)
        eventually(lambda: writer.role.trouble, deadline=30)
        assert writer.stop(10.0) == 0
    with consumer(world, "store", store=InfluxStore(storage(double))) as writer:
        await_offsets(world, "store", deadline=40)
        assert writer.stop() == 0
    assert stored(double) == len({value for _, value, _ in EVENTS})
