from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from sentinel_site.standalone.backlog import Backlog
from sentinel_site.standalone.broker import BrokerError, EmbeddedBroker
from tests.support.waiting import eventually

TOPIC = "llm.telemetry"


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    running = EmbeddedBroker([TOPIC, "other"], partitions=3)
    yield running
    running.close()


def send(broker: EmbeddedBroker, values: list[bytes], partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": broker.address})
    for value in values:
        producer.produce(TOPIC, value, partition=partition)
    assert producer.flush(10) == 0


def commit(broker: EmbeddedBroker, group: str, offset: int, partition: int = 0) -> None:
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": group})
    consumer.commit(offsets=[TopicPartition(TOPIC, partition, offset)], asynchronous=False)
    consumer.close()


def test_it_listens_on_loopback_with_the_partitions_asked_for(broker: EmbeddedBroker) -> None:
    assert broker.address.startswith("127.0.0.1:")
    topics = AdminClient({"bootstrap.servers": broker.address}).list_topics(timeout=10).topics
    assert {name: len(topic.partitions) for name, topic in topics.items()} == {TOPIC: 3, "other": 3}


def test_a_topic_that_cannot_be_is_named(broker: EmbeddedBroker) -> None:
    with pytest.raises(BrokerError, match="'twice'"):
        EmbeddedBroker(["twice", "twice"], partitions=3)


def test_aiokafka_reads_what_confluent_kafka_wrote_and_writes_itself(broker: EmbeddedBroker) -> None:
    async def exchange() -> list[bytes]:
        async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
            await producer.send_and_wait(TOPIC, b"of aiokafka", key=b"a|b")
        options = {"bootstrap_servers": broker.address, "group_id": "g", "auto_offset_reset": "earliest"}
        async with AIOKafkaConsumer(TOPIC, **options) as consumer:
            return [(await asyncio.wait_for(consumer.getone(), 10)).value for _ in range(2)]

    send(broker, [b"of confluent-kafka"])
    assert sorted(asyncio.run(exchange())) == [b"of aiokafka", b"of confluent-kafka"]


def test_a_first_consumer_joins_without_the_usual_wait(broker: EmbeddedBroker) -> None:
    send(broker, [b"x"])
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    message = eventually(lambda: consumer.poll(0.1), deadline=2.5)
    assert message.value() == b"x"
    consumer.close()


def test_the_backlog_counts_what_each_group_has_not_committed(broker: EmbeddedBroker) -> None:
    send(broker, [b"1", b"2", b"3"])
    send(broker, [b"4"], partition=2)
    commit(broker, "detect", 2)
    backlog = Backlog({"bootstrap.servers": broker.address}, {"detect": [TOPIC], "store": [TOPIC, "other"]})
    ends = backlog.ends()
    assert backlog.left(ends) == {"detect": 2, "store": 4}
    commit(broker, "detect", 3)
    commit(broker, "detect", 1, partition=2)
    assert backlog.left(ends)["detect"] == 0


def test_messages_after_the_look_do_not_count(broker: EmbeddedBroker) -> None:
    backlog = Backlog({"bootstrap.servers": broker.address}, {"detect": [TOPIC]})
    send(broker, [b"1"])
    ends = backlog.ends()
    send(broker, [b"2", b"3"])
    assert backlog.left(ends) == {"detect": 1}
