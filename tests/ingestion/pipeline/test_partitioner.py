"""Our partitioner against librdkafka's: a baseline is looked for where its series will arrive."""

from __future__ import annotations

import random

import pytest
from confluent_kafka import Producer

from ingestion.partitioner import murmur2, partition_of
from sentinel_site.standalone.broker import EmbeddedBroker

PARTITIONS = 7


def test_keys_go_where_librdkafka_sends_them() -> None:
    rng = random.Random(3)
    keys = [rng.randbytes(length % 40) for length in range(1, 400)]
    placed: dict[bytes, int] = {}
    broker = EmbeddedBroker(["keys"], partitions=PARTITIONS)
    producer = Producer({"bootstrap.servers": broker.address, "partitioner": "murmur2_random"})
    for key in keys:
        producer.produce(
            "keys", b"", key, on_delivery=lambda _, message: placed.update({message.key(): message.partition()})
        )
    assert producer.flush(10) == 0
    broker.close()
    kept = {key: number for key, number in placed.items() if key}
    assert {key: partition_of(key, PARTITIONS) for key in kept} == kept
    assert len(set(kept.values())) == PARTITIONS


@pytest.mark.parametrize(
    ("key", "hashed"), [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)]
)
def test_the_hash_is_the_one_of_kafkas_own_tests(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF
