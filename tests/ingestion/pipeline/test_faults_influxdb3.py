"""InfluxDB in trouble: its own consumer group falls behind, nothing else notices, and it catches up."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from ingestion.telemetry_store.influxdb3 import InfluxStore
from tests.ingestion.kafka_reading import landed
from tests.ingestion.pipeline.recordings import BEGIN, call, message, traffic
from tests.ingestion.pipeline.threads import await_offsets, consumer
from tests.ingestion.pipeline.worlds import World, publish
from tests.ingestion.stores import storage
from tests.support.influxdb3_double import Fault, InfluxDouble
from tests.support.waiting import eventually

EVENTS = list(traffic(900))
# What tells detections apart.
IDENTITY = ("partition", "offset", "metric", "detector")


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


def test_an_outage_leaves_a_gap_nowhere(world: World, double: InfluxDouble) -> None:
    """The server goes and comes back, without and with a restart of the writer in between."""
    parts = [EVENTS[part::4] for part in range(4)]
    config = storage(double, timeout_secs=1)
    with consumer(world, "detect") as detect:
        with consumer(world, "store", store=InfluxStore(config)) as writer:
            publish(world.topics, parts[0])
            await_offsets(world, "store")
            double.stop()
            publish(world.topics, parts[1])
            await_offsets(world, "detect")
            eventually(lambda: writer.role.trouble, deadline=20)
            double.start()
            await_offsets(world, "store", deadline=60)
            double.stop()
            publish(world.topics, parts[2])
            eventually(lambda: writer.role.trouble, deadline=20)
            assert writer.stop() == 0
        with consumer(world, "store", store=InfluxStore(config)) as writer:
            publish(world.topics, parts[3])
            await_offsets(world, "detect")
            eventually(lambda: writer.role.trouble, deadline=20)
            double.start()
            await_offsets(world, "store", deadline=60)
            assert (detect.finish(), writer.finish()) == (0, 0)
    sent = {msgspec.json.decode(value)["request_id"] for _, value, _ in EVENTS}
    assert sorted(row["event_id"] for row in double.points("telemetry", "telemetry")) == sorted(sent)
    told = [message.value for message in landed(world.topics.brokers, world.topics.detections)]
    assert told
    assert len(double.points("detections", "detections")) == len({tuple(map(one.get, IDENTITY)) for one in told})


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
