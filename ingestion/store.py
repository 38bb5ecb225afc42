"""The store role: telemetry and detections from Kafka into the telemetry store, each accepted event once.

A consumer group of its own: while the store is slow or down this group falls behind, and nothing else notices.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import msgspec
import structlog
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaException, Message, TopicPartition
from django.db import close_old_connections, connections

from baselines.store import PartitionName
from ingestion import failpoints, metrics
from ingestion.dead_letters import Record, dead_letter, headers
from ingestion.formats import native
from ingestion.formats.event import Event
from ingestion.formats.validation import Limits, Rejection
from ingestion.kafka import KeyedProducer, NotDelivered, client_settings, ensure_topics
from ingestion.membership import Membership, Place, committable
from ingestion.partition import NO_BOUND_MS
from ingestion.recent import RecentIds, identity
from ingestion.role import Role, RoleFailed
from ingestion.telemetry_store import StoreUnavailable, TelemetryBatch, TelemetryStore, WriteRefused

log = structlog.get_logger(__name__)

QUEUED = 4
FIRST_DELAY, LONGEST_DELAY = 0.2, 10.0
ACK_SECONDS = 30.0
REVOKE_SECONDS = 10.0
LEAVE_SECONDS = 7.0
REFUSED = "refused_by_store"


@dataclass
class Source:
    """One partition of a topic with telemetry or detections: what was read of it and not handed to the writer."""

    name: PartitionName
    first: int  # messages before it were stored already; they are read for their identities only
    next_offset: int
    recent: RecentIds | None  # None for detections, which overwrite themselves
    offsets: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    detections: list[dict[str, Any]] = field(default_factory=list)
    unwritten: bool = False

    def take(self, messages: Sequence[Message], limits: Limits) -> None:
        """Decode messages in the order of their offsets. Invalid ones are the detect role's to report."""
        if self.recent is None:
            self._take_detections(messages)
        else:
            self._take_events(messages, self.recent, limits)
        self.next_offset = int(messages[-1].offset()) + 1  # type: ignore[arg-type]
        self.unwritten = self.next_offset > self.first

    def _take_events(self, messages: Sequence[Message], recent: RecentIds, limits: Limits) -> None:
        decode, first = native.decode, self.first
        for message in messages:
            kind, record_ms = message.timestamp()
            if kind == TIMESTAMP_NOT_AVAILABLE:
                record_ms = NO_BOUND_MS
            try:
                event = decode(message.value() or b"", received_ms=record_ms, limits=limits)
            except Rejection:
                continue
            offset: int = message.offset()  # type: ignore[assignment]
            if event.event_id is not None and recent.is_repeated(identity(event.service, event.event_id), offset):
                continue
            if offset >= first:
                self.offsets.append(offset)
                self.events.append(event)

    def _take_detections(self, messages: Sequence[Message]) -> None:
        for message in messages:
            try:
                self.detections.append(msgspec.json.decode(message.value() or b"", type=dict[str, Any]))
            except msgspec.MsgspecError as error:
                # Only the detect role writes there; somebody else's message has nowhere to be stored.
                metrics.INGESTION_ERRORS.labels("foreign_detection").inc()
                log.warning("foreign_detection", offset=message.offset(), error=str(error))

    def drain(self) -> Load:
        load = Load(self, self.next_offset, self.offsets, self.events, self.detections)
        self.offsets, self.events, self.detections, self.unwritten = [], [], [], False
        return load


@dataclass
class Load:
    """Rows of one partition that are to be stored before `next_offset` may be committed."""

    source: Source
    next_offset: int
    offsets: list[int]
    events: list[Event]
    detections: list[dict[str, Any]]


class StoreWriter:
    """Writes loads in order from a thread of its own, so that a slow store holds nobody up but this group."""

    def __init__(self, kafka: Any, store: TelemetryStore, commit: Callable[[list[TopicPartition]], None]) -> None:
        self._kafka = kafka
        self._store = store
        self._commit = commit
        self._producer = KeyedProducer(kafka)
        self._queue: queue.Queue[list[Load] | None] = queue.Queue(QUEUED)
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self.failure: BaseException | None = None
        self.trouble: str | None = None

    def start(self) -> None:
        self._thread.start()

    @property
    def is_full(self) -> bool:
        return self._queue.full()

    def has_room(self, deadline: float) -> bool:
        """Wait up to `deadline` seconds for room in the queue; whether there is."""
        end = time.monotonic() + deadline
        while self._queue.full() and self.failure is None and time.monotonic() < end:
            time.sleep(0.02)
        return not self._queue.full()

    def submit(self, loads: list[Load]) -> None:
        """Queue loads; waits for room. Raises what stopped the writer, if anything did."""
        while True:
            if self.failure is not None:
                raise self.failure
            try:
                self._queue.put(loads, timeout=0.1)
                return
            except queue.Full:
                continue

    def settle(self, deadline: float) -> bool:
        """Wait up to `deadline` seconds until all that was submitted is stored; whether it is."""
        with self._queue.all_tasks_done:
            self._queue.all_tasks_done.wait_for(
                lambda: not self._queue.unfinished_tasks or self.failure is not None, deadline
            )
            return not self._queue.unfinished_tasks

    def stop(self, deadline: float) -> None:
        """Finish what is queued within `deadline` seconds, then end; what is left is in Kafka."""
        self.settle(deadline)
        self._give_up.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            log.warning("loads_abandoned", reason="not stored in time; they will be read again")
        self._thread.join(1.0)
        self._producer.close(1.0)
        self._store.close()

    def _run(self) -> None:
        try:
            self._write_all()
        finally:
            connections.close_all()

    def _write_all(self) -> None:
        while (loads := self._queue.get()) is not None:
            try:
                for load in loads:
                    self._write(load)
                failpoints.reach("write")
                self._commit([committable(load.source.name, load.next_offset) for load in loads])
            except _GivenUp:
                return
            except Exception as error:
                log.exception("store_failed", error=str(error))
                self.failure = error
            self._queue.task_done()
            if self.failure is not None:
                return

    def _write(self, load: Load) -> None:
        source = load.source
        if load.events:
            batch = TelemetryBatch(*astuple(source.name), load.offsets, load.events)
            refused = self._persistently(lambda: self._store.write_telemetry(batch))
            self._refuse([(self._record(load, row), row.reason) for row in refused])
        if load.detections:
            refused = self._persistently(lambda: self._store.write_detections(load.detections))
            self._refuse([(self._detection_record(load, row), row.reason) for row in refused])

    def _persistently(self, write: Callable[[], list[WriteRefused]]) -> list[WriteRefused]:
        delay = FIRST_DELAY
        while True:
            try:
                close_old_connections()
                refused = write()
            except StoreUnavailable as error:
                self.trouble = f"telemetry store: {error}"
                metrics.INGESTION_ERRORS.labels("store").inc()
                pause = min(error.retry_after or delay, LONGEST_DELAY)
                log.warning("store_unavailable", error=str(error), retry_in=pause)
            else:
                self.trouble = None
                return refused
            if self._give_up.wait(pause):
                raise _GivenUp
            delay = min(2 * delay, LONGEST_DELAY)

    def _record(self, load: Load, row: WriteRefused) -> Record:
        source, event = load.source, load.events[row.index]
        return Record(source.name.topic, source.name.partition, load.offsets[row.index], None, native.encode(event))

    def _detection_record(self, load: Load, row: WriteRefused) -> Record:
        source, detection = load.source, load.detections[row.index]
        return Record(
            source.name.topic, source.name.partition, load.next_offset - 1, None, msgspec.json.encode(detection)
        )

    def _refuse(self, rows: list[tuple[Record, str]]) -> None:
        """Rows the store will never take go to the dead letters before their offset is committed."""
        while rows:
            batch = self._producer.batch()
            for record, reason in rows:
                rejection = Rejection(REFUSED, "", reason)
                batch.send(self._kafka.dead_letter_topic, dead_letter(record, rejection), None, headers(rejection))
            try:
                batch.wait(ACK_SECONDS)
                return
            except (NotDelivered, KafkaException, BufferError) as error:
                self.trouble = f"kafka: {error}"
                if self._give_up.wait(1.0):
                    raise _GivenUp from error


class _GivenUp(Exception):
    """The writer was told to end before the load was stored."""


class StoreRole(Role):
    """Reads telemetry and detections and has them stored in large writes."""

    name = "store"

    def __init__(
        self, config: Any, store: TelemetryStore, *, topics: Sequence[str], group_id: str, batch_size: int
    ) -> None:
        super().__init__()
        self._kafka = config.ingestion.kafka
        self._store = store
        self._limits = Limits.of(config.ingestion)
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
            source.take(fresh, self._limits)
            metrics.KAFKA_MESSAGES_CONSUMED.labels(source.name.topic).inc(len(fresh))

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
