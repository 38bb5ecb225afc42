"""What departed from normal: anomalies (episodes), the incidents they belong to, and what people did about them."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from anomalies.detection.overrides import DIRECTIONS, RULE_FIELDS, SENSITIVITIES, rule_problems
from baselines.models import OwnedQuerySet, Project, Service


class Severity(models.TextChoices):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


SEVERITY_RANK = {Severity.INFO: 1, Severity.WARNING: 2, Severity.CRITICAL: 3}


# The detectors of anomalies that no detection made: somebody had set a limit.
THRESHOLD, BUDGET = "threshold", "budget"
LIMITS = (THRESHOLD, BUDGET)


class State(models.TextChoices):
    """The machine's word: does the evidence last?"""

    ACTIVE = "active"
    ENDED = "ended"
    ADOPTED = "adopted"


class Status(models.TextChoices):
    """People's word. A replay never touches it."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class VisibleQuerySet(models.QuerySet):  # type: ignore[type-arg]
    def visible_to(self, principal: object) -> VisibleQuerySet:
        """Rows of the services that `principal` may see."""
        return self.of_services(Service.objects.ids_visible_to(principal))

    def of_services(self, services: Collection[int] | None) -> VisibleQuerySet:
        """Rows of services by their ids; None for all of them."""
        return self if services is None else self.filter(service__in=services)


class IncidentQuerySet(VisibleQuerySet):
    def current(self) -> IncidentQuerySet:
        """Without those that turned out to be part of an older one."""
        return self.filter(merged_into=None)


class Incident(models.Model):
    """One thing that happened: the anomalies of a service that overlap in time, if only one.

    All columns but the first three follow from its anomalies (`anomalies.incidents.summarise`).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False, help_text="that of its first anomaly")
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="incidents")
    merged_into = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="the older incident that has its anomalies now; links to this one lead there",
    )
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    title = models.CharField(max_length=400, default="", db_default="")
    type = models.CharField(max_length=32, default="", db_default="", help_text="of its strongest anomaly")
    severity = models.CharField(
        max_length=8, choices=Severity.choices, default=Severity.INFO, db_default="info", help_text="the highest"
    )
    state = models.CharField(
        max_length=8,
        choices=State.choices,
        default=State.ACTIVE,
        db_default="active",
        help_text="active while any anomaly is",
    )
    status = models.CharField(
        max_length=12,
        choices=Status.choices,
        default=Status.OPEN,
        db_default="open",
        help_text="open while any anomaly is, resolved once all are",
    )
    anomaly_count = models.IntegerField(default=0, db_default=0)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        ordering = ["-first_seen", "-id"]
        indexes = [
            models.Index(fields=["-first_seen", "-id"], name="incident_newest"),
            models.Index(fields=["-first_seen", "-id"], condition=models.Q(state="active"), name="incident_active"),
            models.Index(fields=["service", "-last_seen"], name="incident_service_latest"),
            models.Index(fields=["service", "-first_seen", "-id"], name="incident_service_newest"),
            models.Index(fields=["severity", "-first_seen", "-id"], name="incident_severity_newest"),
            models.Index(fields=["status", "-first_seen", "-id"], name="incident_status_newest"),
        ]

    def __str__(self) -> str:
        return self.title or str(self.id)


class Anomaly(models.Model):
    """An episode: the first flagged sample of a series and direction opens it, further ones extend it."""

    id = models.UUIDField(primary_key=True, editable=False, help_text="UUIDv5 of the event that opened it")
    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="anomalies")
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="anomalies")
    model = models.CharField(max_length=128)
    metric = models.CharField(max_length=32)
    type = models.CharField(max_length=32)
    direction = models.CharField(max_length=4, choices=[("up", "up"), ("down", "down")])
    detector = models.CharField(max_length=32, help_text="the strongest one")
    detectors = models.JSONField(default=dict, help_text="every detector that agrees, with its highest score")
    value = models.FloatField(help_text="the peak, in the unit of the metric")
    baseline_mean = models.FloatField(null=True)
    baseline_stddev = models.FloatField(null=True)
    baseline_median = models.FloatField(null=True)
    lower = models.FloatField(null=True, help_text="lower edge of the expected band")
    upper = models.FloatField(null=True, help_text="upper edge of the expected band")
    z_score = models.FloatField(null=True, help_text="null where the spread is zero")
    score = models.FloatField(help_text="highest score; 1 is the detector's own threshold")
    severity = models.CharField(max_length=8, choices=Severity.choices)
    confidence = models.FloatField(null=True)
    occurrences = models.BigIntegerField()
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    dimensions = models.JSONField(
        default=list,
        blank=True,
        help_text="values that its events have far more often than usual: dimension, value, share, usual_share",
    )
    sample_trace_ids = models.JSONField(default=list, blank=True)
    details = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="of which limit it is, and what that says",
    )

    topic_id = models.UUIDField()
    partition = models.IntegerField()
    first_offset = models.BigIntegerField()
    last_offset = models.BigIntegerField(help_text="guards against an older writer")

    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.OPEN)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    acknowledged_by_name = models.CharField(
        max_length=150, blank=True, default="", db_default="", help_text="who, as it was called then; also programs"
    )
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_until = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    resolved_by_name = models.CharField(max_length=150, blank=True, default="", db_default="")
    resolved_at = models.DateTimeField(null=True, blank=True)
    assignee = models.CharField(max_length=150, blank=True)
    note = models.TextField(blank=True)
    feedback = models.JSONField(null=True, blank=True, help_text="what people made of it, in sum; null = no votes")
    updated_at = models.DateTimeField(default=timezone.now, help_text="when the row was last written")

    objects = VisibleQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "anomalies"
        ordering = ["-first_seen", "-id"]
        indexes = [
            models.Index(fields=["-first_seen", "-id"], name="anomaly_newest"),
            models.Index(fields=["-last_seen"], name="anomaly_last_seen"),
            models.Index(fields=["updated_at"], name="anomaly_updated"),
            models.Index(fields=["service", "-first_seen", "-id"], name="anomaly_service_newest"),
            models.Index(fields=["severity", "-first_seen", "-id"], name="anomaly_severity_newest"),
            models.Index(fields=["status", "-first_seen", "-id"], name="anomaly_status_newest"),
            models.Index(fields=["model", "-first_seen", "-id"], name="anomaly_model_newest"),
            models.Index(fields=["metric", "-first_seen", "-id"], name="anomaly_metric_newest"),
            models.Index(fields=["detector", "-first_seen", "-id"], name="anomaly_detector_newest"),
            models.Index(fields=["topic_id", "partition", "state"], name="anomaly_owner"),
            models.Index(
                fields=["acknowledged_until"],
                condition=models.Q(status="acknowledged"),
                name="anomaly_acknowledged_until",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} of {self.service}:{self.model} ({self.severity})"

    @property
    def title(self) -> str:
        """What a person reads first: "Latency spike in chat-api (gpt-4)", or what the limit is called."""
        if "title" in self.details:
            return str(self.details["title"])
        return f"{self.type.replace('_', ' ').capitalize()} in {self.service.name} ({self.model})"


class FeedbackQuerySet(models.QuerySet):  # type: ignore[type-arg]
    def visible_to(self, principal: object) -> FeedbackQuerySet:
        """Votes on the anomalies of the services that `principal` may see."""
        services = Service.objects.ids_visible_to(principal)
        return self if services is None else self.filter(anomaly__service__in=services)


class Transition(models.Model):
    """One change in the life of an anomaly, by a person or by the machine. Rows are only ever added."""

    class Kind(models.TextChoices):
        ACKNOWLEDGED = "acknowledged"
        ACKNOWLEDGEMENT_EXPIRED = "acknowledgement_expired"
        RESOLVED = "resolved"
        REOPENED = "reopened"
        NOTED = "noted"

    anomaly = models.ForeignKey(Anomaly, on_delete=models.CASCADE, related_name="transitions")
    kind = models.CharField(max_length=24, choices=Kind.choices)
    from_status = models.CharField(max_length=12, choices=Status.choices)
    to_status = models.CharField(max_length=12, choices=Status.choices)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField(max_length=150, help_text="who, as it was called then; a token's name for programs")
    note = models.TextField(blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.kind} by {self.actor_name}"


class Verdict(models.TextChoices):
    USEFUL = "useful"
    NOISE = "noise"


class Feedback(models.Model):
    """What one person or program made of an anomaly: worth knowing, or noise. A later vote replaces an earlier one."""

    anomaly = models.ForeignKey(Anomaly, on_delete=models.CASCADE, related_name="votes")
    actor = models.CharField(max_length=170, help_text="user:<id> or token:<name>")
    actor_name = models.CharField(max_length=150, help_text="who, as it was called then; a token's name for programs")
    verdict = models.CharField(max_length=8, choices=Verdict.choices)
    note = models.TextField(blank=True)
    at = models.DateTimeField()

    objects = FeedbackQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "feedback"
        ordering = ["-at", "-id"]
        constraints = [models.UniqueConstraint(fields=["anomaly", "actor"], name="feedback_once_per_actor")]
        indexes = [models.Index(fields=["-at", "-id"], name="feedback_newest")]

    def __str__(self) -> str:
        return f"{self.verdict} by {self.actor_name}"


class DetectionOverride(models.Model):
    """What operators set differently for some series; `anomalies.overrides` says what the pipeline makes of it.

    A pattern is a name in which `*` stands for any text. What is left empty is left as it is.
    """

    service = models.CharField(max_length=128, default="*", help_text="name or pattern; * = every service")
    model = models.CharField(max_length=128, default="*", help_text="name or pattern; * = every model")
    metric = models.CharField(max_length=64, default="*", help_text="name or pattern; * = every metric")
    detectors = models.JSONField(
        default=dict, blank=True, help_text='detectors to run or not: {"spike": true, "iqr": false}'
    )
    sensitivity = models.CharField(
        max_length=8, blank=True, choices=[(name, name) for name in SENSITIVITIES], help_text="of all thresholds"
    )
    thresholds = models.JSONField(
        default=dict,
        blank=True,
        help_text='by detector, before sensitivity: {"zscore": 4.5}; of shift, spike … a factor: {"shift": 1.2}',
    )
    direction = models.CharField(
        max_length=4,
        blank=True,
        choices=[(name, name) for name in DIRECTIONS],
        help_text="which departures count, in full",
    )
    min_deviation = models.FloatField(
        null=True, blank=True, help_text="departures below this fraction of the usual value stay info: 0.2 = 20 %"
    )
    muted = models.BooleanField(null=True, blank=True, help_text="learn from it, open no anomalies")
    enabled = models.BooleanField(default=True)
    note = models.TextField(blank=True, help_text="why")
    project = models.ForeignKey(
        Project,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="detection_overrides",
        help_text="only its services; none = all",
    )
    created_by = models.CharField(max_length=150, blank=True, editable=False, help_text="who, as it was called then")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        ordering = ["service", "model", "metric", "id"]

    def __str__(self) -> str:
        return f"{self.service}:{self.model}:{self.metric}"

    def clean(self) -> None:
        """Every value must be one that the engine can use; what is wrong is said by field."""
        if problems := rule_problems(self.rule_values()):
            raise ValidationError(problems)

    def rule_values(self) -> dict[str, Any]:
        """The part of it that the pipeline knows of."""
        values = {name: getattr(self, name) for name in RULE_FIELDS}
        return values | {name: values[name] or None for name in ("sensitivity", "direction")}
