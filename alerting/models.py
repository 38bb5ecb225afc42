"""Who hears about an anomaly: rules and channels, the outbox, deliveries and each attempt of them."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from alerting.channels import setting_problems
from alerting.rules.matching import MatcherError, parse_matchers
from alerting.secrets import EncryptedTextField
from anomalies.models import SEVERITY_RANK, Anomaly, Severity
from baselines.models import OwnedQuerySet, Project
from baselines.visibility import visible_project_ids


class Channel(models.Model):
    """A place alerts are delivered to. One that the configuration file makes is read-only (`origin`)."""

    class Kind(models.TextChoices):
        RABBITMQ = "rabbitmq", "RabbitMQ"
        WEBHOOK = "webhook", "Webhook"

    class Origin(models.TextChoices):
        OPERATOR = "operator"
        CONFIG = "config"

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=200, blank=True)
    config = models.JSONField(default=dict, blank=True, help_text="settings of the kind, e.g. url")
    secret = EncryptedTextField(blank=True, help_text="write-only; encrypted at rest")
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="channels", help_text="none = all"
    )
    origin = models.CharField(max_length=8, choices=Origin.choices, default=Origin.OPERATOR, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """The settings must fit the kind; what is wrong is said per key."""
        if self.origin == self.Origin.CONFIG:
            return  # the configuration was checked when it was loaded
        problems = setting_problems(self.kind, self.config, self.secret)
        if problems:
            secret = problems.pop("secret", None)
            errors = {"config": [f"{key} {problem}" for key, problem in problems.items()]}
            raise ValidationError(({"secret": secret} if secret else {}) | (errors if problems else {}))


class AlertRule(models.Model):
    """Which anomalies go to which channels; rules are tried in `order`, the first that matches decides."""

    name = models.CharField(max_length=100, unique=True)
    enabled = models.BooleanField(default=True)
    order = models.IntegerField(default=100)
    matchers = models.JSONField(
        default=list, blank=True, help_text='all must hold: [{"field", "op": "exact|glob|regex|not", "value"}]'
    )
    min_severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.WARNING)
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
        try:
            parse_matchers(self.matchers)
        except MatcherError as error:
            raise ValidationError({"matchers": str(error)}) from None


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


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def visible_to(self, principal: object) -> DeliveryQuerySet:
        """The deliveries about services that `principal` may see."""
        projects = visible_project_ids(principal)
        return self if projects is None else self.filter(alert__anomaly__service__project_id__in=projects)

    def due(self, now: datetime) -> DeliveryQuerySet:
        """Those that some worker should try now: pending, their time has come, nobody holds them."""
        free = models.Q(leased_until=None) | models.Q(leased_until__lte=now)
        return self.filter(free, status=Delivery.Status.PENDING, next_attempt_at__lte=now)

    def last_delivered_at(self, dedup_key: str) -> datetime | None:
        """When the channel last heard the same."""
        heard = self.filter(dedup_key=dedup_key, status=Delivery.Status.DELIVERED).order_by("-delivered_at")
        return heard.values_list("delivered_at", flat=True).first()

    def replay(self, now: datetime) -> int:
        """Give dead ones another life under their old id; the number of them."""
        return self.filter(status=Delivery.Status.DEAD).update(
            status=Delivery.Status.PENDING,
            next_attempt_at=now,
            queued_until=None,
            replayed_at=now,
            attempts_before_replay=models.F("attempt_count"),
        )


class Delivery(models.Model):
    """One alert to one channel: it keeps its id over all attempts, and every end of it is visible."""

    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        SUPERSEDED = "superseded", "superseded by a newer event"
        DEDUPLICATED = "deduplicated"
        MUTED = "muted", "acknowledged or resolved"
        DEAD = "dead"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="deliveries")
    rule = models.ForeignKey(AlertRule, null=True, blank=True, on_delete=models.SET_NULL, related_name="deliveries")
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PENDING)
    dedup_key = models.CharField(max_length=64, help_text="channel, service, model, type and severity, hashed")
    attempt_count = models.IntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    leased_until = models.DateTimeField(null=True, blank=True, help_text="a worker holds it until then")
    lease_id = models.UUIDField(null=True, blank=True, help_text="which hold of a worker it is")
    queued_until = models.DateTimeField(null=True, blank=True, help_text="a task for it is on its way until then")
    attempts_before_replay = models.IntegerField(default=0)
    replayed_at = models.DateTimeField(null=True, blank=True, help_text="its patience counts from here")
    delivered_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["alert", "channel"], name="delivery_once_per_channel")]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=models.Q(status="pending"), name="delivery_due"),
            models.Index(fields=["dedup_key", "-delivered_at"], name="delivery_dedup"),
            models.Index(fields=["-created_at", "-id"], name="delivery_newest"),
            models.Index(fields=["status", "-created_at", "-id"], name="delivery_status_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.alert} to {self.channel}"

    def age(self, now: datetime) -> timedelta:
        """How long it has been tried: since it was made, or since it was last replayed."""
        return now - (self.replayed_at or self.created_at)


class Attempt(models.Model):
    """One try of a delivery, with what the receiver said."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    number = models.IntegerField()
    started_at = models.DateTimeField()
    latency_ms = models.FloatField(null=True)
    ok = models.BooleanField()
    status_code = models.IntegerField(null=True, help_text="HTTP status or AMQP reply code")
    error = models.CharField(max_length=500, blank=True)
    answer = models.TextField(blank=True, help_text="what the receiver said, cut")

    class Meta:
        ordering = ["delivery", "number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="attempt_once")]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.delivery_id}"
