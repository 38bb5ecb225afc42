"""Deleting the record of alerts that were told, or given up, long ago."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Exists, OuterRef

from alerting.models import Alert, AlertGroup, Delivery, Heard, Notification
from baselines.pruning import delete_in_batches


def prune_deliveries(before: datetime) -> int:
    """Settled deliveries made before `before`, with their attempts, then what nothing is left of; how many deliveries.

    A group that still lives keeps its deliveries: its end goes to those who heard of it.
    """
    over = {"notification__group__phase": AlertGroup.Phase.RESOLVED}
    settled = Delivery.objects.filter(created_at__lt=before, **over).exclude(status=Delivery.Status.PENDING)
    deleted = delete_in_batches(settled.order_by("created_at"))
    empty = Notification.objects.filter(created_at__lt=before, group__phase=AlertGroup.Phase.RESOLVED)
    delete_in_batches(
        empty.exclude(Exists(Delivery.objects.filter(notification=OuterRef("pk")))).order_by("created_at")
    )
    told = Notification.objects.filter(group=OuterRef("pk"))
    groups = AlertGroup.objects.filter(phase=AlertGroup.Phase.RESOLVED, resolved_at__lt=before)
    delete_in_batches(groups.exclude(Exists(told)).order_by("resolved_at"))
    alerts = Alert.objects.filter(created_at__lt=before).exclude(outcome=Alert.Outcome.PENDING)
    told_of = Delivery.objects.filter(notification__anomalies=OuterRef("anomaly"))
    delete_in_batches(alerts.exclude(Exists(told_of)).order_by("created_at"))
    delete_in_batches(Heard.objects.filter(delivered_at__lt=before).order_by("delivered_at"))
    return deleted
