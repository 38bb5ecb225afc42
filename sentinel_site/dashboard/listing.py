"""Incidents as the overview lists them, and the anomalies that its charts mark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef, QuerySet, Window
from django.db.models.functions import RowNumber
from django.urls import reverse

from anomalies import search, story
from anomalies.incidents import RANK
from anomalies.models import SEVERITY_RANK, Anomaly, Incident, Severity, State, Status
from baselines.stats.series import Pair
from sentinel_site.dashboard import wording
from sentinel_site.dashboard.selection import Selection

MOST_OPEN = 200
"""Of the open ones, so many of the newest are looked at; what nobody closed for ages is not what is wrong now."""
MOST_ACTIVE_SHOWN = 12
LEAST_SHOWN = 5
"""What is over gives way to the rest of the page."""
PAST_SHOWN = 8
MOST_MARKS = 200
_LASTS = timedelta(hours=6)
"""Marks of anomalies that began before the range are drawn if they began no earlier than that before it."""


@dataclass(frozen=True)
class Line:
    """An incident in a list; `anomaly` is its strongest one."""

    incident: Incident
    anomaly: Anomaly

    @property
    def url(self) -> str:
        return reverse("incident-page", args=[self.incident.pk])

    @property
    def sentence(self) -> str:
        return wording.departure(self.anomaly)

    @property
    def is_open(self) -> bool:
        return bool(self.incident.status == Status.OPEN)

    @property
    def is_active(self) -> bool:
        return bool(self.incident.state == State.ACTIVE)


@dataclass(frozen=True)
class Listing:
    """`open` are the worst of those that nobody has acknowledged, `past` the newest others of the range."""

    open: list[Line]
    past: list[Line]
    counts: dict[str, int]
    """Open ones by severity, of the newest MOST_OPEN; `active_counts` of those that still go on."""
    active_counts: dict[str, int]
    worst: dict[Pair, str]
    """By pair, the highest severity of its open anomalies."""

    @property
    def open_count(self) -> int:
        return sum(self.counts.values())

    @property
    def is_cut(self) -> bool:
        return self.open_count >= MOST_OPEN


def listing(principal: object, selection: Selection) -> Listing:
    incidents = chosen(principal, selection)
    newest = list(incidents.filter(status=Status.OPEN).order_by("-first_seen", "-id")[:MOST_OPEN])
    ranked = sorted(newest, key=_urgency)
    active = sum(row.state == State.ACTIVE for row in newest)
    shown = ranked[: min(max(active, LEAST_SHOWN), MOST_ACTIVE_SHOWN)]
    # Bounded by when they began: the index by time then ends the search, however few there are.
    past = incidents.filter(first_seen__range=(selection.start, selection.end)).exclude(status=Status.OPEN)
    latest = list(past.order_by("-first_seen", "-id")[:PAST_SHOWN])
    by_id = {line.incident.pk: line for line in lines([*shown, *latest])}
    return Listing(
        open=[by_id[row.pk] for row in shown if row.pk in by_id],
        past=[by_id[row.pk] for row in latest if row.pk in by_id],
        counts=_by_severity(newest),
        active_counts=_by_severity([row for row in newest if row.state == State.ACTIVE]),
        worst=_worst([row.pk for row in newest]),
    )


def chosen(principal: object, selection: Selection) -> QuerySet[Incident]:
    """The incidents that the filters of a page select, of any time."""
    incidents = Incident.objects.visible_to(principal).current().select_related("service")  # type: ignore[attr-defined]
    if selection.service:
        incidents = incidents.filter(service__name=selection.service)
    if selection.model:
        of_model = Anomaly.objects.filter(incident=OuterRef("pk"), model=selection.model).order_by()
        incidents = incidents.filter(Exists(of_model))
    found: QuerySet[Incident] = search.filter_incidents(incidents, selection.query, selection.end)
    return found


def marks(principal: object, selection: Selection) -> list[dict[str, Any]]:
    """Anomalies of the range as charts mark them, the newest MOST_MARKS, oldest first."""
    begun = (selection.start - _LASTS, selection.end)
    rows = Anomaly.objects.visible_to(principal).filter(first_seen__range=begun, last_seen__gte=selection.start)
    if selection.service:
        rows = rows.filter(service__name=selection.service)
    if selection.model:
        rows = rows.filter(model=selection.model)
    rows = search.filter(rows, selection.query, selection.end).select_related("service")
    return [mark(row) for row in reversed(rows.order_by("-first_seen", "-id")[:MOST_MARKS])]


def mark(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "metric": anomaly.metric,
        "from": anomaly.first_seen.timestamp(),
        "to": anomaly.last_seen.timestamp(),
        "severity": anomaly.severity,
        "title": f"{anomaly.title}: {story.quantity(anomaly.value, anomaly.metric)}",
        "url": reverse("incident-page", args=[anomaly.incident_id]),
    }


def strongest(incidents: Iterable[UUID]) -> dict[UUID, Anomaly]:
    """The strongest anomaly of each incident, with its service: one query."""
    place = Window(
        RowNumber(), partition_by=[F("incident")], order_by=[RANK.desc(), F("score").desc(), "first_seen", "id"]
    )
    members = Anomaly.objects.filter(incident__in=list(incidents)).annotate(place=place).filter(place=1)
    return {row.incident_id: row for row in members.select_related("service").order_by()}


def lines(incidents: Sequence[Incident]) -> list[Line]:
    first = strongest(row.pk for row in incidents)
    return [Line(row, first[row.pk]) for row in incidents if row.pk in first]


def _by_severity(incidents: Sequence[Incident]) -> dict[str, int]:
    return {name: sum(row.severity == name for row in incidents) for name in reversed(Severity.values)}


def _urgency(incident: Incident) -> tuple[bool, int, float]:
    """What still goes on comes first, then what is worse, then what is newer."""
    rank = SEVERITY_RANK[Severity(incident.severity)]
    return incident.state != State.ACTIVE, -rank, -incident.first_seen.timestamp()


def _worst(incidents: Sequence[UUID]) -> dict[Pair, str]:
    rows = Anomaly.objects.filter(incident__in=incidents, status=Status.OPEN).order_by()
    found = list(rows.values_list("service__name", "model", "severity").distinct())
    found.sort(key=lambda row: SEVERITY_RANK[Severity(row[2])])
    return {Pair(service, model): severity for service, model, severity in found}
