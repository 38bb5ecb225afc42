"""Clients of Kafka: against the real broker where there is one, and against librdkafka's mock cluster."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from ingestion import kafka
from ingestion.formats.event import partition_key
from ingestion.kafka import KeyedProducer, NotDelivered
from sentinel_site.config.ingestion import KafkaConfig, KafkaSecurityConfig
from tests.support.services import require
from tests.support.waiting import eventually

SECONDS = 15.0


@pytest.fixture(params=["kafka", "mock"])
def broker(request: pytest.FixtureRequest) -> Iterator[KafkaConfig]:
    if request.param == "kafka":
        yield KafkaConfig(brokers=(require("kafka"),))
        return
    cluster = AdminClient({"bootstrap.servers": "", "test.mock.num.brokers": 1})
    address = next(iter(cluster.list_topics(timeout=SECONDS).brokers.values()))
    yield KafkaConfig(brokers=(f"{address.host}:{address.port}",))
    del cluster


@pytest.fixture
def real() -> KafkaConfig:
    return KafkaConfig(brokers=(require("kafka"),))


@pytest.fixture
def topic() -> str:
    return f"test-{uuid.uuid4()}"


def consume(broker: KafkaConfig, topic: str, count: int, **overrides: Any) -> list[Any]:
    """The first messages (or errors) of a topic, read from its beginning."""
    consumer = Consumer(kafka.consumer_settings(broker, f"group-{uuid.uuid4()}", **overrides))
    found: list[Any] = []
    partitions = consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    try:
        eventually(lambda: found.extend(consumer.consume(100, 0.1)) or len(found) >= count, deadline=SECONDS)
    finally:
        consumer.close()
    return found


def test_what_a_keyed_producer_flushed_can_be_consumed(broker: KafkaConfig, topic: str) -> None:
    kafka.ensure_topics(kafka.client_settings(broker), [topic], 3, 1)
    producer = KeyedProducer(broker)
    for number in range(50):
        key = partition_key(f"service-{number % 5}", "gpt-4")
        producer.send(topic, str(number).encode(), key, {"reason": b"none"}, timestamp_ms=1_700_000_000_000 + number)
    producer.flush(SECONDS)
    messages = consume(broker, topic, 50)
    assert sorted(int(message.value()) for message in messages) == list(range(50))
    assert {message.timestamp()[1] - int(message.value()) for message in messages} == {1_700_000_000_000}
    assert messages[0].headers() == [("reason", b"none")]
    homes = {(message.key(), message.partition()) for message in messages}
    assert len(homes) == 5


def test_keys_go_to_the_partitions_that_javas_partitioner_chooses(real: KafkaConfig, topic: str) -> None:
    kafka.ensure_topics(kafka.client_settings(real), [topic], 7, 1)
    producer = KeyedProducer(real)
    keys = [partition_key(f"service-{number}", "gpt-4") for number in range(40)]
    for key in keys:
        producer.send(topic, b"x", key)
    producer.flush(SECONDS)
    found = {message.key(): message.partition() for message in consume(real, topic, len(keys))}
    assert found == {key: (murmur2(key) & 0x7FFFFFFF) % 7 for key in keys}


def murmur2(data: bytes) -> int:
    """Kafka's hash of a key, from the published algorithm (MurmurHash2, seed 0x9747b28c)."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    hashed = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        hashed = (hashed * multiplier & mask) ^ word
    if rest := data[whole:]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * multiplier & mask
    hashed = (hashed ^ hashed >> 13) * multiplier & mask
    return hashed ^ hashed >> 15


def test_murmur2_is_the_published_one() -> None:
    # A pair that the Java client's own tests name.
    assert murmur2(b"21") == -973932308 & 0xFFFFFFFF


def test_batches_of_one_producer_are_awaited_apart(broker: KafkaConfig, topic: str) -> None:
    kafka.ensure_topics(kafka.client_settings(broker), [topic], 1, 1)
    producer = KeyedProducer(broker)
    good, bad = producer.batch(), producer.batch()
    good.send(topic, b"fine", b"k")
    bad.send(topic, b"fine", b"k")
    bad.send(topic, b"x" * 2_000_000, b"k")
    good.wait(SECONDS)
    with pytest.raises(NotDelivered, match=r"1 messages not delivered.*too large") as caught:
        bad.wait(SECONDS)
    assert [index for index, _ in caught.value.failures] == [1]
    bad.wait(0)  # a failure is told once


def test_a_producer_without_a_broker_says_what_was_not_delivered() -> None:
    producer = KeyedProducer(KafkaConfig(brokers=("127.0.0.1:1",)), message_timeout_ms=200)
    producer.send("nowhere", b"x", b"k")
    producer.send("nowhere", b"y", b"k")
    with pytest.raises(NotDelivered) as caught:
        producer.flush(SECONDS)
    assert [index for index, _ in caught.value.failures] == [0, 1]


def test_a_flush_that_ends_before_the_acknowledgement_names_the_message() -> None:
    producer = KeyedProducer(KafkaConfig(brokers=("127.0.0.1:1",)))
    producer.send("nowhere", b"x", b"k")
    with pytest.raises(NotDelivered, match="no acknowledgement in time"):
        producer.flush(0.05)


def test_topics_are_made_once_and_keep_their_partitions(real: KafkaConfig, topic: str) -> None:
    connection = kafka.client_settings(real)
    assert kafka.ensure_topics(connection, [topic], 5, 1) == {topic: 5}
    assert kafka.ensure_topics(connection, [topic], 2, 1) == {topic: 5}


def test_a_topic_made_again_has_another_id(real: KafkaConfig, topic: str) -> None:
    connection = kafka.client_settings(real)
    kafka.ensure_topics(connection, [topic], 1, 1)
    before = kafka.topic_ids(connection, [topic])
    assert kafka.topic_ids(connection, [topic]) == before
    admin = AdminClient(connection)
    admin.delete_topics([topic])[topic].result(SECONDS)

    def made_again() -> dict[str, uuid.UUID] | None:
        kafka.ensure_topics(connection, [topic], 1, 1)
        found = kafka.topic_ids(connection, [topic])
        return found if found != before else None

    assert eventually(made_again, deadline=SECONDS)


def test_the_mock_cluster_takes_its_topic_ids_from_the_embedded_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = AdminClient({"bootstrap.servers": "", "test.mock.num.brokers": 1})
    address = next(iter(cluster.list_topics(timeout=SECONDS).brokers.values()))
    connection = {"bootstrap.servers": f"{address.host}:{address.port}"}
    monkeypatch.setenv(kafka.EMBEDDED_ID_VARIABLE, "6b3e6a57-3b6c-4f5f-9d8c-0f6a4c1a2b3c")
    first = kafka.topic_ids(connection, ["a", "b"])
    assert first["a"] != first["b"]
    assert kafka.topic_ids(connection, ["a"])["a"] == first["a"]
    monkeypatch.setenv(kafka.EMBEDDED_ID_VARIABLE, "0f6a4c1a-3b6c-4f5f-9d8c-6b3e6a572b3c")
    assert kafka.topic_ids(connection, ["a"])["a"] != first["a"]


def test_an_offset_out_of_range_is_an_error_and_never_a_silent_skip(real: KafkaConfig, topic: str) -> None:
    kafka.ensure_topics(kafka.client_settings(real), [topic], 1, 1)
    producer = KeyedProducer(real)
    producer.send(topic, b"x", b"k")
    producer.flush(SECONDS)
    consumer = Consumer(kafka.consumer_settings(real, f"group-{uuid.uuid4()}"))
    consumer.assign([TopicPartition(topic, 0, 1000)])
    try:
        message = eventually(lambda: consumer.poll(0.1), deadline=SECONDS)
    finally:
        consumer.close()
    assert message.error().code() == kafka.OFFSET_OUT_OF_RANGE
    assert (message.topic(), message.partition()) == (topic, 0)


def test_a_group_begins_at_its_offset_else_where_the_configuration_says() -> None:
    assert kafka.first_offset(42, "latest") == 42
    assert kafka.first_offset(0, "latest") == 0
    assert kafka.first_offset(-1001, "earliest") == OFFSET_BEGINNING
    assert kafka.first_offset(-1001, "latest") == OFFSET_END
    with pytest.raises(LookupError, match="auto_offset_reset is error"):
        kafka.first_offset(-1001, "error")


def test_consumers_commit_by_hand_keep_their_place_and_take_overrides() -> None:
    config = KafkaConfig(group_instance_id="pod-0", session_timeout_ms=9000, extra={"fetch.wait.max.ms": 3})
    found = kafka.consumer_settings(config, "g-detect", client_id="detect")
    assert found["enable.auto.commit"] is False
    assert found["enable.auto.offset.store"] is False
    assert found["auto.offset.reset"] == "error"
    assert found["group.instance.id"] == "pod-0"
    assert (found["session.timeout.ms"], found["heartbeat.interval.ms"]) == (9000, 3000)
    assert found["fetch.wait.max.ms"] == 3
    assert found["client.id"] == "detect"
    assert "group.instance.id" not in kafka.consumer_settings(KafkaConfig(), "g")


def test_security_reaches_every_client() -> None:
    security = KafkaSecurityConfig(
        protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="u", sasl_password="p", ssl_ca_location="/ca.pem"
    )
    config = KafkaConfig(security=security)
    wanted = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "u",
        "sasl.password": "p",
        "ssl.ca.location": "/ca.pem",
    }
    for found in (
        kafka.client_settings(config),
        kafka.consumer_settings(config, "g"),
        kafka.producer_settings(config),
    ):
        assert wanted.items() <= found.items()


def test_every_broker_of_a_cluster_is_named() -> None:
    config = SimpleNamespace(connection=KafkaConfig(brokers=("a:1", "b:2")).connection)
    assert kafka.client_settings(config)["bootstrap.servers"] == "a:1,b:2"
