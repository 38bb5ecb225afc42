"""Topics of a test's own, and what lies in them."""

import uuid
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer, TopicPartition

from tests.support.waiting import eventually

SECONDS = 15.0


class Landed(NamedTuple):
    """One message as a consumer sees it."""

    partition: int
    key: bytes | None
    value: dict[str, object]


def landed(brokers: str, topic: str) -> list[Landed]:
    """All messages that are in a topic now, in order by partition."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": f"reader-{uuid.uuid4()}"})
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.list_topics(topic, SECONDS).topics[topic].partitions]
        marks = [(p, *consumer.get_watermark_offsets(p, SECONDS)) for p in partitions]
        consumer.assign([TopicPartition(topic, p.partition, low) for p, low, _ in marks])
        expected = sum(high - low for _, low, high in marks)
        found: list[Landed] = []

        def all_read() -> bool:
            for message in consumer.consume(1000, 0.1):
                assert message.error() is None, message.error()
                found.append(Landed(message.partition(), message.key(), msgspec.json.decode(message.value())))
            return len(found) >= expected

        eventually(all_read, deadline=SECONDS)
        return sorted(found, key=lambda each: each.partition)
    finally:
        consumer.close()
