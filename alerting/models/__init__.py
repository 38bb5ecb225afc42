"""Who hears about an anomaly: channels, rules, limits, budgets, silences, the life of alerts, deliveries."""

from alerting.models.budgets import Budget
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
    "Budget",
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
