"""Making work durable, in the one order in which a crash between any two steps loses and doubles nothing:

    dead letters and detections to Kafka → anomalies, minutes and alerts to the database → state with its offset to
    Redis → the group's offset to Kafka.

All of it happens in one thread beside the one that scores.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from confluent_kafka import KafkaException, TopicPartition
from django.db import (
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    close_old_connections,
    connections,
    transaction,
)
from django.utils import timezone

from alerting import outbox
from anomalies import incidents
from anomalies.record import Change, moment, record_episodes, record_minutes
from baselines import catalogue, checkpoints
from baselines.models import Service
from baselines.stats.series import Pair
from baselines.store import Fenced, Image, PartitionStore, StoreUnavailable, Vanished
from ingestion import failpoints, metrics
from ingestion.dead_letters import dead_letter, headers
from ingestion.kafka import KeyedProducer, NotDelivered
from ingestion.membership import committable
from ingestion.partition import OwnedPartition, Work

log = structlog.get_logger(__name__)

QUEUED = 2
FIRST_DELAY, LONGEST_DELAY = 0.2, 5.0
ACK_SECONDS = 30.0
# InternalError is what a server says that takes no writes, such as the standby of a cluster that is switching over.
DATABASE_TROUBLE = (OperationalError, InterfaceError, InternalError)


@dataclass
class Checkpoint:
    """The work of some partitions, up to an offset of each; `is_durable` is set once all of it is written."""

    works: list[Work]
    ticks: dict[str, int] = field(default_factory=dict)  # partition name → record time to let pass there
    is_durable: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Unsaved:
    """The pieces of a state that Redis is to take, and the names of those that it may forget."""

    pieces: dict[str, bytes]
    outdated: set[str]
    is_whole: bool

    @classmethod
    def of(cls, work: Work) -> Unsaved:
        return cls(work.pieces, work.outdated, work.is_whole)

    def after(self, earlier: Unsaved | None) -> Unsaved:
        """These pieces together with earlier ones that Redis did not take."""
        if earlier is None or self.is_whole:
            return self
        outdated = earlier.outdated | self.outdated
        pieces = {name: piece for name, piece in (earlier.pieces | self.pieces).items() if name not in outdated}
        return Unsaved(pieces, outdated, earlier.is_whole)


class Stopped(Exception):
    """The writer was told to give up before the work was durable."""


class CheckpointWriter:
    """Writes checkpoints in the order they were submitted, retrying what is unavailable until it is told to give up."""

    def __init__(
        self,
        kafka: Any,
        store: PartitionStore,
        commit: Callable[[list[TopicPartition]], None],
        patterns: tuple[str, ...],
    ) -> None:
        self._kafka = kafka
        self._store = store
        self._commit = commit
        self._patterns = patterns
        self._producer = KeyedProducer(kafka)
        self._queue: queue.Queue[Checkpoint | None] = queue.Queue(QUEUED)
        # By partition as owned, not by name: when a partition comes back, what was not saved before is stale.
        self._unsaved: WeakKeyDictionary[OwnedPartition, Unsaved] = WeakKeyDictionary()
        self._services: dict[str, Service] = {}
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoint-writer", daemon=True)
        self.failure: BaseException | None = None
        self.trouble: str | None = None  # what is being retried, for health

    # The side of the thread that scores

    def start(self) -> None:
        self._thread.start()

    @property
    def is_full(self) -> bool:
        return self._queue.full()

    @property
    def is_idle(self) -> bool:
        return self._queue.unfinished_tasks == 0

    def has_room(self, deadline: float) -> bool:
        """Wait up to `deadline` seconds for room in the queue; whether there is."""
        end = time.monotonic() + deadline
        while self._queue.full() and self.failure is None and time.monotonic() < end:
            time.sleep(0.02)
        return not self._queue.full()

    def submit(self, checkpoint: Checkpoint) -> None:
        """Queue a checkpoint; waits for room. Raises what stopped the writer, if anything did."""
        while True:
            if self.failure is not None:
                raise self.failure
            try:
                self._queue.put(checkpoint, timeout=0.1)
                return
            except queue.Full:
                continue

    def settle(self, deadline: float) -> bool:
        """Wait up to `deadline` seconds until all that was submitted is durable; whether it is."""
        with self._queue.all_tasks_done:
            return self._queue.all_tasks_done.wait_for(
                lambda: self._queue.unfinished_tasks == 0 or self.failure is not None, deadline
            ) and not (self._queue.unfinished_tasks or self.failure)

    def stop(self, deadline: float) -> None:
        """Finish what is queued within `deadline` seconds, then end; what is left will be replayed."""
        self.settle(deadline)
        self._give_up.set()
        if self._thread.is_alive():
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                log.warning("checkpoints_abandoned", reason="not durable in time; they will be replayed")
            self._thread.join(1.0)
        self._producer.close(1.0)

    # The writer's thread

    def _run(self) -> None:
        try:
            self._write_all()
        finally:
            connections.close_all()

    def _write_all(self) -> None:
        while (checkpoint := self._queue.get()) is not None:
            try:
                self._write(checkpoint)
            except Stopped:
                return
            except Exception as error:
                log.exception("checkpoint_failed", error=str(error))
                self.failure = error
                self._queue.task_done()
                return
            checkpoint.is_durable.set()
            self._queue.task_done()

    def _write(self, checkpoint: Checkpoint) -> None:
        works = [work for work in checkpoint.works if not work.partition.is_lost]
        self._retry("kafka", self._produce, works, (NotDelivered, KafkaException, BufferError))
        failpoints.reach("produce")
        self._retry("database", self._record, works, DATABASE_TROUBLE)
        failpoints.reach("postgres")
        kept = [work for work in works if self._flush(work)]
        failpoints.reach("redis")
        ticks = [(w, checkpoint.ticks[name]) for w in kept if (name := str(w.partition.name)) in checkpoint.ticks]
        if ticks:
            self._retry("database", self._record_ticks, ticks, DATABASE_TROUBLE)
        self._commit_offsets(kept)
        failpoints.reach("commit")

    def _retry(
        self, what: str, step: Callable[[Any], None], argument: Any, errors: tuple[type[Exception], ...]
    ) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                step(argument)
            except errors as error:
                self.trouble = f"{what}: {error}"
                metrics.INGESTION_ERRORS.labels(what).inc()
                log.warning("checkpoint_delayed", waiting_for=what, error=str(error).strip(), retry_in=delay)
                close_old_connections()
            else:
                self.trouble = None
                return
            if self._give_up.wait(delay):
                raise Stopped
            delay = min(2 * delay, LONGEST_DELAY)

    def _produce(self, works: list[Work]) -> None:
        batch = self._producer.batch()
        for work in works:
            for key, value in work.detections:
                batch.send(self._kafka.detections_topic, value, key)
            for record, rejection in work.refused:
                value = dead_letter(record, rejection, patterns=self._patterns)
                batch.send(self._kafka.dead_letter_topic, value, None, headers(rejection))
        batch.wait(ACK_SECONDS)

    def _record(self, works: list[Work]) -> None:
        close_old_connections()
        try:
            changes = self._record_once(works)
        except IntegrityError:
            # A service was removed from the catalogue while we remembered it.
            self._services.clear()
            changes = self._record_once(works)
        if changes:
            outbox.wake()

    @transaction.atomic
    def _record_once(self, works: list[Work]) -> list[Change]:
        now = timezone.now()
        changes: list[Change] = []
        self._register(works)
        # All at once: partition by partition, two consumers could wait for each other.
        incidents.lock(self._services[episode.key.service].pk for work in works for episode in work.episodes)
        for work in works:
            name = work.partition.name
            record_minutes(work.minutes, name.topic_id, name.partition)
            changes += record_episodes(work.episodes, name.topic_id, name.partition, self._services, now)
        outbox.announce(changes, now)
        return changes

    def _register(self, works: list[Work]) -> None:
        """Keep the catalogue: pairs that are new or were seen a while ago, and every service an episode needs."""
        seen: dict[Pair, int] = {}
        for work in works:
            needed = {
                Pair(episode.key.service, episode.key.model): episode.last_seen_ms
                for episode in work.episodes
                if episode.key.service not in self._services
            }
            for pair, milliseconds in [*work.last_seen.items(), *needed.items()]:
                seen[pair] = max(milliseconds, seen.get(pair, milliseconds))
        if seen:
            self._services |= catalogue.register({pair: moment(max(ms, 0)) for pair, ms in seen.items()})

    def _record_ticks(self, ticks: list[tuple[Work, int]]) -> None:
        close_old_connections()
        for work, now_ms in ticks:
            checkpoints.record_tick(work.partition.name, work.offset, now_ms)

    def _flush(self, work: Work) -> bool:
        """Write the state of one partition; False if it belongs to somebody else now."""
        partition, name = work.partition, str(work.partition.name)
        state = Unsaved.of(work).after(self._unsaved.pop(partition, None))
        try:
            self._save(partition, work.offset, state)
        except Fenced as error:
            log.warning("partition_lost", partition=name, error=str(error))
            partition.is_lost = True
            return False
        except Vanished as error:
            log.warning("state_vanished", partition=name, error=str(error))
            partition.is_whole_wanted = partition.is_unsaved = True
        except StoreUnavailable as error:
            metrics.INGESTION_ERRORS.labels("redis").inc()
            log.warning("state_not_flushed", partition=name, error=str(error))
            self._unsaved[partition] = state
            partition.is_unsaved = True
        else:
            partition.is_unsaved = False
        return True

    def _save(self, partition: OwnedPartition, offset: int, state: Unsaved) -> None:
        if partition.holding is not None:
            self._store.flush(partition.holding, offset, state.pieces, state.outdated, is_whole=state.is_whole)
        elif state.is_whole:
            partition.holding = self._store.replace(Image(partition.name, offset, state.pieces))
        else:
            raise Vanished(f"{partition.name} has no state in Redis yet")

    def _commit_offsets(self, works: list[Work]) -> None:
        offsets = [committable(work.partition.name, work.offset) for work in works]
        if offsets:
            self._commit(offsets)
