"""What Kafka may do to a consumer: forget, begin anew, go away, hold offsets without messages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from prometheus_client import REGISTRY

from ingestion.membership import Membership
from sentinel_site.config import load_config
from tests.ingestion.pipeline.conftest import Inhabit, MakeWorld
from tests.ingestion.pipeline.recordings import BEGIN, call, message, traffic
from tests.ingestion.pipeline.rows import DETECTED, differences, dump
from tests.ingestion.pipeline.threads import await_offsets, consume, consumer
from tests.ingestion.pipeline.worlds import Topics, World, count, publish
from tests.support.services import PrivateService, private
from tests.support.waiting import eventually

EVENTS = list(traffic(1500))


def alarms() -> float:
    return REGISTRY.get_sample_value("sentinel_kafka_consumption_errors_total", {"type": "offset_out_of_range"}) or 0.0


def delete_before(topics: Topics, offsets: dict[int, int]) -> None:
    """Have retention take what stands before these offsets."""
    admin = topics.admin()
    places = [TopicPartition(topics.telemetry, number, offset) for number, offset in offsets.items()]
    for future in admin.delete_records(places).values():
        future.result()


def test_what_retention_took_raises_an_alarm_and_the_earliest_that_is_left_comes_next(world: World) -> None:
    publish(world.topics, EVENTS[:500])
    consume(world, "detect", "store")
    before, stored = world.ends(), count(world.database, "ingestion_telemetryevent")
    publish(world.topics, EVENTS[500:1000])
    lost = {number: before[number] + 40 for number in before}
    delete_before(world.topics, lost)
    publish(world.topics, EVENTS[1000:1100])
    raised = alarms()
    consume(world, "detect", "store")
    assert alarms() >= raised + 2 * len(lost)
    left = sum(end - lost[number] for number, end in world.ends().items())
    repeated = 25  # at most: of the repeated events that stand among them
    assert stored + left - repeated <= count(world.database, "ingestion_telemetryevent") <= stored + left


def test_a_consumer_that_retention_overtakes_while_it_reads_goes_on_at_the_earliest(world: World) -> None:
    config = load_config(env=world.environment()).ingestion.kafka
    opened: list[int] = []
    membership = Membership(
        config,
        world.name,
        [world.topics.telemetry],
        opened=lambda _, offset: opened.append(offset) or offset,  # type: ignore[func-returns-value]
        closing=lambda _: None,
        lost=lambda _: None,
        reset="latest",
    )
    eventually(lambda: membership.read(1, 0.1) and len(membership.assigned) == 2)
    membership.pause(paused=True)
    raised = alarms()
    publish(world.topics, EVENTS[:300])
    lost = world.ends()
    delete_before(world.topics, lost)
    publish(world.topics, EVENTS[300:400])
    membership.pause(paused=False)
    found: dict[int, list[int]] = {number: [] for number in lost}

    def all_read() -> bool:
        for (_, number), messages in membership.read(500, 0.1)[0].items():
            found[number] += [int(each.offset()) for each in messages]
        return all(found[number][-1:] == [end - 1] for number, end in world.ends().items())

    eventually(all_read, deadline=20, message="all that is left is read")
    membership.close()
    assert found == {number: list(range(lost[number], end)) for number, end in world.ends().items()}
    assert alarms() >= raised + 2


def test_a_topic_made_anew_while_it_is_read_counts_anew(world: World, make_world: MakeWorld, inhabit: Inhabit) -> None:
    with consumer(world, "detect") as detect, consumer(world, "store") as store:
        publish(world.topics, EVENTS[:600])
        await_offsets(world, "detect")
        await_offsets(world, "store")
        world.topics.delete([world.topics.telemetry])
        admin = world.topics.admin()
        eventually(lambda: world.topics.telemetry not in admin.list_topics(timeout=5).topics)
        world.topics.make([NewTopic(world.topics.telemetry, 2, 1)])
        publish(world.topics, EVENTS[:900])
        eventually(lambda: count(world.database, "ingestion_telemetryevent") > 1400, deadline=30)
        await_offsets(world, "detect", deadline=30)
        assert (detect.stop(), store.stop()) == (0, 0)
    telemetry = dump(world.database, ("telemetry",))["telemetry"]
    topic_ids = {row.split('"topic_id": "')[1][:36] for row in telemetry}
    assert len(topic_ids) == 2
    fresh = make_world()
    inhabit(fresh)
    consume(fresh, "store")
    anew = dump(fresh.database, ("telemetry",))["telemetry"]
    assert set(anew) <= set(telemetry)
    assert len(anew) < len(telemetry)


def test_offsets_that_hold_no_message_do_not_keep_a_consumer_from_its_end(world: World) -> None:
    producer = Producer({"bootstrap.servers": world.topics.brokers, "transactional.id": world.name, "log_level": 0})
    producer.init_transactions(30)
    for commits in (True, False):
        producer.begin_transaction()
        for key, value, at in EVENTS[:50]:
            producer.produce(world.topics.telemetry, value, key, timestamp=at)
        producer.flush(10)
        (producer.commit_transaction if commits else producer.abort_transaction)(30)
    consume(world, "detect", "store")
    assert 45 <= count(world.database, "ingestion_telemetryevent") <= 50


def test_ten_thousand_events_of_one_millisecond_are_all_stored_and_counted(world: World) -> None:
    event = call(BEGIN)
    publish(world.topics, [message(event) for _ in range(10_000)])
    publish(world.topics, [message(call(BEGIN + timedelta(minutes=3)))])
    consume(world, "detect", "store")
    assert count(world.database, "ingestion_telemetryevent") == 10_001
    minutes = dump(world.database, ("minutes",))["minutes"]
    assert len(minutes) == 1
    assert '"count": 10000' in minutes[0]


def test_repeated_and_late_events_count_once_for_both_roles_across_restarts(
    world: World, make_world: MakeWorld, inhabit: Inhabit
) -> None:
    unique = [call(BEGIN + timedelta(seconds=n), request_id=f"e-{n}") for n in range(300)]
    late = [message(event, record=BEGIN + timedelta(seconds=301)) for event in unique]
    end = [message(call(BEGIN + timedelta(minutes=20), request_id="end"))]
    publish(world.topics, [message(event) for event in unique])
    consume(world, "detect", "store")
    publish(world.topics, late[100:])
    consume(world, "detect", "store")
    publish(world.topics, [*late, *end])
    consume(world, "detect", "store")
    assert count(world.database, "ingestion_telemetryevent") == 301
    rows = dump(world.database, ("minutes",))["minutes"]
    assert sum(int(row.split('"count": ')[1].split(",")[0]) for row in rows) == 300
    other = make_world()
    inhabit(other)
    consume(other, "detect", "store")
    assert not differences(dump(other.database), dump(world.database))


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateService]:
    with private("kafka", tmp_path_factory.mktemp("kafka")) as service:
        yield service


def test_a_broker_that_is_killed_and_comes_back_is_resumed_within_thirty_seconds(
    own_kafka: PrivateService, make_world: MakeWorld, inhabit: Inhabit
) -> None:
    topics = Topics.create(own_kafka.url)
    world, whole = make_world(topics), make_world(topics)
    inhabit(world)
    with consumer(world, "detect") as detect, consumer(world, "store") as store:
        publish(topics, EVENTS[:500])
        await_offsets(world, "detect")
        own_kafka.kill()
        own_kafka.start()
        publish(topics, EVENTS[500:])
        await_offsets(world, "detect", deadline=30)
        await_offsets(world, "store", deadline=30)
        assert (detect.stop(), store.stop()) == (0, 0)
    inhabit(whole)
    consume(whole, "detect", "store")
    tables = (*DETECTED, "telemetry")
    assert not differences(dump(whole.database, tables), dump(world.database, tables))
