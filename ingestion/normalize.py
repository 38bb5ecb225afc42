"""The normalize role: from records that hold many calls, or calls without their key, to keyed native events.

Reads what OpenTelemetry Collector's Kafka exporter writes (and native events without the key `service|model`) and
republishes each LLM call to the telemetry topic. In this order: the calls of a batch are acknowledged by Kafka, then
what metrics need is kept in Redis, then the offsets are committed. Whoever dies in between is followed by somebody who
does the same again under the same ids and times, so that detection and store recognise what was there already.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import structlog
from confluent_kafka import KafkaException, Message
from redis import RedisError

from baselines.store import PartitionName
from ingestion import failpoints, metrics
from ingestion.dead_letters import PoisonGauge
from ingestion.inlets import Inlet
from ingestion.kafka import KeyedProducer, NotDelivered, client_settings, ensure_topics
from ingestion.limits import limits_of
from ingestion.membership import Membership, Place, committable
from ingestion.normalizing import Portion
from ingestion.role import Role, RoleFailed

log = structlog.get_logger(__name__)

MESSAGE_TIMEOUT_MS = 6_000
ACK_SECONDS = 8.0
AGAIN_SECONDS = 0.3
# An empty fetch may take this long. These topics can wait, and the embedded broker is asked all the time otherwise.
FETCH_WAIT_MS = 100


class NormalizeRole(Role):
    """Reads the inlets, a portion at a time; no more than one portion is ever on its way."""

    name = "normalize"

    def __init__(self, config: Any, *, inlets: Mapping[str, Inlet], group_id: str, batch_size: int) -> None:
        super().__init__()
        self._ingestion, self._kafka = config.ingestion, config.ingestion.kafka
        self._on_limit = config.ingestion.dead_letters.on_limit
        self._gauge = PoisonGauge.of(config.ingestion.dead_letters)
        self._limits = limits_of(config)
        self._inlets, self._group_id, self._batch_size = dict(inlets), group_id, batch_size
        self._next: dict[Place, int] = {}
        self._is_cut_off = False  # from Kafka: no other partition need try
        self._waiting_for: str | None = None
        self._alarmed: str | None = None

    def run(self, stop: threading.Event) -> None:
        if not self._inlets:
            raise RoleFailed("there is nothing to normalize: ingestion.normalize names no topics")
        ensure_topics(client_settings(self._kafka), [*self._inlets, self._kafka.topic, self._kafka.dead_letter_topic])
        self._producer = self._new_producer()
        self._membership = Membership(
            self._kafka,
            self._group_id,
            list(self._inlets),
            opened=self._open,
            closing=self._drop,  # no work is left between two reads
            lost=self._drop,
            reset=self._kafka.auto_offset_reset,
            fetch_wait_max_ms=FETCH_WAIT_MS,
        )
        try:
            self._loop(stop)
        finally:
            self.is_ready = False
            self._membership.close()
            self._producer.close(0.5)

    def _new_producer(self) -> KeyedProducer:
        return KeyedProducer(self._kafka, message_timeout_ms=MESSAGE_TIMEOUT_MS)

    def _loop(self, stop: threading.Event) -> None:
        while not stop.is_set() and not self.is_done(self._membership, self._next):
            batches, _ = self._membership.read(self._batch_size, wait=0.1)
            if batches:
                self._waiting_for = None
                self._republish(batches)
            self.is_ready = self._membership.is_joined
            self.trouble = self._waiting_for or self._alarmed
            if self._waiting_for:
                stop.wait(AGAIN_SECONDS)

    def _open(self, place: Place, first: int) -> int:
        self._next[place] = first
        return first

    def _drop(self, places: list[Place]) -> None:
        for place in places:
            self._next.pop(place, None)

    # Messages

    def _republish(self, batches: Mapping[Place, list[Message]]) -> None:
        """Republish messages portion by portion; what cannot be done now is read again."""
        self._is_cut_off = False
        owned = [place for place in batches if place in self._next]
        for place in sorted(owned, key=self._turn):
            fresh = [message for message in batches[place] if int(message.offset() or 0) >= self._next[place]]
            while fresh and not self._is_cut_off:
                portion = self._portion(place, fresh)
                if not portion.messages or not self._settle(portion):
                    break
                fresh = fresh[portion.messages :]
            if fresh:
                self._membership.reopen(place, self._next[place])

    def _turn(self, place: Place) -> int:
        """Spans before metrics, which leave out what spans count."""
        return list(self._inlets).index(place[0])

    def _portion(self, place: Place, messages: list[Message]) -> Portion:
        """As many of the messages as fit into one portion, or as can be decoded."""
        topic, number = place
        portion = Portion(PartitionName(topic, self._membership.topic_ids[topic], number), self._inlets[topic])
        try:
            for message in messages:
                if portion.is_full:
                    break
                portion.take(message, self._limits)
                failpoints.reach("decode")
        except RedisError as error:
            self._wait_for("redis", error)
        return portion

    def _settle(self, portion: Portion) -> bool:
        """Have a portion in Kafka, then remembered, then committed; False if it has to be read again."""
        try:
            batch = self._producer.batch()
            for message in portion.outgoing(self._ingestion, self._limits):
                batch.send(**message, deadline=ACK_SECONDS)
            batch.wait(ACK_SECONDS)
            failpoints.reach("produce")
            portion.recollection.keep()
        except (NotDelivered, KafkaException, BufferError) as error:
            self._wait_for("kafka", error)
            self._is_cut_off = True
            self._producer = self._new_producer()  # after a failure the old one may be beyond recovery
            return False
        except RedisError as error:
            self._wait_for("redis", error)
            return False
        failpoints.reach("redis")
        place = (portion.name.topic, portion.name.partition)
        self._next[place] = portion.next_offset
        self._membership.commit([committable(portion.name, portion.next_offset)])
        failpoints.reach("commit")
        portion.count()
        self._watch_poison(portion)
        return True

    def _wait_for(self, what: str, error: Exception) -> None:
        self._waiting_for = f"{what}: {error}"
        metrics.INGESTION_ERRORS.labels(what).inc()
        log.warning("normalizing_delayed", waiting_for=what, error=str(error).strip())

    def _watch_poison(self, portion: Portion) -> None:
        for _ in range(portion.refused):
            self._gauge.invalid()
        self._gauge.valid(portion.usable)
        alarm = self._gauge.alarm
        if alarm and not self._alarmed:
            log.error("poisoned", reason=alarm, on_limit=self._on_limit)
            if self._on_limit == "stop":
                raise RoleFailed(f"{alarm}; ingestion.dead_letters.on_limit is stop")
        self._alarmed = alarm
