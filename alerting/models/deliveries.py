"""What was sent to whom: deliveries, each attempt at one, and when a channel last heard of what."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone

from alerting.models.channels import Channel
from alerting.models.life import Notification
from alerting.models.rules import AlertRule
from anomalies.models import Severity
from baselines.visibility import visible_project_ids


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def visible_to(self, principal: object) -> DeliveryQuerySet:
        """The deliveries of the projects that `principal` may see."""
        projects = visible_project_ids(principal)
        return self if projects is None else self.filter(notification__group__project_id__in=projects)

    def due(self, now: datetime) -> DeliveryQuerySet:
        """Those that some worker should try now: pending, their time has come, nobody holds them."""
        free = models.Q(leased_until=None) | models.Q(leased_until__lte=now)
        return self.filter(free, status=Delivery.Status.PENDING, next_attempt_at__lte=now)

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
    """One notification to one channel: it keeps its id over all attempts, and every end of it is visible."""

    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        SUPERSEDED = "superseded", "superseded by a newer event"
        DEDUPLICATED = "deduplicated"
        MUTED = "muted", "acknowledged or resolved"
        SUMMARISED = "summarised", "told in a summary"
        DEAD = "dead"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="deliveries")
    rule = models.ForeignKey(AlertRule, null=True, blank=True, on_delete=models.SET_NULL, related_name="deliveries")
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PENDING)
    anomaly_ids = models.JSONField(default=list, blank=True, help_text="those that this channel is told of")
    heard_ids = models.JSONField(
        default=list, blank=True, help_text="those left out because the channel heard the same within the window"
    )
    dedup_keys = models.JSONField(default=list, blank=True, help_text="of what it is about to tell, while it is sent")
    is_deferred = models.BooleanField(default=False, help_text="the channel's rate limit made it wait")
    carried_by = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="carried",
        help_text="the delivery that tells of this one too, as a summary",
    )
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
        constraints = [models.UniqueConstraint(fields=["notification", "channel"], name="delivery_once_per_channel")]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=models.Q(status="pending"), name="delivery_due"),
            models.Index(fields=["-created_at", "-id"], name="delivery_newest"),
            models.Index(fields=["status", "-created_at", "-id"], name="delivery_status_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.notification} to {self.channel}"

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
        indexes = [models.Index(fields=["started_at"], name="attempt_started")]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.delivery_id}"


class Heard(models.Model):
    """When a channel was last told of a service, model, type and severity: what deduplication counts from."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="heard")
    dedup_key = models.CharField(max_length=64, help_text="channel, service, model, type and severity, hashed")
    severity = models.CharField(max_length=8, choices=Severity.choices)
    delivered_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "heard"
        ordering = ["-delivered_at"]
        constraints = [models.UniqueConstraint(fields=["channel", "dedup_key"], name="heard_once_per_channel")]
        indexes = [models.Index(fields=["delivered_at"], name="heard_age")]

    def __str__(self) -> str:
        return f"{self.channel} at {self.delivered_at}"
