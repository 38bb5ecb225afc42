"""The store role: telemetry and detections from Kafka into the telemetry store, each accepted event once.

A consumer group of its own: while the store is slow or down this group falls behind, and nothing else notices.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import structlog
from confluent_kafka import Message

from baselines.store import PartitionName
from ingestion import metrics
from ingestion.costs import CostWatch
from ingestion.kafka import client_settings, ensure_topics
from ingestion.limits import limits_of
from ingestion.membership import Membership, Place
from ingestion.recent import RecentIds
from ingestion.role import Role, RoleFailed
from ingestion.sources import Source
from ingestion.storing import StoreWriter
from ingestion.telemetry_store import TelemetryStore

log = structlog.get_logger(__name__)

REVOKE_SECONDS = 10.0
LEAVE_SECONDS = 7.0


class StoreRole(Role):
    """Reads telemetry and detections and has them stored in large writes."""

    name = "store"

    def __init__(
        self, config: Any, store: TelemetryStore, *, topics: Sequence[str], group_id: str, batch_size: int
    ) -> None:
        super().__init__()
        self._kafka = config.ingestion.kafka
        self._store = store
        self._limits = limits_of(config)
        self._costs = CostWatch(self._limits.prices, config.ingestion.pricing.mismatch_tolerance)
        self._dedup_window = config.ingestion.dedup_window
        self._events_per_write = config.storage.max_batch_size
        self._interval = config.storage.flush_interval_ms / 1000
        self._topics, self._group_id, self._batch_size = topics, group_id, batch_size
        self._sources: dict[Place, Source] = {}
        self._last_write = time.monotonic()
        self._give_back_seconds = REVOKE_SECONDS

    def run(self, stop: threading.Event) -> None:
        connection = client_settings(self._kafka)
        topics = [*self._topics, self._kafka.detections_topic]
        ensure_topics(connection, [*topics, self._kafka.dead_letter_topic])
        self._membership = Membership(
            self._kafka,
            self._group_id,
            topics,
            opened=self._open,
            closing=self._close,
            lost=self._drop,
            reset=self._kafka.auto_offset_reset,
        )
        self._writer = StoreWriter(self._kafka, self._store, self._membership.commit)
        self._writer.start()
        try:
            self._loop(stop)
            self._complete(stop)
        finally:
            self.is_ready = False
            self._give_back_seconds = LEAVE_SECONDS
            self._membership.close()  # has `_close` write what is left
            self._writer.stop(0.0)

    def _complete(self, stop: threading.Event) -> None:
        """All is read: wait until it is stored, however long that takes."""
        while not (stop.is_set() or self._writer.failure):
            if self._writer.has_room(1.0):
                self._write()
                if self._writer.settle(1.0):
                    return
            self.trouble = self._writer.trouble

    def _loop(self, stop: threading.Event) -> None:
        while not stop.is_set() and not self.is_done(self._membership, self._offsets()):
            self._membership.pause(paused=self._writer.is_full and self._unwritten >= self._events_per_write)
            batches, _ = self._membership.read(self._batch_size, wait=0.1)
            for place, messages in batches.items():
                if place in self._sources:
                    self._take(self._sources[place], messages)
            if self._is_write_due() and not self._writer.is_full:
                self._write()
            metrics.UNWRITTEN_EVENTS.labels(self.name).set(self._unwritten)
            self.is_ready, self.trouble = self._membership.is_joined, self._writer.trouble
            if self._writer.failure is not None:
                raise RoleFailed(f"telemetry cannot be stored: {self._writer.failure}") from self._writer.failure

    def _offsets(self) -> dict[Place, int]:
        return {place: source.next_offset for place, source in self._sources.items()}

    @property
    def _unwritten(self) -> int:
        return sum(len(source.events) + len(source.detections) for source in self._sources.values())

    def _take(self, source: Source, messages: list[Message]) -> None:
        fresh = [message for message in messages if message.offset() >= source.next_offset]  # type: ignore[operator]
        if fresh:
            known = len(source.events)
            source.take(fresh, self._limits)
            self._costs.see(source.events[known:])
            metrics.KAFKA_MESSAGES_CONSUMED.labels(source.name.topic).inc(len(fresh))
            metrics.note_batch(self.name, len(fresh))

    def _is_write_due(self) -> bool:
        return self._unwritten >= self._events_per_write or time.monotonic() - self._last_write >= self._interval

    def _write(self) -> None:
        self._last_write = time.monotonic()
        loads = [source.drain() for source in self._sources.values() if source.unwritten]
        if loads:
            self._writer.submit(loads)

    def _open(self, place: Place, first: int) -> int:
        topic, partition = place
        name = PartitionName(topic, self._membership.topic_ids[topic], partition)
        current = self._sources.get(place)
        if current is not None and current.name == name:
            return current.next_offset
        if current is not None:  # the topic was made anew under our hands
            self._close([place])
        recent = None if topic == self._kafka.detections_topic else RecentIds(self._dedup_window)
        # What stands before the group's offset is read again for its identities, as far as they matter.
        begin = first if recent is None else max(self._membership.start_offset(place), first - self._dedup_window)
        begin = min(begin, first)
        self._sources[place] = Source(name, first, begin, recent)
        return begin

    def _close(self, places: list[Place]) -> None:
        end = time.monotonic() + self._give_back_seconds
        is_written = self._writer.has_room(self._give_back_seconds) and self._writer.failure is None
        if is_written:
            self._write()
            is_written = self._writer.settle(max(0.0, end - time.monotonic()))
        if not is_written:
            log.warning("partitions_given_back_unwritten", partitions=places)
        self._drop(places)

    def _drop(self, places: list[Place]) -> None:
        for place in places:
            self._sources.pop(place, None)
