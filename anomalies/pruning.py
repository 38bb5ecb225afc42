"""Deleting incidents that ended long ago, whole: with their anomalies and all that belongs to these."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from anomalies import incidents
from anomalies.models import Anomaly, Incident, State

INCIDENTS_AT_ONCE = 200


def prune_anomalies(before: datetime) -> int:
    """Delete incidents of which nothing was seen since `before` and nothing is active; returns how many anomalies.

    Transitions, votes, alerts and deliveries go with their anomaly, and incidents that were merged with theirs.
    """
    deleted = 0
    while True:
        found = _ended(before).order_by("last_seen").values_list("pk", "service_id")[:INCIDENTS_AT_ONCE]
        batch = dict(found)
        if not batch:
            return deleted
        deleted += _delete(batch, before)


def _ended(before: datetime) -> QuerySet[Incident]:
    active = Anomaly.objects.filter(Q(state=State.ACTIVE) | Q(last_seen__gte=before)).values("incident")
    return Incident.objects.current().filter(last_seen__lt=before).exclude(pk__in=active)


@transaction.atomic
def _delete(batch: dict[object, int], before: datetime) -> int:
    """Under the lock of those who link incidents, and looked at again: a late episode may have joined one."""
    incidents.lock(batch.values())
    chosen = list(_ended(before).filter(pk__in=list(batch)).values_list("pk", flat=True))
    anomalies = Anomaly.objects.filter(incident__in=chosen)
    count = anomalies.count()
    anomalies.delete()
    Incident.objects.filter(pk__in=chosen).delete()
    return count
