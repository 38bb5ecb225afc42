"""Deleting the record of alerts that were told, or given up, long ago."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Exists, OuterRef

from alerting.models import Alert, Delivery
from baselines.pruning import delete_in_batches


def prune_deliveries(before: datetime) -> int:
    """Settled deliveries made before `before`, with their attempts, then alerts that nothing is left of."""
    settled = Delivery.objects.filter(created_at__lt=before).exclude(status=Delivery.Status.PENDING)
    deleted = delete_in_batches(settled.order_by("created_at"))
    told = Alert.objects.filter(created_at__lt=before).exclude(outcome=Alert.Outcome.PENDING)
    delete_in_batches(told.exclude(Exists(Delivery.objects.filter(alert=OuterRef("pk")))).order_by("created_at"))
    return deleted
