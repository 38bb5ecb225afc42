"""Which anomalies are told, to whom, how grouped, how often, and who is next if nobody answers."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from alerting.models.channels import Channel
from alerting.models.problems import problems_of
from alerting.rules.active_hours import parse_active_hours
from alerting.rules.group_by import parse_group_by
from alerting.rules.matching import parse_matchers
from anomalies.models import Severity
from baselines.models import OwnedQuerySet, Project

DEFAULT_GROUP_BY = ("incident",)
MAX_SECONDS = 31 * 24 * 3600
"""Of every duration of a rule."""


def default_group_by() -> list[str]:
    return list(DEFAULT_GROUP_BY)


class AlertRule(models.Model):
    """Which anomalies go to which channels; rules are tried in `order`, the first that matches decides.

    All durations are in seconds.
    """

    name = models.CharField(max_length=100, unique=True)
    enabled = models.BooleanField(default=True)
    order = models.IntegerField(default=100)
    matchers = models.JSONField(
        default=list, blank=True, help_text='all must hold: [{"field", "op": "exact|glob|regex|not", "value"}]'
    )
    min_severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.WARNING)
    min_occurrences = models.PositiveIntegerField(
        default=1, validators=[MinValueValidator(1)], help_text="episodes of the series before anybody hears"
    )
    occurrences_within = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="seconds in which they must have begun; empty = a day",
    )
    min_duration = models.PositiveIntegerField(default=0, help_text="seconds an anomaly must last before anybody hears")
    active_hours: Any = models.JSONField(
        null=True,
        blank=True,
        help_text='when to tell: {"timezone": "Europe/Berlin", "days": ["mon"], "start": "08:00", "end": "18:00"} '
        "or a list of such; empty = always",
    )
    group_by = models.JSONField(
        default=default_group_by,
        blank=True,
        help_text="what is told as one: incident, service, model, type, metric, severity, project, provider, "
        "labels.<name>; [] = everything",
    )
    group_wait = models.PositiveIntegerField(default=30, help_text="seconds a new group waits for more of the same")
    group_interval = models.PositiveIntegerField(
        default=300, help_text="seconds between two messages about the growth of a group"
    )
    repeat_interval = models.PositiveIntegerField(
        default=14_400, validators=[MinValueValidator(1)], help_text="seconds until it is told again what still lasts"
    )
    channels = models.ManyToManyField(Channel, related_name="rules", blank=True)
    continue_matching = models.BooleanField(default=False, help_text="try the following rules too")
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="alert_rules", help_text="none = all"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        ordering = ["order", "id"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Everything must be usable as it is; what is not is said by field, all at once."""
        errors = problems_of(
            (parse_matchers, "matchers", self.matchers),
            (parse_active_hours, "active_hours", self.active_hours),
            (parse_group_by, "group_by", self.group_by),
        )
        for name in ("occurrences_within", "min_duration", "group_wait", "group_interval", "repeat_interval"):
            if (getattr(self, name) or 0) > MAX_SECONDS:
                errors[name] = [f"must be at most {MAX_SECONDS} seconds (31 days)"]
        if errors:
            raise ValidationError(errors)


class SeverityChannel(models.Model):
    """Priority routing: where a rule names channels for a severity, they hear of it instead of the rule's others."""

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="severity_channels")
    severity = models.CharField(max_length=8, choices=Severity.choices)
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="severity_channels")

    class Meta:
        ordering = ["rule", "severity", "channel"]
        constraints = [models.UniqueConstraint(fields=["rule", "severity", "channel"], name="severity_channel_once")]

    def __str__(self) -> str:
        return f"{self.rule}: {self.severity} to {self.channel}"


class EscalationStep(models.Model):
    """Who hears next while nobody acknowledges: `wait` seconds after the step before it, the first after the alert."""

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="escalation_steps")
    order = models.PositiveIntegerField()
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="escalation_steps")
    wait = models.PositiveIntegerField(help_text="seconds")

    class Meta:
        ordering = ["rule", "order"]
        constraints = [models.UniqueConstraint(fields=["rule", "order"], name="escalation_step_once")]

    def __str__(self) -> str:
        return f"{self.rule}: after {self.wait} s to {self.channel}"

    def clean(self) -> None:
        if (self.wait or 0) > MAX_SECONDS:
            raise ValidationError({"wait": f"must be at most {MAX_SECONDS} seconds (31 days)"})
