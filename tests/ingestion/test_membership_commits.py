"""Commits of writer threads, against librdkafka's mock cluster, whose client is the same as Kafka's."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from ingestion.membership import Membership, Place
from sentinel_site.config.ingestion import KafkaConfig
from sentinel_site.standalone.broker import EmbeddedBroker
from tests.support.waiting import eventually

TOPIC, OTHER, GROUP = "llm.telemetry", "llm.other", "readers"
PLACE: Place = (TOPIC, 0)
BROKER_ID = uuid.UUID("5c0a4f0e-6d0b-4b1e-9a53-3a4a0f1f7f11")
TOPIC_ID = str(uuid.uuid5(BROKER_ID, TOPIC))


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[KafkaConfig]:
    monkeypatch.setenv("SENTINEL_EMBEDDED_BROKER_ID", str(BROKER_ID))
    broker = EmbeddedBroker([TOPIC, OTHER], partitions=1)
    producer = Producer({"bootstrap.servers": broker.address})
    for _ in range(10):
        producer.produce(TOPIC, b"x")
    assert producer.flush(10) == 0
    yield KafkaConfig(brokers=(broker.address,), auto_offset_reset="earliest")
    broker.close()


def committed(kafka: KafkaConfig) -> int:
    consumer = Consumer({**kafka.connection(), "group.id": GROUP})
    offset = consumer.committed([TopicPartition(*PLACE)], timeout=5)[0].offset
    consumer.close()
    return int(offset)


def member(kafka: KafkaConfig, closing: list[list[Place]] | None = None) -> Membership:
    """A member that begins where the group is and notes what it gives back."""
    given_back = [] if closing is None else closing
    return Membership(
        kafka,
        GROUP,
        [TOPIC],
        opened=lambda place, offset: offset,
        closing=given_back.append,
        lost=given_back.append,
        reset=kafka.auto_offset_reset,
    )


def read_some(membership: Membership) -> bool:
    return PLACE in membership.read(100, 0.1)[0]


def in_thread(membership: Membership, offset: int) -> None:
    thread = threading.Thread(target=membership.commit, args=([TopicPartition(*PLACE, offset, TOPIC_ID)],))
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_a_commit_of_another_thread_does_not_wait_for_the_reader(kafka: KafkaConfig) -> None:
    membership = member(kafka)
    eventually(lambda: read_some(membership))
    stop = threading.Event()

    def read_on() -> None:
        while not stop.is_set():
            membership.read(100, 0.1)

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        in_thread(membership, 7)
        eventually(lambda: committed(kafka) == 7)
    finally:
        stop.set()
        reader.join(5)
        membership.close()


def test_what_is_written_while_leaving_is_committed(kafka: KafkaConfig) -> None:
    given_back: list[list[Place]] = []
    membership = member(kafka, given_back)
    eventually(lambda: read_some(membership))
    in_thread(membership, 10)
    membership.close()
    assert given_back == [[PLACE]]
    assert committed(kafka) == 10


def test_an_offset_of_a_topic_that_was_deleted_is_not_committed_to_its_successor(kafka: KafkaConfig) -> None:
    membership = member(kafka)
    eventually(lambda: read_some(membership))
    membership.commit([TopicPartition(*PLACE, 9, str(uuid.uuid4()))])
    membership.close()
    assert committed(kafka) < 0


def test_a_new_topic_of_the_same_name_is_read_from_its_beginning(
    kafka: KafkaConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = member(kafka)
    eventually(lambda: read_some(first))
    in_thread(first, 7)
    first.close()
    monkeypatch.setenv("SENTINEL_EMBEDDED_BROKER_ID", str(uuid.uuid4()))
    second = member(kafka)
    messages = eventually(lambda: second.read(100, 0.1)[0].get(PLACE))
    second.close()
    assert messages[0].offset() == 0


def test_partitions_paused_before_a_rebalance_are_resumed_after_it(kafka: KafkaConfig) -> None:
    membership = member(kafka)
    eventually(lambda: membership.read(1, 0.1)[0])
    membership.pause(paused=True)
    membership._on_assign(membership._consumer, [TopicPartition(OTHER, 0)])  # a rebalance brings another one
    membership.pause(paused=False)
    assert eventually(lambda: read_some(membership))
    membership.close()
