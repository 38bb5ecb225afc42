"""Was a simulated incident noticed? Asks the relational database, where anomalies are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q

from anomalies.models import Anomaly, State
from ingestion.pacing import SECOND_NS
from ingestion.simulation.scenarios import Incident

DATED_BACK = timedelta(seconds=60)
"""An episode may be dated from the beginning of the minute, or from the last call, in which it showed."""
LOOK_EVERY_NS = SECOND_NS


class Search:
    """Looks for anomalies of an incident's type in its service and model that appeared, or grew worse, after it began.

    Where detection rings all the time (the classic mode does) an incident only raises the peak of an episode that
    is active already: that counts, because people see and are told of it.
    """

    def __init__(self, incident: Incident) -> None:
        self.incident = incident
        self._before: dict[UUID, float] = {}
        self._looked_ns = 0

    def look(self, now_ns: int) -> list[Anomaly]:
        """What was found by now, oldest first; asks the database once a second at most.

        Until the incident begins it finds nothing, and remembers what was there before it.
        """
        if now_ns - self._looked_ns < LOOK_EVERY_NS:
            return []
        self._looked_ns = now_ns
        anomalies = self._candidates()
        if now_ns < self.incident.start_ns:
            self._before = {anomaly.id: anomaly.score for anomaly in anomalies}
        return [anomaly for anomaly in anomalies if self._is_news(anomaly)]

    def is_new(self, anomaly: Anomaly) -> bool:
        """Whether it began with the incident, as far as dates tell; else it was there and grew worse."""
        return anomaly.id not in self._before and bool(anomaly.first_seen >= self._earliest)

    @property
    def _earliest(self) -> datetime:
        return datetime.fromtimestamp(self.incident.start_ns / SECOND_NS, UTC) - DATED_BACK

    def _candidates(self) -> list[Anomaly]:
        found = Anomaly.objects.filter(
            service__name=self.incident.stream.service,
            type=self.incident.scenario.anomaly_type,
        ).filter(Q(state=State.ACTIVE) | Q(last_seen__gte=self._earliest))
        if not self.incident.scenario.abuse:  # a user belongs to the service, whatever the model
            found = found.filter(model=self.incident.stream.model)
        return list(found.select_related("service").order_by("first_seen", "id"))

    def _is_news(self, anomaly: Anomaly) -> bool:
        # One that is old but was never seen before is taken as it is now: only what comes on top is news.
        return self.is_new(anomaly) or anomaly.score > self._before.setdefault(anomaly.id, anomaly.score)


def is_watched(incident: Incident, detection: Any) -> bool:
    """Whether a detector of the classic mode watches a metric in which the incident shows."""
    if detection.mode != "classic":
        return True
    watched = {metric for name in detection.enabled_detectors for metric in detection.metrics_of(name)}
    return not watched.isdisjoint(incident.scenario.metrics)
