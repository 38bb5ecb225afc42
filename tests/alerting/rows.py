"""Clearing away what one example of a property test has left."""

from __future__ import annotations

from alerting.models import Alert, AlertGroup, AlertRule, Attempt, Channel, Delivery, Heard, Notification, Silence
from anomalies.models import Anomaly, Incident
from baselines.models import Service


def empty_tables() -> None:
    """No alert, no rule, no channel, no anomaly, no service."""
    for model in (Attempt, Delivery, Heard, Notification, AlertGroup, Alert, Silence, AlertRule, Channel):
        model._base_manager.all().delete()
    for model in (Anomaly, Incident, Service):
        model._base_manager.all().delete()
