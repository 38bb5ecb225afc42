"""Producers that wait for consumers: the embedded broker keeps little and silently drops what is older."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from ingestion.pacing import Clock

log = structlog.get_logger(__name__)

EMBEDDED_LAG = 8_000
"""Messages of one partition that fit into what the embedded broker keeps (5 MB), even at 600 bytes each."""
LOOK_EVERY_S = 0.05
SAY_EVERY_NS = 10_000_000_000
_TIMEOUT_S = 5.0


class ConsumerLag:
    """How far consumer groups are behind in a topic, by their committed offsets. It joins none of the groups."""

    def __init__(self, connection: dict[str, Any], topic: str, groups: Iterable[str]) -> None:
        self._topic = topic
        # These clients only ask; a broker that is gone is told by the answer, not by a log line per attempt.
        options = {"enable.auto.commit": False, "enable.auto.offset.store": False, "log_level": 0}
        self._consumers = [Consumer({**connection, **options, "group.id": group}) for group in groups]

    def worst(self) -> int:
        """Messages that the slowest group has before it in its worst partition; KafkaException if none can say.

        A group that has committed nothing in a partition has all of it before it.
        """
        return max((self._worst_of(consumer) for consumer in self._consumers), default=0)

    def _worst_of(self, consumer: Consumer) -> int:
        known = consumer.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic].partitions
        committed = consumer.committed([TopicPartition(self._topic, p) for p in known], timeout=_TIMEOUT_S)
        return max((self._behind(consumer, place) for place in committed), default=0)

    def _behind(self, consumer: Consumer, committed: TopicPartition) -> int:
        low, high = consumer.get_watermark_offsets(committed, timeout=_TIMEOUT_S)
        return int(high) - max(committed.offset, int(low))  # negative codes stand for "nothing committed"

    def close(self) -> None:
        for consumer in self._consumers:
            consumer.close()


class Brake:
    """Lets a producer send only while `lag()` stays below `limit` messages.

    It looks once every quarter of the limit, after `delivered()` has made sure that the broker counts what was sent.
    """

    def __init__(self, lag: Callable[[], int], delivered: Callable[[], object], limit: int, clock: Clock) -> None:
        if limit < 4:
            raise ValueError(f"the limit of the lag must be at least 4 messages, not {limit}")
        self._lag, self._delivered, self._limit, self._clock = lag, delivered, limit, clock
        self._quarter = limit // 4
        self._unseen = self._quarter  # look before the first message: the consumers may be behind already

    def hold(self) -> None:
        """Count a message that is about to be sent; returns when it may be, or when the clock is stopped."""
        if self._unseen < self._quarter:
            self._unseen += 1
            return
        self._unseen = 1
        self._delivered()
        said = self._clock.now_ns()
        while (behind := self._look()) > self._limit - self._quarter:
            if self._clock.now_ns() - said >= SAY_EVERY_NS:
                said = self._clock.now_ns()
                log.warning("waiting_for_consumers", messages_behind=behind, limit=self._limit)
            if self._clock.wait(LOOK_EVERY_S):
                return

    def _look(self) -> int:
        try:
            return self._lag()
        except KafkaException as error:  # not known is as good as too much: the broker may be starting
            log.warning("consumer_lag_unknown", error=str(error))
            return self._limit + 1
