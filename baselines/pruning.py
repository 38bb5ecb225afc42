"""Deleting what is older than it is to be kept: a batch at a time, each in a short transaction of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Max, OuterRef, QuerySet, Subquery

from baselines import rollup
from baselines.models import DueHour, PartitionCheckpoint, PartitionTick, TelemetryHour

ROWS_AT_ONCE = 2000


def delete_in_batches(rows: QuerySet[Any], size: int = ROWS_AT_ONCE) -> int:
    """Delete `rows`, in their order, with all that belongs to them; returns how many of `rows` there were.

    For rows that nobody changes any more: what is chosen is deleted.
    """
    deleted = 0
    while True:
        with transaction.atomic(using=rows.db):
            batch = list(rows.values_list("pk", flat=True)[:size])
            if batch:
                rows.model._base_manager.using(rows.db).filter(pk__in=batch).delete()
        deleted += len(batch)
        if len(batch) < size:
            return deleted


def prune_minutes(before: datetime) -> int:
    """Minutes of hours that ended by `before`; the hours keep what they add up to."""
    return rollup.finish(before)


def prune_hours(before: datetime) -> int:
    """Hours older than `before`, with what is left of their minutes."""
    rollup.finish(before)
    DueHour.objects.filter(hour__lt=before).delete()
    return delete_in_batches(TelemetryHour.objects.filter(hour__lt=before).order_by("hour"))


def prune_ticks() -> int:
    """Idle ticks that a checkpoint covers, and those of former makings of a topic.

    A checkpoint deletes its own; these are what a consumer noted afterwards or never came back for.
    """
    newest = PartitionCheckpoint.objects.filter(topic_id=OuterRef("topic_id"), partition=OuterRef("partition"))
    ticks = PartitionTick.objects.annotate(covered=Subquery(newest.values("offset")[:1])).order_by("pk")
    deleted = delete_in_batches(ticks.filter(offset__lt=F("covered")))
    for topic_id in _former_topics():
        deleted += delete_in_batches(PartitionTick.objects.filter(topic_id=topic_id).order_by("pk"))
    return deleted


def _former_topics() -> list[Any]:
    """Ids of topics that were made anew since: nothing is ever read of them again."""
    latest: dict[str, tuple[datetime, Any]] = {}
    former = []
    rows = PartitionCheckpoint.objects.order_by().values("topic", "topic_id").annotate(at=Max("updated_at"))
    for row in sorted(rows, key=lambda row: row["at"], reverse=True):
        if row["topic"] in latest:
            former.append(row["topic_id"])
        latest.setdefault(row["topic"], (row["at"], row["topic_id"]))
    return former
