"""Which anomalies are one incident: those of a service that overlap in time.

Linking is a function of the anomalies alone. Episodes only ever grow, so incidents only ever grow together; whatever
the order in which partitions write, and however often they replay, the same groups with the same ids come out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from django.db import connection
from django.db.models import Case, Count, F, IntegerField, Max, Min, Q, UUIDField, Value, When, Window
from django.db.models.functions import RowNumber

from anomalies.detection.verdicts import EPISODE_NAMESPACE
from anomalies.models import SEVERITY_RANK, Anomaly, Incident, State, Status
from baselines.batches import batched

# What one cause does to a service shows in its metrics one after the other: an error burst within seconds, a shift
# of latency after some dozens of calls, a rate once its minute has closed. Two minutes cover the slowest of them.
SLACK = timedelta(seconds=120)

ROWS_PER_STATEMENT = 500
SERVICES_PER_STATEMENT = 100
LOCK_CLASS = 0x1C1D
LOCK_STRIPES = 64
_SUMMARY = ["service", "merged_into", "first_seen", "last_seen"]
_SUMMARY += ["title", "type", "severity", "state", "status", "anomaly_count"]
RANK = Case(
    *(When(severity=severity, then=Value(rank)) for severity, rank in SEVERITY_RANK.items()),
    default=Value(0),
    output_field=IntegerField(),
)


class Span(NamedTuple):
    """The time that an incident covers; compares by its beginning."""

    first_seen: datetime
    incident: UUID
    last_seen: datetime


def incident_id(anomaly_id: UUID) -> UUID:
    """The incident that an anomaly makes when it joins no older one."""
    return uuid5(EPISODE_NAMESPACE, f"incident|{anomaly_id}")


def homes(spans: Iterable[Span]) -> dict[UUID, UUID]:
    """To each incident the one it is part of: the first of those that it overlaps with, directly or through others."""
    found: dict[UUID, UUID] = {}
    home, end = None, None
    for span in sorted(spans):
        if home is None or end is None or span.first_seen > end + SLACK:
            home, end = span.incident, span.last_seen
        found[span.incident] = home
        end = max(end, span.last_seen)
    return found


def lock(services: Iterable[int]) -> None:
    """Let nobody else link or summarise incidents of these services until the current transaction ends.

    Two writers of one service would each miss what the other has not committed yet. Always taken in one order and
    before any row of an anomaly, and for a bounded number of groups of services, as PostgreSQL's table of locks is
    bounded too. SQLite has one writer anyway.
    """
    stripes = sorted({service % LOCK_STRIPES for service in services})
    if not stripes or connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        statement = "SELECT pg_advisory_xact_lock(%s, stripe) FROM unnest(%s::int[]) AS stripe"
        cursor.execute(statement, [LOCK_CLASS, stripes])


def link(anomalies: Sequence[Anomaly]) -> set[UUID]:
    """Set the incident of each anomaly that is about to be written, and merge the incidents that these connect.

    Returns the incidents that must be summarised once the anomalies are written: rows of new ones are made there.
    To be called under `lock`.
    """
    by_service: defaultdict[int, list[Span]] = defaultdict(list)
    for anomaly in anomalies:
        span = Span(anomaly.first_seen, incident_id(anomaly.id), anomaly.last_seen)
        by_service[anomaly.service_id].append(span)
    known = _spans_near(by_service)
    home: dict[UUID, UUID] = {}
    for service, spans in by_service.items():
        home |= homes([*spans, *known.get(service, ())])
    _merge({span.incident: home[span.incident] for spans in known.values() for span in spans})
    for anomaly in anomalies:
        anomaly.incident_id = home[incident_id(anomaly.id)]
    return {anomaly.incident_id for anomaly in anomalies}


def _spans_near(by_service: Mapping[int, Sequence[Span]]) -> dict[int, list[Span]]:
    """The current incidents that may overlap with any of the spans, by service."""
    found: defaultdict[int, list[Span]] = defaultdict(list)
    for some in batched(sorted(by_service.items()), SERVICES_PER_STATEMENT):
        near = Q()
        for service, spans in some:
            earliest = min(span.first_seen for span in spans) - SLACK
            latest = max(span.last_seen for span in spans) + SLACK
            near |= Q(service=service, last_seen__gte=earliest, first_seen__lte=latest)
        rows = Incident.objects.current().filter(near).order_by()
        for service, *span in rows.values_list("service_id", "first_seen", "id", "last_seen"):
            found[service].append(Span(*span))
    return found


def _merge(home: Mapping[UUID, UUID]) -> None:
    """Move the anomalies of incidents that are part of another one there, and remember where they went."""
    moved = sorted((incident, to) for incident, to in home.items() if incident != to)
    for some in batched(moved, ROWS_PER_STATEMENT // 2):
        former = [incident for incident, _ in some]
        Anomaly.objects.filter(incident__in=former).update(incident=_new_home("incident", some))
        Incident.objects.filter(merged_into__in=former).update(merged_into=_new_home("merged_into", some))
        Incident.objects.filter(id__in=former).update(merged_into=_new_home("id", some), anomaly_count=0)


def _new_home(column: str, moved: Iterable[tuple[UUID, UUID]]) -> Case:
    moves = (When(**{column: incident}, then=Value(to, UUIDField())) for incident, to in moved)
    return Case(*moves, output_field=UUIDField())


def summarise(incidents: Collection[UUID]) -> None:
    """Write the rows of these incidents anew from their anomalies. To be called under `lock`."""
    for some in batched(sorted(incidents), ROWS_PER_STATEMENT):
        strongest = {anomaly.incident_id: anomaly for anomaly in _strongest(some)}
        rows = [_incident(strongest[total["incident"]], total) for total in _totals(some)]
        Incident.objects.bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=_SUMMARY)


def _strongest(incidents: Sequence[UUID]) -> Iterable[Anomaly]:
    place = Window(
        RowNumber(), partition_by=[F("incident")], order_by=[RANK.desc(), F("score").desc(), "first_seen", "id"]
    )
    members = Anomaly.objects.filter(incident__in=incidents).order_by().values("id").annotate(place=place)
    # By their ids first: rows in full are too wide to sort.
    first = list(members.filter(place=1).values_list("id", flat=True))
    return Anomaly.objects.filter(id__in=first).select_related("service").order_by()


def _totals(incidents: Sequence[UUID]) -> Iterable[dict[str, Any]]:
    return (
        Anomaly.objects.filter(incident__in=incidents)
        .order_by()
        .values("incident")
        .annotate(
            anomaly_count=Count("id"),
            begin=Min("first_seen"),
            end=Max("last_seen"),
            active=Count("id", filter=Q(state=State.ACTIVE)),
            adopted=Count("id", filter=Q(state=State.ADOPTED)),
            open=Count("id", filter=Q(status=Status.OPEN)),
            acknowledged=Count("id", filter=Q(status=Status.ACKNOWLEDGED)),
        )
    )


def _incident(strongest: Anomaly, total: Mapping[str, Any]) -> Incident:
    count = total["anomaly_count"]
    return Incident(
        id=total["incident"],
        service=strongest.service,
        first_seen=total["begin"],
        last_seen=total["end"],
        title=strongest.title + (f" and {count - 1} more" if count > 1 else ""),
        type=strongest.type,
        severity=strongest.severity,
        state=_state(total),
        status=_status(total),
        anomaly_count=count,
    )


def _state(total: Mapping[str, Any]) -> State:
    if total["active"]:
        return State.ACTIVE
    return State.ADOPTED if total["adopted"] == total["anomaly_count"] else State.ENDED


def _status(total: Mapping[str, Any]) -> Status:
    if total["open"]:
        return Status.OPEN
    return Status.ACKNOWLEDGED if total["acknowledged"] else Status.RESOLVED
