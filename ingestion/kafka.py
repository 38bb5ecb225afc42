"""Kafka as this product uses it: settings of its clients, the producer that waits for acknowledgements, topics."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
)
from confluent_kafka.admin import AdminClient, ClusterMetadata, NewTopic
from django.conf import settings

MOCK_CLUSTER = "mockCluster"  # how the cluster id of librdkafka's mock cluster begins
EMBEDDED_ID_VARIABLE = "SENTINEL_EMBEDDED_BROKER_ID"
EMBEDDED_ID_FILE = "kafka.topic-id"
ADMIN_SECONDS = 10.0
BROKER_DEFAULT = -1
# What consume() reports when an offset is out of range: the consumers' own reset is switched off, so that a loss
# is seen. The runner raises the alarm and seeks to the earliest offset.
OFFSET_OUT_OF_RANGE = KafkaError._AUTO_OFFSET_RESET

log = structlog.get_logger(__name__)
CLIENT_LOG = logging.getLogger("librdkafka")


class NotDelivered(Exception):
    """Messages that the broker did not acknowledge: (index of the send, reason) of each."""

    def __init__(self, failures: list[tuple[int, str]]) -> None:
        super().__init__(f"{len(failures)} messages not delivered, the first because: {failures[0][1]}")
        self.failures = failures


def client_settings(kafka: Any) -> dict[str, Any]:
    """librdkafka's properties for any client of `ingestion.kafka`: brokers, security, `extra`, its log in ours."""
    return {"client.id": "sentinel", "error_cb": _log_fatal, "logger": CLIENT_LOG, **kafka.connection()}


def _log_fatal(error: KafkaError) -> None:
    """Anything less is in the client's own log already, and librdkafka recovers from it by itself."""
    if error.fatal():
        log.error("kafka_fatal_error", error=error.str(), code=error.name())


def consumer_settings(kafka: Any, group_id: str, **overrides: Any) -> dict[str, Any]:
    """Properties of a consumer whose offsets are stored and committed by hand, after the effects are durable.

    `auto.offset.reset` is `error`: nothing is ever skipped silently. A new group therefore has to be assigned to
    `first_offset`, and a message with the error `OFFSET_OUT_OF_RANGE` is the runner's to handle.
    `overrides` are librdkafka's properties with `_` for `.`, and win.
    """
    chosen: dict[str, Any] = {
        # An empty fetch of the mock cluster takes all of this time, and an idle event waits for it.
        "fetch.wait.max.ms": 10,
        # Once the queue was full the default would fetch nothing for a second.
        "fetch.queue.backoff.ms": 10,
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 65_536,
        **client_settings(kafka),
        "group.id": group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "session.timeout.ms": kafka.session_timeout_ms,
        "heartbeat.interval.ms": kafka.heartbeat_interval_ms,
        "max.poll.interval.ms": max(kafka.max_poll_interval_ms, kafka.session_timeout_ms),
        "partition.assignment.strategy": "cooperative-sticky",
    }
    if kafka.group_instance_id:
        chosen["group.instance.id"] = kafka.group_instance_id
    return chosen | _dotted(overrides)


def first_offset(committed: int, reset: str) -> int:
    """Where to begin a partition: at the group's committed offset, else where `auto_offset_reset` says.

    Raises LookupError for a group without an offset where the configuration says `error`.
    """
    if committed >= 0:
        return committed
    if reset == "error":
        raise LookupError("the group has no committed offset, and ingestion.kafka.auto_offset_reset is error")
    return int(OFFSET_BEGINNING if reset == "earliest" else OFFSET_END)


def producer_settings(kafka: Any, **overrides: Any) -> dict[str, Any]:
    """Properties of a producer that loses, doubles and reorders nothing, partitioned as Java's clients do."""
    return {
        "linger.ms": 5,
        "compression.type": "zstd",
        **client_settings(kafka),
        "partitioner": "murmur2_random",
        "acks": "all",
        "enable.idempotence": True,
        **_dotted(overrides),
    }


def _dotted(properties: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in properties.items()}


class Batch:
    """Messages sent together, whose acknowledgements are awaited together; several may share one producer."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._sent = 0
        # Filled by whichever thread polls: setting an item is atomic, a counter would not be.
        self._outcomes: dict[int, KafkaError | None] = {}

    @property
    def pending(self) -> int:
        """Messages sent and neither acknowledged nor given up."""
        return self._sent - len(self._outcomes)

    def send(
        self,
        topic: str,
        value: bytes,
        key: bytes | None = None,
        headers: dict[str, bytes] | None = None,
        *,
        timestamp_ms: int = 0,
        deadline: float = 30.0,
    ) -> None:
        """Queue a message; waits while the queue is full.

        What the client itself refuses (too large, an unusable topic) counts as not delivered, like what the broker
        refuses. Raises BufferError when the queue stays full for `deadline` seconds.
        """
        index = self._sent
        end = time.monotonic() + deadline
        while True:
            try:
                self._producer.produce(
                    topic, value, key, headers=headers, timestamp=timestamp_ms, on_delivery=self._outcome_of(index)
                )
                break
            except BufferError:
                if time.monotonic() > end:
                    raise
                self._producer.poll(0.05)
            except KafkaException as error:
                self._outcomes[index] = error.args[0]
                break
        self._sent += 1
        self._producer.poll(0)

    def _outcome_of(self, index: int) -> Any:
        outcomes = self._outcomes  # not the ones of the next wait, should this come late

        def delivered(error: KafkaError | None, _message: Message) -> None:
            outcomes[index] = error

        return delivered

    def wait(self, deadline: float) -> None:
        """Wait for every acknowledgement, then forget the messages.

        Raises NotDelivered if any was refused or is still pending after `deadline` seconds.
        """
        end = time.monotonic() + deadline
        while self.pending and (left := end - time.monotonic()) > 0:
            self._producer.poll(min(left, 0.05))
        outcomes, sent = self._outcomes, self._sent
        self._outcomes, self._sent = {}, 0
        failures = [(index, _reason(outcomes.get(index))) for index in range(sent) if outcomes.get(index, True)]
        if failures:
            raise NotDelivered(failures)


def _reason(error: KafkaError | None) -> str:
    return error.str() if error else "no acknowledgement in time"


class KeyedProducer:
    """A producer of keyed messages that knows which of them arrived. Threads may share it, each with its `batch()`."""

    def __init__(self, kafka: Any, **overrides: Any) -> None:
        self._producer = Producer(producer_settings(kafka, **overrides))
        self._batch = self.batch()

    def batch(self) -> Batch:
        """A batch of one caller's own, to be awaited apart from all others."""
        return Batch(self._producer)

    def send(
        self,
        topic: str,
        value: bytes,
        key: bytes | None = None,
        headers: dict[str, bytes] | None = None,
        *,
        timestamp_ms: int = 0,
    ) -> None:
        """Queue a message; waits while the queue is full. `timestamp_ms` 0 means now. See `flush`."""
        self._batch.send(topic, value, key, headers, timestamp_ms=timestamp_ms)

    def flush(self, deadline: float) -> None:
        """Wait up to `deadline` seconds for all that `send` took since the last flush; raises NotDelivered."""
        self._batch.wait(deadline)

    def close(self, deadline: float = 5.0) -> None:
        """Deliver what is on its way, without complaint about what cannot be."""
        self._producer.flush(deadline)


class UnknownTopicId(Exception):
    """A topic has no id: it does not exist, or the broker is older than topic ids (Kafka 2.8)."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"topic {topic} has no id; it must exist on a broker of Kafka 2.8 or newer")


def topic_ids(connection: dict[str, Any], topics: Iterable[str]) -> dict[str, uuid.UUID]:
    """Kafka's own id of each topic, a new one when a topic is deleted and made again.

    `connection` is what `client_settings` returns. The mock cluster has no topic ids: there they are made from the
    id of the embedded broker, which is new at every start. Raises UnknownTopicId, KafkaException.
    """
    admin = AdminClient(connection)
    names = list(topics)
    if _is_mock(admin.list_topics(timeout=ADMIN_SECONDS)):
        broker = _embedded_broker_id()
        return {name: uuid.uuid5(broker, name) for name in names}
    futures = admin.describe_topics(TopicCollection(names), request_timeout=ADMIN_SECONDS)
    return {name: topic_id(name, future.result()) for name, future in futures.items()}


def topic_id(name: str, description: Any) -> uuid.UUID:
    """Kafka's id of a topic from its description. Raises UnknownTopicId."""
    found = description.topic_id
    if found is None:
        raise UnknownTopicId(name)
    halves = (found.get_most_significant_bits(), found.get_least_significant_bits())
    number = (halves[0] & (2**64 - 1)) << 64 | (halves[1] & (2**64 - 1))
    if not number:
        raise UnknownTopicId(name)
    return uuid.UUID(int=number)


def _is_mock(cluster: ClusterMetadata) -> bool:
    return (cluster.cluster_id or "").startswith(MOCK_CLUSTER)


def _embedded_broker_id() -> uuid.UUID:
    file = Path(settings.BASE_DIR, "var", EMBEDDED_ID_FILE)
    text = os.environ.get(EMBEDDED_ID_VARIABLE) or (file.read_text() if file.exists() else "")
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        raise LookupError(
            f"the embedded broker's id is in neither {EMBEDDED_ID_VARIABLE} nor var/{EMBEDDED_ID_FILE}"
        ) from None


def ensure_topics(
    connection: dict[str, Any],
    names: Iterable[str],
    partitions: int = BROKER_DEFAULT,
    replication: int = BROKER_DEFAULT,
) -> dict[str, int]:
    """Make the topics that are missing; returns the partition count of each. Raises KafkaException.

    -1 leaves the number of partitions or replicas to the broker. The mock cluster makes topics by being asked
    for them, with its own number of partitions.
    """
    admin = AdminClient(connection)
    wanted = list(names)
    cluster = admin.list_topics(timeout=ADMIN_SECONDS)
    missing = [name for name in wanted if name not in cluster.topics]
    if missing and not _is_mock(cluster):
        _create(admin, [NewTopic(name, partitions, replication) for name in missing])
    return {name: _partition_count(admin, name) for name in wanted}


def _create(admin: AdminClient, topics: list[NewTopic]) -> None:
    for future in admin.create_topics(topics, operation_timeout=ADMIN_SECONDS).values():
        try:
            future.result()
        except KafkaException as error:  # somebody else was faster
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _partition_count(admin: AdminClient, name: str) -> int:
    """Partitions of a topic, once all brokers know it."""
    end = time.monotonic() + ADMIN_SECONDS
    while True:
        topic = admin.list_topics(name, timeout=ADMIN_SECONDS).topics[name]
        if topic.partitions and not topic.error:
            return len(topic.partitions)
        if time.monotonic() > end:
            raise KafkaException(topic.error or KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        time.sleep(0.05)
