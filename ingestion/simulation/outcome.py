"""Was a simulated incident noticed? Asks the relational database, where anomalies are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from anomalies.models import Anomaly
from ingestion.pacing import SECOND_NS
from ingestion.simulation.scenarios import Incident

DATED_BACK = timedelta(seconds=60)
"""An episode may be dated from the beginning of the minute, or from the last call, in which it showed."""
LOOK_EVERY_NS = SECOND_NS


class Search:
    """Looks for anomalies of an incident's type in its service that appeared after the incident began."""

    def __init__(self, incident: Incident) -> None:
        self.incident = incident
        self._known: set[UUID] = set()
        self._looked_ns = 0

    def candidates(self) -> QuerySet[Anomaly]:
        """Anomalies of the right type that could be the incident's by their own dates."""
        start = datetime.fromtimestamp(self.incident.start_ns / SECOND_NS, UTC)
        return Anomaly.objects.filter(
            service__name=self.incident.stream.service,
            type=self.incident.scenario.anomaly_type,
            first_seen__gte=start - DATED_BACK,
        ).select_related("service")

    def look(self, now_ns: int) -> list[Anomaly]:
        """What was found by now, oldest first; asks the database once a second at most.

        Until the incident begins it finds nothing, and remembers what was there before it.
        """
        if now_ns - self._looked_ns < LOOK_EVERY_NS:
            return []
        self._looked_ns = now_ns
        found = list(self.candidates().order_by("first_seen", "id"))
        if now_ns < self.incident.start_ns:
            self._known = {anomaly.id for anomaly in found}
        return [anomaly for anomaly in found if anomaly.id not in self._known]

    def ringing_before(self) -> int:
        """Active anomalies of this type and service that began before the incident and may have swallowed it."""
        others = Anomaly.objects.exclude(id__in=self.candidates().exclude(id__in=self._known).values("id"))
        scenario = self.incident.scenario
        own = others.filter(service__name=self.incident.stream.service, type=scenario.anomaly_type, state="active")
        return int(own.count())


def is_watched(incident: Incident, detection: Any) -> bool:
    """Whether a detector of the classic mode watches a metric in which the incident shows."""
    if detection.mode != "classic":
        return True
    watched = {metric for name in detection.enabled_detectors for metric in detection.metrics_of(name)}
    return not watched.isdisjoint(incident.scenario.metrics)
