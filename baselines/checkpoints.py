"""Partition states in the relational database: what a restart without Redis begins with."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from baselines.batches import batched
from baselines.models import BaselineSnapshot, PartitionBlob, PartitionCheckpoint, PartitionTick
from baselines.stats.codec import Baseline, read_baselines
from baselines.store import Image, PartitionName

ROWS_PER_STATEMENT = 500
_STATISTICS = ("samples", "learned", "mean", "stddev", "median", "mad", "q1", "q3", "p95", "p99", "minimum", "maximum")


def load_checkpoint(name: PartitionName) -> Image | None:
    """The persisted state of a partition, or None."""
    checkpoint = PartitionCheckpoint.objects.filter(topic_id=name.topic_id, partition=name.partition).first()
    return None if checkpoint is None else _image(checkpoint)


def former_images(name: PartitionName) -> Iterator[Image]:
    """Persisted states of the same topic, the newest first: of its other partitions, and of former creations of it."""
    others = PartitionCheckpoint.objects.filter(topic=name.topic).exclude(
        topic_id=name.topic_id, partition=name.partition
    )
    for checkpoint in others.order_by("-updated_at"):
        yield _image(checkpoint)


def _image(checkpoint: PartitionCheckpoint) -> Image:
    name = PartitionName(checkpoint.topic, checkpoint.topic_id, checkpoint.partition)
    pieces = {blob.name: bytes(blob.value) for blob in checkpoint.blobs.all()}
    return Image(name, checkpoint.offset, pieces)


@transaction.atomic
def persist(image: Image, now: datetime) -> int:
    """Write what changed of a state since it was last persisted; returns how many pieces that were.

    One transaction: the offset and all it covers, or nothing. An image older than what is there is left alone.
    """
    checkpoint, _ = PartitionCheckpoint.objects.select_for_update().get_or_create(
        topic_id=image.name.topic_id,
        partition=image.name.partition,
        defaults={"topic": image.name.topic, "offset": -1, "updated_at": now},
    )
    if image.offset < checkpoint.offset:
        return 0
    changed = _write_pieces(checkpoint, image.pieces)
    checkpoint.offset, checkpoint.updated_at = image.offset, now
    checkpoint.save(update_fields=["offset", "updated_at"])
    ticks_of(image.name).filter(offset__lt=image.offset).delete()
    if changed:
        _write_snapshots(image, now)
    return changed


class Tick(NamedTuple):
    """What happens before the event at `offset`; see PartitionTick. `number` orders them, 0 while it is not durable."""

    offset: int
    now_ms: int | None
    instructions: bytes | None = None
    number: int = 0


def ticks_of(name: PartitionName) -> QuerySet[PartitionTick]:
    """The ticks of a partition, in the order in which they were let pass."""
    return PartitionTick.objects.filter(topic_id=name.topic_id, partition=name.partition)


def ticks_after(name: PartitionName, offset: int, number: int) -> list[Tick]:
    """The ticks that a state lacks which covers all below `offset` and the ticks up to `number`."""
    rows = ticks_of(name).filter(offset__gte=offset, id__gt=number)
    return [
        Tick(at, now_ms, None if instructions is None else bytes(instructions), key)
        for at, now_ms, instructions, key in rows.values_list("offset", "now_ms", "instructions", "id")
    ]


def record_tick(name: PartitionName, tick: Tick) -> Tick:
    """Make a tick durable; returns it with its number."""
    row = PartitionTick.objects.create(
        topic_id=name.topic_id,
        partition=name.partition,
        offset=tick.offset,
        now_ms=tick.now_ms,
        instructions=tick.instructions,
    )
    return tick._replace(number=row.pk)


def _write_pieces(checkpoint: PartitionCheckpoint, pieces: dict[str, bytes]) -> int:
    stored = dict(checkpoint.blobs.values_list("name", "checksum"))
    checksums = {name: zlib.crc32(piece) for name, piece in pieces.items()}
    changed = [name for name, checksum in checksums.items() if stored.get(name) != checksum]
    for names in batched(changed, ROWS_PER_STATEMENT):
        PartitionBlob.objects.bulk_create(
            [
                PartitionBlob(checkpoint=checkpoint, name=name, value=pieces[name], checksum=checksums[name])
                for name in names
            ],
            update_conflicts=True,
            unique_fields=["checkpoint", "name"],
            update_fields=["value", "checksum"],
        )
    for names in batched(stored.keys() - pieces.keys(), ROWS_PER_STATEMENT):
        checkpoint.blobs.filter(name__in=names).delete()
    return len(changed)


def _write_snapshots(image: Image, now: datetime) -> None:
    """One row per series for people and programs to read, under the topic's name: a new creation takes them over."""
    rows = [_snapshot(image, baseline, now) for baseline in read_baselines(image.pieces)]
    for some in batched(rows, ROWS_PER_STATEMENT):
        BaselineSnapshot.objects.bulk_create(
            some,
            update_conflicts=True,
            unique_fields=["service", "model", "metric", "topic", "partition"],
            update_fields=["topic_id", *_STATISTICS, "offset", "last_event_at", "updated_at"],
        )


def _snapshot(image: Image, baseline: Baseline, now: datetime) -> BaselineSnapshot:
    return BaselineSnapshot(
        topic=image.name.topic,
        topic_id=image.name.topic_id,
        partition=image.name.partition,
        service=baseline.key.service,
        model=baseline.key.model,
        metric=baseline.key.metric,
        offset=image.offset,
        last_event_at=datetime.fromtimestamp(max(baseline.watermark_ms, 0) / 1000, UTC),
        updated_at=now,
        **{name: baseline.record[name].item() for name in _STATISTICS},
    )
