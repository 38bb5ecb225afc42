"""What all limits have in common that a beat watches: who looks, what an episode of theirs is, how orphans end.

Where a limit stands beyond is in its anomalies and nowhere else. Anomalies of one kind of limit have a topic of their
own, in which each limit is a partition and each minute an offset; so they are extended, ended and guarded as all are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Model, QuerySet

from alerting import outbox
from anomalies.detection.verdicts import Episode
from anomalies.models import Anomaly, State
from anomalies.record import record_episodes
from baselines.models import Service
from baselines.stats.series import SeriesKey

Row = TypeVar("Row", bound=Model)
End = Callable[[int, list[Anomaly]], int]
"""Ends anomalies of the limit of that id; returns how many."""


def claimed(rows: QuerySet[Row], pk: int) -> Row | None:
    """The row, locked until the transaction ends; None where it is gone or somebody else looks at it."""
    chosen = rows.filter(pk=pk)
    if connection.features.has_select_for_update_skip_locked:
        chosen = chosen.select_for_update(skip_locked=True, of=("self",))
    return chosen.first()


def end_unwatched(topic_id: UUID, enabled: QuerySet[Any], end: End) -> int:
    """End what belongs to limits that are disabled or deleted: nobody would ever end it."""
    orphans: defaultdict[int, list[Anomaly]] = defaultdict(list)
    # In one statement: what sees an anomaly sees the limit that made it, too.
    active = Anomaly.objects.filter(topic_id=topic_id, state=State.ACTIVE)
    for anomaly in active.exclude(partition__in=enabled.order_by().values("pk")).select_related("service"):
        orphans[anomaly.partition].append(anomaly)
    ended = 0
    for limit_id, anomalies in sorted(orphans.items()):
        with transaction.atomic():
            ended += end(limit_id, anomalies)
    return ended


def announce(
    episodes: Iterable[Episode],
    topic_id: UUID,
    limit_id: int,
    services: Mapping[str, Service],
    now: datetime,
    details: Mapping[UUID, dict[str, Any]],
    *,
    ends_now: bool = False,
) -> int:
    """Record episodes and tell of what changed; how much did. `ends_now`: an end is news, however old its episode."""
    changes = record_episodes(episodes, topic_id, limit_id, services, now, details)
    if ends_now:
        changes = [replace(change, occurred_at=now) if change.kind == "ended" else change for change in changes]
    if outbox.announce(changes, now):
        outbox.wake()
    return len(changes)


def episode(
    identity: UUID,
    key: SeriesKey,
    direction: str,
    detector: str,
    *,
    value: float,
    score: float,
    severity: str,
    lower: float | None,
    upper: float | None,
    occurrences: int,
    seen_ms: tuple[int, int],
    offsets: tuple[int, int],
    is_active: bool,
) -> Episode:
    """What is beyond a limit, as the engine would tell of it; `seen_ms` and `offsets` are the first and the last."""
    return Episode(
        id=identity,
        key=key,
        direction=direction,
        detector=detector,
        detectors={detector: score},
        value=value,
        score=score,
        mean=None,
        stddev=None,
        median=None,
        lower=lower,
        upper=upper,
        z_score=None,
        severity=severity,
        confidence=1.0,
        occurrences=occurrences,
        first_seen_ms=seen_ms[0],
        last_seen_ms=seen_ms[1],
        first_offset=offsets[0],
        last_offset=offsets[1],
        state=State.ACTIVE if is_active else State.ENDED,
        sample_trace_ids=(),
    )
