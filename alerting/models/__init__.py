"""Who hears about an anomaly: channels, rules, limits, silences, the life of an alert, deliveries, attempts."""

from alerting.models.channels import Channel
from alerting.models.deliveries import Attempt, Delivery, Heard
from alerting.models.life import Alert, AlertGroup, GroupMember, Notification
from alerting.models.limits import Threshold
from alerting.models.rules import AlertRule, EscalationStep, SeverityChannel
from alerting.models.silences import Inhibition, Silence

__all__ = [
    "Alert",
    "AlertGroup",
    "AlertRule",
    "Attempt",
    "Channel",
    "Delivery",
    "EscalationStep",
    "GroupMember",
    "Heard",
    "Inhibition",
    "Notification",
    "SeverityChannel",
    "Silence",
    "Threshold",
]
