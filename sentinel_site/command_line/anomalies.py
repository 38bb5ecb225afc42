"""Anomalies in a terminal: which are meant, and how one line tells of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from anomalies import search, story
from anomalies.api.rows import newest
from anomalies.models import Anomaly
from anomalies.queries import Query

HEADERS = ("first seen", "severity", "status", "state", "what", "peak", "expected", "times", "id")


@dataclass(frozen=True)
class Operator:
    """Whoever runs the command: they see every project, as whoever reaches the database does."""

    name: str
    project_ids: Collection[int] | None = None


def chosen(query: Query, now: datetime, since: timedelta | None = None) -> QuerySet[Anomaly]:
    """The anomalies of a query that were still seen within `since`."""
    rows = search.filter(Anomaly.objects.select_related("service"), query, now)
    return rows if since is None else rows.filter(last_seen__gte=now - since)


def named(ids: Collection[UUID]) -> QuerySet[Anomaly]:
    """The anomalies of these ids, and those of the incidents of these ids. Raises LookupError for others."""
    rows = Anomaly.objects.filter(Q(pk__in=ids) | Q(incident__in=ids))
    known = {identity for pair in rows.values_list("pk", "incident_id") for identity in pair}
    if missing := [str(each) for each in ids if each not in known]:
        raise LookupError(f"there is no anomaly or incident {', '.join(missing)}")
    return rows


def cells(anomaly: Anomaly) -> tuple[object, ...]:
    """One row of the table."""
    what = f"{anomaly.metric} of {anomaly.service.name}:{anomaly.model}"
    peak = story.quantity(anomaly.value, anomaly.metric)
    about = (anomaly.severity, anomaly.status, anomaly.state, what, peak, story.band(anomaly), anomaly.occurrences)
    return (moment(anomaly.first_seen), *about, anomaly.pk)


def objects(rows: QuerySet[Anomaly], limit: int) -> list[dict[str, Any]]:
    """What the API answers for the same rows."""
    return newest(rows, limit)[0]


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
