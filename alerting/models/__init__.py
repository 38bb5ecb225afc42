"""Who hears about an anomaly: channels, rules, silences, the life of an alert, deliveries and each attempt of them."""

from alerting.models.channels import Channel
from alerting.models.deliveries import Attempt, Delivery, Heard
from alerting.models.life import Alert, AlertGroup, GroupMember, Notification
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
]
