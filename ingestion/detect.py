"""The detect role: telemetry in; anomalies, minutes, alerts and single detections out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from django.db import close_old_connections

from anomalies import overrides
from anomalies.detection.warmup import warm_up
from baselines.checkpoints import Tick
from baselines.metrics import BASELINE_SAMPLES, BASELINE_UPDATES, FULLEST_PARTITION, PAIRS
from baselines.store import PartitionName, PartitionStore, StoreUnavailable
from ingestion import metrics
from ingestion.checkpointing import DATABASE_TROUBLE, Checkpoint, CheckpointWriter
from ingestion.dead_letters import PoisonGauge
from ingestion.formats import moments
from ingestion.idleness import EndWatch
from ingestion.instruction_watch import InstructionWatch
from ingestion.kafka import client_settings, ensure_topics
from ingestion.limits import limits_of
from ingestion.membership import Membership, Place
from ingestion.ownership import Ownership, detection_settings
from ingestion.partition import OwnedPartition
from ingestion.role import Role, RoleFailed, RoleStopped

log = structlog.get_logger(__name__)

# Checkpoints are due at least once a second; an anomaly that opens need not wait that long.
SOONEST_SECONDS = 0.25
REVOKE_SECONDS = 10.0
LEAVE_SECONDS = 7.0
TICK_SECONDS = 1.0
OPEN_SECONDS = 240.0
MEASURED_EVERY = 5.0
MOST_EVENTS_UNWRITTEN = 50_000


class DetectRole(Role):
    """Owns partitions of the telemetry topics, scores what arrives, and has it written in checkpoints."""

    name = "detect"

    def __init__(
        self, config: Any, store: PartitionStore, *, topics: Sequence[str], group_id: str, batch_size: int
    ) -> None:
        super().__init__()
        self._kafka = config.ingestion.kafka
        self._is_embedded = config.standalone
        self._batch_size = batch_size
        self._interval = config.ingestion.checkpoint_interval_ms / 1000
        self._on_limit = config.ingestion.dead_letters.on_limit
        self._gauge = PoisonGauge.of(config.ingestion.dead_letters)
        self._limits = limits_of(config)
        self._store = store
        self._ownership = Ownership(
            store, detection_settings(config.detection), self._limits, config.ingestion.dedup_window
        )
        self._topics, self._group_id = topics, group_id
        self._partitions: dict[Place, OwnedPartition] = {}
        self._unwritten = 0
        self._measured_at = -MEASURED_EVERY
        self._last_checkpoint = time.monotonic()
        self._alarmed: str | None = None
        self._give_back_seconds = REVOKE_SECONDS
        self._instructions = InstructionWatch(overrides.instructions)

    # Life

    def run(self, stop: threading.Event) -> None:
        self._check_store()
        moments.warm_up()
        warm_up(self._ownership.settings)  # not while messages wait, nor while the group waits for this member
        connection = client_settings(self._kafka)
        names = [*self._topics, self._kafka.detections_topic, self._kafka.dead_letter_topic]
        self._counts = ensure_topics(connection, names)
        self._stop = stop
        self._end_watch = EndWatch(connection)
        self._membership = Membership(
            self._kafka,
            self._group_id,
            self._topics,
            opened=self._open,
            closing=self._close,
            lost=self._drop,
            reset=self._kafka.auto_offset_reset,
        )
        self._writer = CheckpointWriter(self._kafka, self._store, self._membership.commit, self._limits)
        self._writer.start()
        self._instructions.start()
        try:
            self._loop(stop)
            self._complete(stop)
        except RoleStopped as reason:
            log.warning("stopped_while_waiting", reason=str(reason))
        finally:
            self._finish()

    def _check_store(self) -> None:
        """Refuse a Redis that evicts state. One that is down only costs time after a crash: the database has copies."""
        if self._is_embedded:  # the Redis in this process has no policies
            return
        try:
            self._store.check_policy()
        except StoreUnavailable as error:
            log.warning("state_store_unavailable", error=str(error))

    def _loop(self, stop: threading.Event) -> None:
        while not stop.is_set() and not self.is_done(self._membership, self._offsets()):
            # Work that cannot be written must not pile up: Kafka keeps the rest meanwhile.
            self._membership.pause(paused=self._writer.is_full and self._unwritten >= MOST_EVENTS_UNWRITTEN)
            batches, at_end = self._membership.read(self._batch_size, wait=0.1)
            for place, messages in batches.items():
                if place in self._partitions:
                    self._take(self._partitions[place], messages)
            for place in at_end:
                if place in self._partitions:
                    self._partitions[place].is_at_end = True
            self._checkpoint_if_due()
            self._confirm_ends()
            self._let_ticks_pass()
            self._reopen_lost()
            self.is_ready = self._membership.is_joined
            self._measure()
            metrics.UNWRITTEN_EVENTS.labels(self.name).set(self._unwritten)
            self.trouble = self._writer.trouble or self._alarmed
            if self._writer.failure is not None:
                raise RoleFailed(f"a checkpoint cannot be written: {self._writer.failure}") from self._writer.failure

    def _offsets(self) -> dict[Place, int]:
        return {place: partition.next_offset for place, partition in self._partitions.items()}

    def _complete(self, stop: threading.Event) -> None:
        """All is read: wait until it is durable, however long that takes."""
        while not (stop.is_set() or self._writer.failure or self._is_durable()):
            if self._writer.has_room(TICK_SECONDS):
                self._checkpoint()
            self._writer.settle(TICK_SECONDS)
            self.trouble = self._writer.trouble

    def _is_durable(self) -> bool:
        return self._writer.is_idle and not any(partition.has_news for partition in self._partitions.values())

    def _finish(self) -> None:
        """Leave within LEAVE_SECONDS, whatever is down: what is not durable by then will be replayed."""
        self.is_ready = False
        self._give_back_seconds = LEAVE_SECONDS
        if self._writer.failure is not None:
            self._partitions.clear()
        self._membership.close()  # has `_close` write what is left
        self._writer.stop(0.0)
        self._instructions.stop()

    # Partitions

    def _open(self, place: Place, first: int) -> int:
        topic, number = place
        name = PartitionName(topic, self._membership.topic_ids[topic], number)
        current = self._partitions.get(place)
        if current is not None and current.name != name:  # the topic was made anew under our hands
            self._close([place])
        elif current is not None and not current.is_lost:
            return current.next_offset
        newest = self._instructions.newest
        partition = self._persistently(lambda: self._ownership.open(name, first, self._counts[topic], newest))
        self._ownership.forget_former(name)
        self._partitions[place] = partition
        return partition.next_offset

    def _persistently(self, step: Callable[[], OwnedPartition]) -> OwnedPartition:
        """Wait for a database that is down; too long a wait is a failure that the supervisor has to see."""
        deadline = time.monotonic() + OPEN_SECONDS
        while True:
            try:
                return step()
            except DATABASE_TROUBLE as error:
                if self._stop.wait(1.0):
                    raise RoleStopped(f"database: {error}") from error
                if time.monotonic() > deadline:
                    raise RoleFailed(f"no partition can be opened without the database: {error}") from error
                log.warning("partition_not_opened", waiting_for="database", error=str(error).strip())
                self.trouble = f"database: {error}"
                close_old_connections()

    def _close(self, places: list[Place]) -> None:
        """Make durable what was done in partitions that are about to be given back."""
        end = time.monotonic() + self._give_back_seconds
        is_written = self._writer.has_room(self._give_back_seconds)
        if is_written:  # else nothing may be drained: it would be lost to the partitions that stay
            self._checkpoint()
            is_written = self._writer.settle(max(0.0, end - time.monotonic()))
        if not is_written:
            log.warning("partitions_given_back_unwritten", partitions=places)
        self._drop(places)

    def _drop(self, places: list[Place]) -> None:
        for place in places:
            partition = self._partitions.pop(place, None)
            if partition is not None:
                partition.is_lost = True

    def _reopen_lost(self) -> None:
        """A partition whose state was taken by another consumer, but that the group still calls ours: begin again."""
        for place, partition in list(self._partitions.items()):
            if partition.is_lost and place in self._membership.assigned:
                self._membership.reopen(place, self._open(place, partition.next_offset))

    # Messages

    def _take(self, partition: OwnedPartition, messages: list[Any]) -> None:
        if messages[0].offset() > partition.next_offset:
            self._note_gap(partition, messages[0].offset())
        # After a seek the client may still hand out what it had fetched before.
        fresh = [message for message in messages if message.offset() >= partition.next_offset]
        if not fresh:
            return
        with metrics.DETECTION_LATENCY.time():
            valid, invalid = self._judged(partition, fresh)
        self._unwritten += valid + invalid
        metrics.KAFKA_MESSAGES_CONSUMED.labels(partition.name.topic).inc(valid + invalid)
        metrics.EVENTS_RECEIVED.inc(valid + invalid)
        BASELINE_UPDATES.inc(valid)
        metrics.note_batch(self.name, len(fresh))
        self._watch_poison(valid, invalid)

    @staticmethod
    def _judged(partition: OwnedPartition, messages: list[Any]) -> tuple[int, int]:
        try:
            return partition.take(messages)
        except Exception as error:
            metrics.DETECTION_ERRORS.labels(type(error).__name__).inc()
            raise

    def _note_gap(self, partition: OwnedPartition, offset: int) -> None:
        # Compaction and the markers of transactions leave gaps too; what retention took was alarmed of already.
        log.debug("offsets_skipped", partition=str(partition.name), expected=partition.next_offset, got=offset)

    def _watch_poison(self, valid: int, invalid: int) -> None:
        for _ in range(invalid):
            self._gauge.invalid()
        self._gauge.valid(valid)
        alarm = self._gauge.alarm
        if alarm and not self._alarmed:
            log.error("poisoned", reason=alarm, on_limit=self._on_limit)
            if self._on_limit == "stop":
                raise RoleFailed(f"{alarm}; ingestion.dead_letters.on_limit is stop")
        self._alarmed = alarm

    # Checkpoints

    def _checkpoint_if_due(self) -> None:
        elapsed = time.monotonic() - self._last_checkpoint
        if elapsed < SOONEST_SECONDS or self._writer.is_full:
            return
        if elapsed >= self._interval or any(partition.has_detections for partition in self._partitions.values()):
            self._checkpoint()

    def _checkpoint(self, ticks: dict[str, Tick] | None = None) -> Checkpoint:
        ticks = ticks or {}
        owned = [partition for partition in self._partitions.values() if not partition.is_lost]
        due = [each for each in owned if each.has_news or each.is_unsaved or str(each.name) in ticks]
        works = [partition.drain() for partition in due]
        checkpoint = Checkpoint(works, ticks)
        self._last_checkpoint = time.monotonic()
        self._unwritten = 0
        if works:
            self._writer.submit(checkpoint)
        else:
            checkpoint.is_durable.set()
        return checkpoint

    def _measure(self) -> None:
        if time.monotonic() < self._measured_at + MEASURED_EVERY:
            return
        self._measured_at = time.monotonic()
        owned = self._partitions.values()
        PAIRS.set(sum(partition.pair_count for partition in owned))
        FULLEST_PARTITION.set(
            max((partition.pair_count / self._ownership.settings.max_pairs for partition in owned), default=0.0)
        )
        BASELINE_SAMPLES.set(sum(partition.held_samples for partition in owned))

    # Idle time

    def _confirm_ends(self) -> None:
        """Idle time passes where the broker says that nothing stands behind what was read."""
        at_end = [place for place, partition in self._partitions.items() if partition.is_at_end]
        asked, ends = self._end_watch.ends(at_end)
        for place in at_end:
            if ends.get(place) == self._membership.read_up.get(place, -1):
                self._partitions[place].idleness.confirm(asked)

    def _let_ticks_pass(self) -> None:
        """What only a clock or operators can tell: noted durably first, so that a replay sees it at the same place."""
        due = {str(each.name): tick for each in self._partitions.values() if (tick := self._due_tick(each))}
        # Time may pass later where there is much to write; what operators said may not.
        is_told = any(tick.instructions is not None for tick in due.values())
        if not due or not (self._writer.is_idle or (is_told and not self._writer.is_full)):
            return
        checkpoint = self._checkpoint(due)
        if not self._hold_until_durable(checkpoint):
            return  # the partition ends here; if the tick was noted, its next owner lets it pass
        for partition in self._partitions.values():
            tick = checkpoint.ticks.get(str(partition.name))
            if tick is not None and tick.number and not partition.is_lost:
                partition.tick(tick)

    def _due_tick(self, partition: OwnedPartition) -> Tick | None:
        return None if partition.is_lost else partition.due_tick(self._instructions.newest)

    def _hold_until_durable(self, checkpoint: Checkpoint) -> bool:
        """Take no message until the checkpoint is durable, yet stay in the group; False if that is not to be."""
        if checkpoint.is_durable.wait(TICK_SECONDS):
            return True
        self._membership.pause(paused=True)
        while not checkpoint.is_durable.wait(0.5):
            if self._stop.is_set() or self._writer.failure is not None:
                return False
            for place, messages in self._membership.read(1, wait=0.0)[0].items():
                self._membership.reopen(place, messages[0].offset())
        return True
