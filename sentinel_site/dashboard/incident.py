"""All that the page of one incident shows: what happened, how bad it is, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.conf import settings
from django.http import Http404

from anomalies import story
from anomalies.api.incidents import current_id
from anomalies.circumstances import preceding
from anomalies.incidents import RANK
from anomalies.models import Anomaly, Incident, Status
from baselines.models import Annotation
from baselines.stats.series import Pair
from sentinel_site import api
from sentinel_site.dashboard import evidence, listing, wording
from sentinel_site.dashboard.next_steps import Step, step_of
from sentinel_site.dashboard.sizes import Size, size_of
from sentinel_site.dashboard.timeline import Entry, timeline

MOST_MEMBERS = 50
SIMILAR_SHOWN = 5


@dataclass(frozen=True)
class Trace:
    """A call that shows it, and where to look at it, if that is known."""

    id: str
    url: str


@dataclass(frozen=True)
class Card:
    """`anomaly` is the strongest of `members`, which are by strength."""

    incident: Incident
    anomaly: Anomaly
    members: list[Anomaly]
    size: Size | None
    change: Annotation | None
    step: Step
    traces: list[Trace]
    runbook_url: str
    timeline: list[Entry]
    similar: list[listing.Line]

    @property
    def sentence(self) -> str:
        return f"{wording.departure(self.anomaly)}."

    @property
    def change_before(self) -> str:
        """How long before it began somebody changed something."""
        return story.duration(self.anomaly.first_seen - self.change.at) if self.change else ""

    @property
    def actual(self) -> str:
        return wording.actual(self.anomaly)

    @property
    def expected(self) -> str:
        return wording.expected(self.anomaly)

    @property
    def times_usual(self) -> str:
        return wording.times_usual(self.anomaly)

    @property
    def subject(self) -> str:
        return story.SUBJECTS.get(self.anomaly.metric, self.anomaly.metric)

    @property
    def detectors(self) -> list[tuple[str, float, float]]:
        """Name, score, and the score as a share of the highest of them, the strongest first."""
        scores = self.anomaly.detectors or {self.anomaly.detector: self.anomaly.score}
        highest = max([*scores.values(), 1.0])
        return [(name, score, score / highest) for name, score in sorted(scores.items(), key=lambda each: -each[1])]

    @property
    def is_resolved(self) -> bool:
        return bool(self.incident.status == Status.RESOLVED)

    @property
    def is_open(self) -> bool:
        return bool(self.incident.status == Status.OPEN)

    @property
    def unlisted(self) -> int:
        return int(self.incident.anomaly_count) - len(self.members)


def card(principal: object, incident_id: UUID, now: datetime) -> Card:
    """The card of an incident that `principal` may see and that is part of no other; raises Http404."""
    incident = Incident.objects.visible_to(principal).select_related("service").filter(pk=incident_id).first()
    members = members_of(incident_id) if incident else []
    if incident is None or not members:
        raise Http404
    first = members[0]
    pair = Pair(first.service.name, first.model)
    seen = evidence.evidence_of(principal, [pair], first.first_seen, first.last_seen, now)[pair]
    return Card(
        incident=incident,
        anomaly=first,
        members=members,
        size=size_of(first, seen.seen(first)),
        change=preceding(first),
        step=step_of(first.type),
        traces=traces(members),
        runbook_url=runbook_of(first.service.labels),
        timeline=timeline(principal, members),
        similar=similar_to(principal, incident),
    )


def charts_of(principal: object, incident_id: UUID, now: datetime) -> list[dict[str, Any]]:
    """The charts of an incident; raises Http404."""
    if not Incident.objects.visible_to(principal).filter(pk=incident_id).exists():
        raise Http404
    members = members_of(incident_id)
    pairs = [Pair(row.service.name, row.model) for row in members]
    ends = min(row.first_seen for row in members), max(row.last_seen for row in members)
    points = api.detections({name: getattr(members[0], name) for name in ("id", "first_seen", "last_seen")}) or []
    return evidence.charts(members, evidence.evidence_of(principal, pairs, *ends, now), points)


def successor_of(principal: object, incident_id: UUID) -> UUID | None:
    """The incident that this one became part of; None if it is still one of its own. Raises Http404."""
    identity = current_id(principal, incident_id)
    return None if identity == incident_id else identity


def members_of(incident_id: UUID) -> list[Anomaly]:
    """The strongest anomalies of an incident, with their services."""
    rows = Anomaly.objects.filter(incident=incident_id).select_related("service__project")
    return list(rows.order_by(RANK.desc(), "-score", "first_seen", "id")[:MOST_MEMBERS])


def traces(members: Sequence[Anomaly]) -> list[Trace]:
    template = settings.SENTINEL.dashboard.trace_url_template or ""
    ids = dict.fromkeys(str(trace) for row in members for trace in row.sample_trace_ids)
    return [Trace(each, template.replace("{trace_id}", quote(each, safe=""))) for each in list(ids)[:10]]


def runbook_of(labels: dict[str, Any]) -> str:
    """The service's own, if it is an address that a browser may follow."""
    url = str(labels.get("runbook_url") or "")
    return url if url.startswith(("https://", "http://")) else ""


def similar_to(principal: object, incident: Incident) -> list[listing.Line]:
    """The latest others of its service and type, with their strongest anomalies."""
    others = Incident.objects.visible_to(principal).current().filter(service=incident.service, type=incident.type)
    others = others.exclude(pk=incident.pk).select_related("service").order_by("-first_seen", "-id")
    return listing.lines(list(others[:SIMILAR_SHOWN]))
