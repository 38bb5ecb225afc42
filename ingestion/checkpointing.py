"""Making work durable, in the one order in which a crash between any two steps loses and doubles nothing:

    dead letters and detections to Kafka → anomalies, minutes and alerts to the database → state with its offset to
    Redis → the group's offset to Kafka.

All of it happens in one thread beside the one that scores.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
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
    transaction,
)
from django.utils import timezone

from alerting import outbox
from anomalies import incidents
from anomalies.record import Change, moment, record_episodes, record_minutes
from baselines import catalogue, checkpoints
from baselines.checkpoints import Tick
from baselines.models import Service
from baselines.stats.series import Pair
from baselines.store import Fenced, Image, PartitionStore, StoreUnavailable, Vanished
from ingestion import failpoints, metrics
from ingestion.dead_letters import dead_letter, headers
from ingestion.formats.validation import Limits
from ingestion.kafka import KeyedProducer, NotDelivered
from ingestion.membership import committable
from ingestion.partition import OwnedPartition, Work
from ingestion.writing import FIRST_DELAY, WritingThread

log = structlog.get_logger(__name__)

QUEUED = 2
ACK_SECONDS = 30.0
# InternalError is what a server says that takes no writes, such as the standby of a cluster that is switching over.
DATABASE_TROUBLE = (OperationalError, InterfaceError, InternalError)


@dataclass
class Checkpoint:
    """The work of some partitions, up to an offset of each; `is_durable` is set once all of it is written."""

    works: list[Work]
    ticks: dict[str, Tick] = field(default_factory=dict)  # by name of the partition; numbered once they are durable
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
        outdated = (earlier.outdated - self.pieces.keys()) | self.outdated
        pieces = {name: piece for name, piece in (earlier.pieces | self.pieces).items() if name not in outdated}
        return Unsaved(pieces, outdated, earlier.is_whole)


class CheckpointWriter(WritingThread[Checkpoint]):
    """Writes checkpoints in the order they were submitted; what is not durable in time is replayed."""

    def __init__(
        self,
        kafka: Any,
        store: PartitionStore,
        commit: Callable[[list[TopicPartition]], None],
        limits: Limits,
    ) -> None:
        super().__init__("checkpoint-writer", QUEUED)
        self._kafka = kafka
        self._store = store
        self._commit = commit
        self._limits = limits
        self._producer = KeyedProducer(kafka)
        # By partition as owned, not by name: when a partition comes back, what was not saved before is stale.
        self._unsaved: WeakKeyDictionary[OwnedPartition, Unsaved] = WeakKeyDictionary()
        self._services: dict[str, Service] = {}

    def stop(self, deadline: float) -> None:
        super().stop(deadline)
        self._producer.close(1.0)

    def write(self, checkpoint: Checkpoint) -> None:
        with metrics.CHECKPOINT_SECONDS.time():
            self._write(checkpoint)
        metrics.CHECKPOINTS.inc()
        metrics.LAST_CHECKPOINT.set_to_current_time()
        checkpoint.is_durable.set()

    def _write(self, checkpoint: Checkpoint) -> None:
        works = [work for work in checkpoint.works if not work.partition.is_lost]
        self._retry("kafka", self._produce, works, (NotDelivered, KafkaException, BufferError))
        failpoints.reach("produce")
        self._retry("database", self._record, works, DATABASE_TROUBLE)
        failpoints.reach("postgres")
        with metrics.STAGE_SECONDS.labels("state").time():
            kept = [work for work in works if self._flush(work)]
        failpoints.reach("redis")
        if checkpoint.ticks:
            self._retry("database", lambda works: self._record_ticks(works, checkpoint.ticks), kept, DATABASE_TROUBLE)
        self._commit_offsets(kept)
        failpoints.reach("commit")

    def _retry(
        self, what: str, step: Callable[[Any], None], argument: Any, errors: tuple[type[Exception], ...]
    ) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                with metrics.STAGE_SECONDS.labels("produce" if what == "kafka" else what).time():
                    step(argument)
            except errors as error:
                self.trouble = f"{what}: {error}"
                metrics.INGESTION_ERRORS.labels(what).inc()
                log.warning("checkpoint_delayed", waiting_for=what, error=str(error).strip(), retry_in=delay)
                close_old_connections()
            else:
                self.trouble = None
                return
            delay = self.pause(delay)

    def _produce(self, works: list[Work]) -> None:
        batch = self._producer.batch()
        for work in works:
            for key, value in work.detections:
                batch.send(self._kafka.detections_topic, value, key)
            for record, rejection in work.refused:
                value = dead_letter(
                    record, rejection, patterns=self._limits.sanitize_patterns, scrubber=self._limits.scrubber
                )
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
        capped: set[Pair] = set()
        for work in works:
            needed = {
                Pair(episode.key.service, episode.key.model): episode.last_seen_ms
                for episode in work.episodes
                if episode.key.service not in self._services
            }
            capped |= work.capped.keys()
            for pair, milliseconds in [*work.last_seen.items(), *work.capped.items(), *needed.items()]:
                seen[pair] = max(milliseconds, seen.get(pair, milliseconds))
        if seen:
            last_seen = {pair: moment(max(ms, 0)) for pair, ms in seen.items()}
            self._services |= catalogue.register(last_seen, capped, self._providers_of(works, seen))

    def _providers_of(self, works: list[Work], pairs: Iterable[Pair]) -> dict[Pair, str]:
        """Who serves each pair: as its events say, else whoever lists the model in the price table."""
        said = {pair: provider.strip().lower() for work in works for pair, provider in work.providers.items()}
        return {pair: said.get(pair) or self._limits.prices.provider_of(pair.model) for pair in pairs}

    @staticmethod
    def _record_ticks(works: list[Work], ticks: dict[str, Tick]) -> None:
        close_old_connections()
        for work in works:
            name = str(work.partition.name)
            if name in ticks:
                ticks[name] = checkpoints.record_tick(work.partition.name, ticks[name])

    def _flush(self, work: Work) -> bool:
        """Write the state of one partition; False if it belongs to somebody else now."""
        partition, name = work.partition, str(work.partition.name)
        state = Unsaved.of(work).after(self._unsaved.pop(partition, None))
        try:
            self._save(partition, work.offset, state)
        except Fenced as error:
            log.warning("partition_lost", partition=name, error=str(error))
            partition.is_lost = True
            metrics.PARTITIONS_FENCED.inc()
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
