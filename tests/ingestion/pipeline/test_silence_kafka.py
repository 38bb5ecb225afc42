"""Silence in a running consumer: told of a source that is gone, and not of a broker that is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from ingestion import idleness
from ingestion.membership import Place
from ingestion.partition import OwnedPartition
from tests.ingestion.pipeline.conftest import Inhabit, MakeWorld
from tests.ingestion.pipeline.recordings import BEGIN, Message, call, message
from tests.ingestion.pipeline.threads import Consumer, await_offsets, consumer
from tests.ingestion.pipeline.worlds import Topics, World, publish
from tests.support.services import PrivateService, private
from tests.support.waiting import eventually

# Seconds of idle time that are left until the deadline, a minute after the last call.
LEFT = 4


def steady(service: str, start: int, seconds: int) -> list[Message]:
    """A call a second."""
    return [message(call(BEGIN + timedelta(seconds=start + n), service)) for n in range(seconds)]


# One service stops 56 s before the other does.
STOPPED = sorted(steady("gone", 0, 300) + steady("steady", 0, 300 + 60 - LEFT), key=lambda each: each[2])


def silences(world: World) -> list[str]:
    query = (
        "SELECT s.name FROM anomalies_anomaly a JOIN baselines_service s ON s.id = a.service_id"
        " WHERE a.type = 'silence' ORDER BY s.name"
    )
    with psycopg.connect(world.database) as connection:
        return [name for (name,) in connection.execute(query).fetchall()]


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateService]:
    with private("kafka", tmp_path_factory.mktemp("kafka")) as service:
        yield service


@pytest.fixture
def world(own_kafka: PrivateService, make_world: MakeWorld, inhabit: Inhabit) -> World:
    made = make_world(Topics.create(own_kafka.url, partitions=1), SENTINEL__DETECTION__MODE="calibrated")
    inhabit(made)
    return made


def confirmed(consumer: Consumer) -> float:
    """Up to when the broker vouched for the idle time of the only partition; 0 while nobody owns it.

    A broker that is gone for long has the group assign it anew.
    """
    partitions: dict[Place, OwnedPartition] = consumer.role._partitions  # type: ignore[attr-defined]
    return max((partition.idleness.confirmed for partition in partitions.values()), default=0.0)


def test_a_source_that_is_gone_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idleness, "RETURN_SECONDS", 1.0)
    with consumer(world, "detect") as detect:
        publish(world.topics, STOPPED)
        await_offsets(world, "detect")
        eventually(lambda: silences(world) == ["gone"], deadline=20)
        assert detect.stop() == 0


def test_a_broker_that_is_gone_for_longer_is_no_silence(
    own_kafka: PrivateService, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idleness, "EVERY_SECONDS", 0.5)
    monkeypatch.setattr(idleness, "APART_SECONDS", 2.0)
    monkeypatch.setattr(idleness, "RETURN_SECONDS", 40.0)
    with consumer(world, "detect") as detect:
        publish(world.topics, STOPPED)
        await_offsets(world, "detect")
        own_kafka.kill()
        down = confirmed(detect)
        eventually(lambda: time.monotonic() > down + 2 * LEFT, deadline=30)
        assert confirmed(detect) < down + LEFT
        assert silences(world) == []
        own_kafka.start()
        back = time.monotonic()
        eventually(lambda: confirmed(detect) > back + 2 * LEFT, deadline=60, message="idle time passes")
        assert silences(world) == []
        publish(world.topics, steady("gone", 3600, 60))
        await_offsets(world, "detect", deadline=30)
        assert detect.stop() == 0
    assert silences(world) == []
