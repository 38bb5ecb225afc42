"""What else was going on when an anomaly began: what people had just changed, and what else departed from normal."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q

from anomalies import story
from anomalies.incidents import RANK
from anomalies.models import Anomaly
from baselines.models import Annotation

# Most of what a deploy breaks shows within minutes; some of it only with the first batch or the first cold cache.
NEAR = timedelta(minutes=30)
COMPANIONS_NAMED = 5


def told(anomaly: Anomaly) -> str:
    """The sentence about an anomaly, and those about what else was going on. `anomaly.service` must be loaded."""
    parts = (story.sentence(anomaly), story.common(anomaly), _after_what(anomaly), _with_what(anomaly))
    return " ".join(part for part in parts if part)


def preceding(anomaly: Anomaly) -> Annotation | None:
    """The last thing that people noted about its service within half an hour before it began."""
    common = Q(service=None) & (Q(project=None) | Q(project=anomaly.service.project_id))
    near = Annotation.objects.filter(at__range=(anomaly.first_seen - NEAR, anomaly.first_seen))
    return near.filter(common | Q(service=anomaly.service_id)).order_by("-at", "-id").first()


def _after_what(anomaly: Anomaly) -> str:
    annotation = preceding(anomaly)
    if annotation is None:
        return ""
    return f"It began {story.duration(anomaly.first_seen - annotation.at)} after {annotation.text}."


def _with_what(anomaly: Anomaly) -> str:
    """The others of its incident, the strongest first."""
    others = Anomaly.objects.filter(incident=anomaly.incident_id).exclude(pk=anomaly.pk).select_related("service")
    found = list(others.order_by(RANK.desc(), "-score", "first_seen", "id")[: COMPANIONS_NAMED + 1])
    if not found:
        return ""
    named = "; ".join(other.title for other in found[:COMPANIONS_NAMED])
    return f"At the same time: {named}{'; and more' if len(found) > COMPANIONS_NAMED else ''}."
