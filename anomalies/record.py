"""From episodes and minutes of the engine to rows: absolute values, upserted, so that a replay changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from anomalies import incidents, metrics
from anomalies.detection.facts import facts
from anomalies.detection.verdicts import Episode, Minute
from anomalies.models import SEVERITY_RANK, Anomaly, State
from baselines import rollup
from baselines.batches import batched
from baselines.models import Service, TelemetryMinute

ROWS_PER_STATEMENT = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What the machine says anew each time; what people said stays.
_MACHINE_FIELDS = [
    "detector",
    "detectors",
    "value",
    "z_score",
    "score",
    "severity",
    "confidence",
    "occurrences",
    "last_seen",
    "last_offset",
    "sample_trace_ids",
    "dimensions",
    "details",
    "state",
    "updated_at",
]
_KEPT = ("id", "severity", "state", "last_offset", "occurrences", "dimensions", "details")
_MINUTE_KEY = ["service", "model", "minute", "topic_id", "partition", "first_offset"]


@dataclass(frozen=True)
class Change:
    """Something in the life of an anomaly that people may want to hear of: opened, escalated or ended."""

    anomaly_id: UUID
    kind: str
    severity: str
    occurred_at: datetime


def moment(milliseconds: int) -> datetime:
    """Milliseconds since 1970 as an aware datetime, exactly."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def record_episodes(
    episodes: Iterable[Episode],
    topic_id: UUID,
    partition: int,
    services: Mapping[str, Service],
    now: datetime,
    details: Mapping[UUID, dict[str, Any]] | None = None,
) -> list[Change]:
    """Upsert episodes of one partition within the caller's transaction; returns what changed.

    An episode that the row is ahead of (a replay, or a consumer that lost its partition) is passed over.
    Episodes of a service that overlap in time become one incident. `details`: what else is known of an episode.
    """
    newest = {episode.id: episode for episode in episodes}
    incidents.lock(services[episode.key.service].pk for episode in newest.values())
    known = _known(newest)
    fresh = [episode for episode in newest.values() if _is_news(episode, known.get(episode.id))]
    rows = [_anomaly(episode, topic_id, partition, services, now) for episode in fresh]
    for anomaly in rows:
        former = known.get(anomaly.id)
        anomaly.details = (details or {}).get(anomaly.id, {})
        if former is not None:
            _keep(anomaly, former)
    linked = incidents.link(rows)
    Anomaly.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=_MACHINE_FIELDS,
        batch_size=ROWS_PER_STATEMENT,
    )
    incidents.summarise(linked)
    changes = [change for anomaly in rows for change in _changes(anomaly, known.get(anomaly.id))]
    opened = [(anomaly.severity, anomaly.detector) for anomaly in rows if anomaly.id not in known]
    transaction.on_commit(lambda: metrics.count_changes(opened, [change.kind for change in changes]))
    return changes


def _keep(anomaly: Anomaly, former: Mapping[str, Any]) -> None:
    """Take back nothing that was told: after a state was lost, its episodes begin anew and know less."""
    if SEVERITY_RANK[former["severity"]] > SEVERITY_RANK[anomaly.severity]:
        anomaly.severity = former["severity"]
    anomaly.dimensions = anomaly.dimensions or former["dimensions"]
    anomaly.details = anomaly.details or former["details"]


def _known(episodes: Mapping[UUID, Episode]) -> dict[UUID, dict[str, Any]]:
    known: dict[UUID, dict[str, Any]] = {}
    for ids in batched(sorted(episodes), ROWS_PER_STATEMENT):
        rows = Anomaly.objects.select_for_update(of=("self",)).filter(id__in=ids)
        known |= {row["id"]: row for row in rows.order_by("id").values(*_KEPT)}
    return known


def _is_news(episode: Episode, former: Mapping[str, Any] | None) -> bool:
    if former is None:
        return True
    # What time tells, a silence above all, goes on without another event.
    place, known = (episode.last_offset, episode.occurrences), (former["last_offset"], former["occurrences"])
    return place > known or (place == known and former["state"] == State.ACTIVE != episode.state)


def _anomaly(
    episode: Episode, topic_id: UUID, partition: int, services: Mapping[str, Service], now: datetime
) -> Anomaly:
    return Anomaly(
        **facts(episode),
        service=services[episode.key.service],
        value=episode.value,
        baseline_mean=episode.mean,
        baseline_stddev=episode.stddev,
        baseline_median=episode.median,
        z_score=episode.z_score,
        score=episode.score,
        confidence=episode.confidence,
        first_seen=moment(episode.first_seen_ms),
        last_seen=moment(episode.last_seen_ms),
        sample_trace_ids=list(episode.sample_trace_ids),
        topic_id=topic_id,
        partition=partition,
        first_offset=episode.first_offset,
        last_offset=episode.last_offset,
        updated_at=now,
    )


def _changes(anomaly: Anomaly, former: Mapping[str, Any] | None) -> Iterable[Change]:
    if former is None:
        yield Change(anomaly.id, "opened", anomaly.severity, anomaly.last_seen)
    elif SEVERITY_RANK[anomaly.severity] > SEVERITY_RANK[former["severity"]]:
        yield Change(anomaly.id, "escalated", anomaly.severity, anomaly.last_seen)
    if anomaly.state != State.ACTIVE and (former is None or former["state"] == State.ACTIVE):
        yield Change(anomaly.id, "ended", anomaly.severity, anomaly.last_seen)


def record_minutes(minutes: Iterable[Minute], topic_id: UUID, partition: int) -> None:
    """Upsert closed minutes of one partition within the caller's transaction.

    Values are absolute and a function of the events, so writing a minute again writes the same.
    """
    rows = [_minute(minute, topic_id, partition) for minute in minutes]
    unique = {tuple(getattr(row, name) for name in _MINUTE_KEY): row for row in rows}
    written = [field.name for field in TelemetryMinute._meta.concrete_fields if not field.primary_key]
    TelemetryMinute.objects.bulk_create(
        unique.values(),
        update_conflicts=True,
        unique_fields=_MINUTE_KEY,
        update_fields=[name for name in written if name not in _MINUTE_KEY],
        batch_size=ROWS_PER_STATEMENT,
    )
    rollup.mark_due(unique.values())


def _minute(minute: Minute, topic_id: UUID, partition: int) -> TelemetryMinute:
    return TelemetryMinute(
        topic_id=topic_id,
        partition=partition,
        first_offset=minute.first_offset,
        last_offset=minute.last_offset,
        service=minute.pair.service,
        model=minute.pair.model,
        minute=moment(minute.minute_ms),
        count=minute.count,
        errors=minute.errors,
        cost_usd=minute.cost_usd,
        prompt_tokens=minute.prompt_tokens,
        completion_tokens=minute.completion_tokens,
        total_tokens=minute.total_tokens,
        unpriced_calls=minute.unpriced_calls,
        unpriced_tokens=minute.unpriced_tokens,
        sketches=minute.sketches,
    )


@transaction.atomic
def end_abandoned(topic_id: UUID, partition: int, open_ids: Iterable[UUID], next_offset: int, now: datetime) -> int:
    """End the active episodes of a partition that its state, which covers all below `next_offset`, does not know.

    Their owner's state was lost with them; nobody would ever end them. Those that begin at or behind `next_offset`
    are about to be replayed. Returns how many there were.
    """
    orphans = Anomaly.objects.filter(
        topic_id=topic_id, partition=partition, state=State.ACTIVE, first_offset__lt=next_offset
    ).exclude(id__in=list(open_ids))
    found = list(orphans.values_list("id", "service_id"))
    incidents.lock(service for _, service in found)
    chosen = Anomaly.objects.filter(id__in=[anomaly for anomaly, _ in found])
    ended = chosen.update(state=State.ENDED, updated_at=now)
    incidents.summarise(set(chosen.values_list("incident_id", flat=True)))
    transaction.on_commit(lambda: metrics.ANOMALIES_ORPHANED.inc(ended))
    return ended
