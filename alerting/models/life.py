"""The life of an alert: the outbox, the groups in which anomalies are told together, and each telling of a group."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.utils import timezone

from alerting.models.rules import AlertRule
from anomalies.models import SEVERITY_RANK, Anomaly, Severity
from baselines.models import Project
from baselines.visibility import visible_project_ids


class AlertQuerySet(models.QuerySet["Alert"]):
    def visible_to(self, principal: object) -> AlertQuerySet:
        """The alerts about services that `principal` may see."""
        projects = visible_project_ids(principal)
        return self if projects is None else self.filter(anomaly__service__project_id__in=projects)


class Alert(models.Model):
    """The outbox: one event in the life of an anomaly that people may have to hear of.

    Written in the transaction that opens or changes the anomaly; `id` is a function of the anomaly and the event,
    so a replay writes no second one.
    """

    class Type(models.TextChoices):
        OPENED = "anomaly.opened"
        ESCALATED = "anomaly.escalated"
        RESOLVED = "anomaly.resolved"

    class Outcome(models.TextChoices):
        PENDING = "pending"
        ROUTED = "routed"
        TOO_OLD = "too_old", "too old"
        NO_CHANNEL = "no_channel", "no channel"
        DEDUPLICATED = "deduplicated"
        MUTED = "muted", "acknowledged or resolved"

    id = models.UUIDField(primary_key=True, editable=False)
    anomaly = models.ForeignKey(Anomaly, on_delete=models.CASCADE, related_name="alerts")
    type = models.CharField(max_length=24, choices=Type.choices)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    occurred_at = models.DateTimeField(help_text="event time")
    created_at = models.DateTimeField(default=timezone.now)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, default=Outcome.PENDING)
    routed_at = models.DateTimeField(null=True, blank=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["created_at"], condition=models.Q(outcome="pending"), name="alert_pending"),
            models.Index(fields=["-created_at", "-id"], name="alert_newest"),
            models.Index(fields=["outcome", "-created_at", "-id"], name="alert_outcome_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.severity}"

    @property
    def position(self) -> tuple[datetime, int, int]:
        """Sorts the events in the life of one anomaly, also those of one instant."""
        return self.occurred_at, list(Alert.Type).index(Alert.Type(self.type)), SEVERITY_RANK[Severity(self.severity)]


class GroupQuerySet(models.QuerySet["AlertGroup"]):
    def visible_to(self, principal: object) -> GroupQuerySet:
        """The groups of the projects that `principal` may see."""
        projects = visible_project_ids(principal)
        return self if projects is None else self.filter(project_id__in=projects)

    def live(self) -> GroupQuerySet:
        return self.exclude(phase=AlertGroup.Phase.RESOLVED)

    def due(self, now: datetime) -> GroupQuerySet:
        """Those of which something may have to be told now, in the order in which they are to be served.

        A group that a channel is owed goes first, and of several the one that has waited longest: a window lets one
        message pass, and whoever else told of the same would take it each time.
        """
        is_owed = models.Case(models.When(owed_at__lte=now, then=0), default=1)
        waited = models.F("last_told_at").asc(nulls_first=True)
        return self.filter(due_at__lte=now).order_by(is_owed, "due_at", waited, "opened_at", "id")


class AlertGroup(models.Model):
    """What one rule tells together: the anomalies that agree in the rule's `group_by`, of one project.

    Its id stays the same over its life, reopenings included: PagerDuty and Slack follow it by that. `due_at` is when
    somebody has to look at it next, whatever for; all that decides what is told then is in rows.
    """

    class Phase(models.TextChoices):
        WAITING = "waiting", "waiting to be told"
        FIRING = "firing"
        RESOLVED = "resolved"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    rule = models.ForeignKey(AlertRule, null=True, blank=True, on_delete=models.SET_NULL, related_name="groups")
    rule_name = models.CharField(
        max_length=100, blank=True, help_text="as it was called then; empty = the built-in one"
    )
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="alert_groups")
    key = models.CharField(max_length=64, help_text="rule, project and the values of group_by, hashed")
    labels = models.JSONField(default=dict, blank=True, help_text="the values of group_by")
    phase = models.CharField(max_length=8, choices=Phase.choices, default=Phase.WAITING)
    created_at = models.DateTimeField(default=timezone.now)
    opened_at = models.DateTimeField(default=timezone.now, help_text="when it began, or began anew, to wait")
    due_at = models.DateTimeField(null=True, blank=True, help_text="when to look at it next; null = nothing to do")
    last_told_at = models.DateTimeField(null=True, blank=True)
    retold_at = models.DateTimeField(
        null=True, blank=True, help_text="when all of it was told: repeats count from here"
    )
    owed_at = models.DateTimeField(
        null=True, blank=True, help_text="when a channel may hear of it that had heard the same within the window"
    )
    told_severity = models.CharField(max_length=8, choices=Severity.choices, blank=True)
    sequence = models.IntegerField(default=0, help_text="number of the last notification")
    acknowledged_at = models.DateTimeField(
        null=True, blank=True, help_text="when it was found that somebody sees to all that fires"
    )
    escalation_step = models.IntegerField(default=0, help_text="steps taken")
    escalation_due_at = models.DateTimeField(null=True, blank=True)
    reopened_count = models.IntegerField(default=0)
    resolved_at = models.DateTimeField(null=True, blank=True)
    thread = models.JSONField(
        default=dict, blank=True, help_text="what channels remember of the first message, by channel id"
    )

    objects = GroupQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["key"], condition=~models.Q(phase="resolved"), name="group_live_once")
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="group_due"),
            models.Index(fields=["key", "-resolved_at"], name="group_key_latest"),
            models.Index(fields=["-created_at", "-id"], name="group_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.rule_name or 'built-in rule'}: {', '.join(map(str, self.labels.values())) or 'everything'}"


class GroupMember(models.Model):
    """An anomaly in a group. `told_severity` is empty until some notification tells of it."""

    group = models.ForeignKey(AlertGroup, on_delete=models.CASCADE, related_name="members")
    anomaly = models.ForeignKey(Anomaly, on_delete=models.CASCADE, related_name="memberships")
    severity = models.CharField(max_length=8, choices=Severity.choices)
    is_firing = models.BooleanField(default=True)
    told_severity = models.CharField(max_length=8, choices=Severity.choices, blank=True)
    is_settled = models.BooleanField(default=False, help_text="nothing more is to be told of it")
    held = models.CharField(max_length=200, blank=True, help_text="why it is not told for now: the silence, the hours")
    occurred_at = models.DateTimeField(help_text="event time of what last happened to it")
    ready_at = models.DateTimeField(help_text="not told before: the rule wants it to last so long")
    joined_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["joined_at", "id"]
        constraints = [models.UniqueConstraint(fields=["group", "anomaly"], name="member_once")]
        indexes = [
            models.Index(fields=["anomaly"], condition=models.Q(is_firing=True), name="member_firing"),
            models.Index(fields=["group"], condition=models.Q(is_settled=False), name="member_unsettled"),
        ]

    def __str__(self) -> str:
        return f"{self.anomaly_id} in {self.group_id}"


class NotificationQuerySet(models.QuerySet["Notification"]):
    def visible_to(self, principal: object) -> NotificationQuerySet:
        """The notifications of the projects that `principal` may see."""
        projects = visible_project_ids(principal)
        return self if projects is None else self.filter(group__project_id__in=projects)


class Notification(models.Model):
    """One telling of a group; `id` is a function of the group and `sequence`."""

    class Type(models.TextChoices):
        OPENED = "anomaly.opened"
        ESCALATED = "anomaly.escalated"
        REPEATED = "anomaly.repeated"
        RESOLVED = "anomaly.resolved"

    id = models.UUIDField(primary_key=True, editable=False)
    group = models.ForeignKey(AlertGroup, on_delete=models.CASCADE, related_name="notifications")
    sequence = models.IntegerField()
    type = models.CharField(max_length=24, choices=Type.choices)
    severity = models.CharField(max_length=8, choices=Severity.choices, help_text="the highest")
    occurred_at = models.DateTimeField(help_text="event time of the latest of what it tells")
    created_at = models.DateTimeField(default=timezone.now)
    anomalies = models.ManyToManyField(Anomaly, related_name="notifications", help_text="those it tells of")
    count = models.IntegerField(default=1, help_text="how many anomalies it tells of")

    objects = NotificationQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["group", "sequence"], name="notification_once")]
        indexes = [models.Index(fields=["-created_at", "-id"], name="notification_newest")]

    def __str__(self) -> str:
        return f"{self.type} {self.severity} ({self.count})"

    @property
    def title(self) -> str:
        """What it tells of: the title of the one anomaly, or how many there are of what."""
        if self.count == 1:
            only = next(iter(self.anomalies.all()), None)
            return only.title if only is not None else "an anomaly that was deleted"
        return f"{self.count} anomalies ({self.group})"
