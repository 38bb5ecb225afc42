"""Taking a partition over: its state from Redis, else from the database, else begun from what was normal before."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import structlog
from django.utils import timezone

from anomalies.detection import loading, saving
from anomalies.detection.engine import Engine
from anomalies.detection.instructions import NO_INSTRUCTIONS, Instructions
from anomalies.detection.obedience import take_up
from anomalies.detection.settings import CLASSIC, DetectionSettings
from anomalies.record import end_abandoned
from baselines import checkpoints
from baselines.stats import codec
from baselines.stats.codec import BrokenState
from baselines.store import Holding, Image, PartitionName, PartitionStore, StoreUnavailable
from ingestion.formats.validation import Limits
from ingestion.partition import LAST_TICK, OwnedPartition
from ingestion.partitioner import partition_of
from ingestion.recent import RecentIds

log = structlog.get_logger(__name__)


def detection_settings(detection: Any) -> DetectionSettings:
    """The engine's settings from the configuration's section `detection`."""
    return DetectionSettings(
        mode=detection.mode,
        zscore_threshold=detection.zscore.effective_threshold,
        iqr_multiplier=detection.iqr.multiplier,
        mad_threshold=detection.mad.threshold,
        cusum_threshold=detection.cusum.threshold,
        cusum_drift=detection.cusum.drift,
        metrics={name: tuple(detection.metrics_of(name)) for name in CLASSIC},
        window=detection.baseline.window_size,
        min_samples=detection.baseline.min_samples,
        refresh_ms=int(detection.baseline.update_interval_secs * 1000),
        quiet_ms=int(detection.quiet_seconds * 1000),
        lateness_ms=int(detection.minute_lateness_seconds * 1000),
        max_pairs=detection.max_series,
        max_novelty_series=detection.max_novelty_series,
        enabled=detection.calibrated_detectors,
        false_alarms_per_100k=detection.false_alarms_per_100k,
        sensitivity=detection.sensitivity,
        min_deviation=detection.min_deviation.model_dump(),
    )


@dataclass
class Ownership:
    """Opens partitions for the detect role."""

    store: PartitionStore
    settings: DetectionSettings
    limits: Limits
    dedup_window: int

    def open(
        self, name: PartitionName, first_offset: int, partitions: int, instructions: Instructions | None = None
    ) -> OwnedPartition:
        """Take a partition over. `first_offset` is where it begins if nobody has a state of it, under `instructions`.

        Raises what the database raises when it cannot be asked: without it nobody can say what is known already.
        """
        stored, holding = self._taken_over(name)
        persisted = checkpoints.load_checkpoint(name)
        # A Redis that was restored from an old backup is behind what the database knows.
        candidates = [image for image in (stored, persisted) if image is not None]
        for image in sorted(candidates, key=lambda image: image.offset, reverse=True):
            try:
                partition = self._restore(image)
            except BrokenState as error:
                log.error("state_broken", partition=str(name), offset=image.offset, error=str(error))
                continue
            self._hold(partition, image, holding if image is stored else None)
            return partition
        return self._begin(name, first_offset, partitions, instructions or NO_INSTRUCTIONS)

    def _taken_over(self, name: PartitionName) -> tuple[Image | None, Holding | None]:
        try:
            return self.store.take_over(name) or (None, None)
        except StoreUnavailable as error:
            log.warning("state_store_unavailable", partition=str(name), error=str(error))
        except BrokenState as error:
            log.error("state_broken", partition=str(name), error=str(error))
        return None, None

    def _restore(self, image: Image) -> OwnedPartition:
        engine = Engine(self.settings, image.name.topic_id, image.name.partition)
        writer = loading.load(engine, image.pieces) if codec.SCHEMA in image.pieces else saving.StateWriter(engine)
        recent = RecentIds(self.dedup_window)
        recent.load(image.pieces)
        last_tick = int(image.pieces.get(LAST_TICK, b"0"))
        ticks = deque(checkpoints.ticks_after(image.name, image.offset, last_tick))
        partition = OwnedPartition(
            image.name, engine, writer, recent, self.limits, image.offset, ticks=ticks, last_tick=last_tick
        )
        partition.replay_due_ticks()
        end_abandoned(
            image.name.topic_id, image.name.partition, engine.open_episode_ids(), image.offset, timezone.now()
        )
        return partition

    def _begin(
        self, name: PartitionName, first_offset: int, partitions: int, instructions: Instructions
    ) -> OwnedPartition:
        """A partition without a state: its series begin with the baselines they had elsewhere, if any."""
        engine = Engine(self.settings, name.topic_id, name.partition)
        take_up(engine, instructions)
        for image in checkpoints.former_images(name):
            try:
                known = codec.pairs_of(image.pieces)
                here = [pair for pair in known if partition_of(pair.kafka_key, partitions) == name.partition]
                loading.seed(engine, image.pieces, here)
            except BrokenState as error:
                log.error("state_broken", partition=str(image.name), error=str(error))
        writer, recent = saving.StateWriter(engine), RecentIds(self.dedup_window)
        partition = OwnedPartition(name, engine, writer, recent, self.limits, first_offset)
        image = partition.image(partition.drain())
        # What a replay has to begin with must be known even if Redis forgets before the first persist.
        checkpoints.persist(image, timezone.now())
        self._hold(partition, image, None)
        return partition

    def _hold(self, partition: OwnedPartition, image: Image, holding: Holding | None) -> None:
        """Hold the state in Redis: the one that was taken over, else `image` in its place."""
        try:
            partition.holding = holding or self.store.replace(image)
        except StoreUnavailable as error:
            log.warning("state_store_unavailable", partition=str(image.name), error=str(error))
            partition.is_whole_wanted = True

    def forget_former(self, name: PartitionName) -> None:
        """Drop the states of former creations of a topic; the database keeps what is worth keeping of them."""
        try:
            for other in list(self.store.names()):
                if other.topic == name.topic and other.topic_id != name.topic_id:
                    self.store.drop(other)
        except StoreUnavailable as error:
            log.warning("former_states_kept", error=str(error))
