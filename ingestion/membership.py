"""Reading topics as a member of a consumer group, with offsets that only move when their effects are durable."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from baselines.store import PartitionName
from ingestion import metrics
from ingestion.kafka import OFFSET_OUT_OF_RANGE, client_settings, consumer_settings, first_offset, topic_ids
from ingestion.topic_watch import TopicWatch

log = structlog.get_logger(__name__)

Place = tuple[str, int]
ASK_SECONDS = 10.0
MEASURED_EVERY = 5.0


def committable(name: PartitionName, offset: int) -> TopicPartition:
    """An offset as it is committed: with the id of the topic, because another topic of the same name counts anew."""
    return TopicPartition(name.topic, name.partition, offset, str(name.topic_id))


class Membership:
    """A consumer in a group. `opened` is told of each partition it gets and says at which offset to begin;
    `closing` is told of those it gives back while it still owns them, `lost` of those that others may own already.
    """

    def __init__(
        self,
        kafka: Any,
        group_id: str,
        topics: Sequence[str],
        *,
        opened: Callable[[Place, int], int],
        closing: Callable[[list[Place]], None],
        lost: Callable[[list[Place]], None],
        reset: str,
        **overrides: Any,
    ) -> None:
        self._opened, self._closing, self._lost = opened, closing, lost
        self._reset = reset
        self._group = group_id
        self._measured_at = 0.0
        self._measured: set[Place] = set()
        self._connection, self._topics = client_settings(kafka), list(topics)
        self._paused: bool | None = False  # None: some partitions are, others are not
        self.assigned: set[Place] = set()
        self.topic_ids: dict[str, UUID] = {}  # as of the last assignment
        self.read_up: dict[Place, int] = {}  # the end of each partition, whenever it was reached
        self.is_joined = False
        self._commit_lock = threading.Lock()
        self._to_commit: dict[Place, TopicPartition] = {}
        self._watch = TopicWatch(self._connection, self._topics)
        settings = consumer_settings(kafka, group_id, enable_partition_eof=True, **overrides)
        self._consumer = Consumer(settings | {"on_commit": _note_commit})
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    # Membership

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            self.topic_ids = topic_ids(self._connection, self._topics)
            for place in consumer.committed(partitions, timeout=ASK_SECONDS):
                offset = self._begin(place)
                consumer.incremental_assign([TopicPartition(place.topic, place.partition, offset)])
                self.assigned.add((place.topic, place.partition))
                self.read_up.pop((place.topic, place.partition), None)
            log.info("partitions_assigned", partitions=sorted(self.assigned))
            self._paused = None
            self._count("assigned", len(partitions))
        self.is_joined = True

    def _begin(self, committed: TopicPartition) -> int:
        place = (committed.topic, committed.partition)
        low, high = self._consumer.get_watermark_offsets(committed, timeout=ASK_SECONDS)
        offset = self._opened(place, self._within(place, self._wanted(committed, low, high), low, high))
        return self._within(place, offset, low, high)

    def _wanted(self, committed: TopicPartition, low: int, high: int) -> int:
        if committed.offset >= 0 and committed.metadata not in ("", None, str(self.topic_ids[committed.topic])):
            log.warning("topic_recreated", topic=committed.topic, partition=committed.partition)
            return low
        offset = first_offset(committed.offset, self._reset)
        if offset >= 0:
            return offset
        return low if offset == OFFSET_BEGINNING else high

    def _within(self, place: Place, offset: int, low: int, high: int) -> int:
        """The offset, or the earliest there is, with an alarm, where it lies outside of what the partition holds."""
        if low <= offset <= high:
            return offset
        self._alarm(*place, offset, low, high)
        return low

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = [(place.topic, place.partition) for place in partitions]
        if self.assigned & set(places):  # else `close` has told already
            self._closing(places)
            self._send_commits()
        self.assigned -= set(places)
        consumer.incremental_unassign(partitions)
        self._count("revoked", len(places))
        log.info("partitions_revoked", partitions=sorted(places))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = [(place.topic, place.partition) for place in partitions]
        self._lost(places)
        self.assigned -= set(places)
        consumer.incremental_unassign(partitions)
        self._count("lost", len(places))
        log.warning("partitions_lost", partitions=sorted(places))

    def _count(self, event: str, partitions: int) -> None:
        metrics.KAFKA_REBALANCES.labels(self._group, event).inc(partitions)
        self._measured_at = 0.0

    def _measure(self) -> None:
        """What is behind, by what the client knows already; of partitions that went, nothing is said any more."""
        now = time.monotonic()
        if now < self._measured_at + MEASURED_EVERY:
            return
        self._measured_at = now
        metrics.KAFKA_PARTITIONS.labels(self._group).set(len(self.assigned))
        metrics.KAFKA_PAUSED.labels(self._group).set(bool(self._paused))
        current = set(self.assigned)
        for topic, partition in self._measured - current:
            metrics.KAFKA_LAG.remove(self._group, topic, str(partition))
        self._measured = {place for place in current if self._measure_lag(*place)}

    def _measure_lag(self, topic: str, partition: int) -> bool:
        place = TopicPartition(topic, partition)
        try:
            position = self._consumer.position([place])[0].offset
            ends = self._consumer.get_watermark_offsets(place, cached=True)
        except KafkaException:  # between two assignments
            return (topic, partition) in self._measured
        if ends is None or position < 0:  # nothing was fetched yet
            return (topic, partition) in self._measured
        metrics.KAFKA_LAG.labels(self._group, topic, str(partition)).set(max(ends[1] - position, 0))
        return True

    # Messages

    def read(self, most: int, wait: float) -> tuple[dict[Place, list[Message]], list[Place]]:
        """Up to `most` messages by partition, waiting up to `wait` seconds for the first; and which were read up."""
        self._send_commits()
        self._measure()
        for topic in self._watch.made_anew(self.topic_ids):
            log.warning("topic_recreated", topic=topic)
            for place in sorted(place for place in self.assigned if place[0] == topic):
                self.rewind(place, is_anew=True)
        messages = self._consumer.consume(1, wait)
        if messages:
            messages += self._consumer.consume(most - 1, 0)
        by_place: dict[Place, list[Message]] = defaultdict(list)
        at_end: list[Place] = []
        for message in messages:
            place = (message.topic(), message.partition())
            if message.error() is None:
                by_place[place].append(message)  # type: ignore[index]
            elif message.error().code() == KafkaError._PARTITION_EOF:
                at_end.append(place)  # type: ignore[arg-type]
                self.read_up[place] = message.offset()  # type: ignore[index, assignment]
            else:
                self._note_error(message)
        return by_place, at_end

    def _note_error(self, message: Message) -> None:
        error = message.error()
        metrics.KAFKA_CONSUMPTION_ERRORS.labels(error.name()).inc()
        if error.code() == OFFSET_OUT_OF_RANGE and message.topic() is not None:
            self.rewind((str(message.topic()), int(message.partition() or 0)))
        elif error.fatal():
            raise KafkaException(error)
        else:
            log.warning("kafka_consumption_error", error=error.str(), code=error.name())

    def rewind(self, place: Place, *, is_anew: bool = False) -> None:
        """Go on at the earliest message there is: what stood before was deleted before it was read.

        Or the topic is another one of that name (`is_anew`): `opened` knows by its id whether it has a state of it.
        """
        self.topic_ids = topic_ids(self._connection, self._topics)
        low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=ASK_SECONDS)
        offset = self._opened(place, low)
        if not (is_anew and low <= offset <= high):
            self._alarm(*place, offset, low, high)
            offset = low
        # Fetching has ended with the error, and a seek does not begin it again.
        self._consumer.incremental_unassign([TopicPartition(*place)])
        self._consumer.incremental_assign([TopicPartition(*place, offset)])
        self._paused = None

    def _alarm(self, topic: str, partition: int, offset: int | None, low: int, high: int) -> None:
        metrics.KAFKA_CONSUMPTION_ERRORS.labels("offset_out_of_range").inc()
        log.error(
            "offset_out_of_range",
            partition=f"{topic}[{partition}]",
            offset=offset,
            earliest=low,
            latest=high,
            hint="messages were deleted before they were read; raise the topic's retention or add consumers",
        )

    def start_offset(self, place: Place) -> int:
        """The offset of the oldest message of a partition."""
        return int(self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=ASK_SECONDS)[0])

    def end_offset(self, place: Place) -> int:
        """The offset behind the newest message of a partition."""
        return int(self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=ASK_SECONDS)[1])

    def reopen(self, place: Place, offset: int) -> None:
        """Go on at another offset in a partition that is still ours; its end is to be reached anew."""
        self.read_up.pop(place, None)
        self._consumer.seek(TopicPartition(*place, offset))

    def pause(self, *, paused: bool) -> None:
        """Stop or resume fetching; a paused consumer still answers the group."""
        if paused == self._paused:
            return
        places = [TopicPartition(*place) for place in self.assigned]
        (self._consumer.pause if paused else self._consumer.resume)(places)
        self._paused = paused

    def commit(self, offsets: list[TopicPartition]) -> None:
        """Have `committable` offsets committed, from any thread: the next `read` or `close` sends them.

        A call of the consumer from another thread would wait for the lock that its endless `consume` hardly ever
        lets go.
        """
        with self._commit_lock:
            self._to_commit |= {(place.topic, place.partition): place for place in offsets}

    def _send_commits(self) -> None:
        """Without waiting: a broker that is down would hold the caller up for most of a minute."""
        with self._commit_lock:
            waiting, self._to_commit = self._to_commit, {}
        # Those of a topic that was deleted meanwhile would be taken for those of its successor.
        offsets = [place for place in waiting.values() if place.metadata == str(self.topic_ids.get(place.topic))]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            _note_commit(error.args[0], offsets)

    def close(self) -> None:
        """Leave the group; `closing` is told first.

        It is told here and not by the consumer's own close, which commits nothing more.
        """
        if self.assigned:
            self._closing(sorted(self.assigned))
            self.assigned.clear()
        self._send_commits()
        self._consumer.close()


def _note_commit(error: KafkaError | None, _partitions: Sequence[TopicPartition]) -> None:
    # Not a loss: the state says where to begin; the group's offset only says how far behind we are.
    if error is not None and error.code() != KafkaError._NO_OFFSET:
        metrics.KAFKA_CONSUMPTION_ERRORS.labels("commit").inc()
        log.warning("offset_not_committed", error=error.str(), code=error.name())
