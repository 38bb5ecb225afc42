"""What exists (projects, services, models) and what normal looks like (minutes, snapshots, persisted state)."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings
from django.db import models
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from baselines.remembered import Remembered
from baselines.visibility import visible_project_ids

DEFAULT_PROJECT = "default"


class Project(models.Model):
    """A tenant: people and tokens see the services of their projects only."""

    name = models.SlugField(max_length=64, unique=True)
    description = models.CharField(max_length=200, blank=True)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="projects", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class OwnedQuerySet(models.QuerySet):  # type: ignore[type-arg]
    """Rows that belong to a project, or to all of them."""

    def visible_to(self, principal: object) -> OwnedQuerySet:
        """Those of the projects `principal` may see, and those for all projects."""
        projects = visible_project_ids(principal)
        return self if projects is None else self.filter(models.Q(project=None) | models.Q(project_id__in=projects))


_ids_of_projects: Remembered[list[int]] = Remembered(name="projects")


class ServiceQuerySet(models.QuerySet["Service"]):
    def visible_to(self, principal: object) -> ServiceQuerySet:
        """The services a person or an API token may see: the one place where tenancy is decided."""
        projects = visible_project_ids(principal)
        return self if projects is None else self.filter(project_id__in=projects)

    def ids_visible_to(self, principal: object) -> list[int] | None:
        """The ids of those services; None for all of them. A new service may be missing for a moment.

        For tables of a million rows: with a short list instead of a join the database takes its indexes.
        """
        projects = visible_project_ids(principal)
        return None if projects is None else _ids_of_projects.get(tuple(projects), lambda: self._ids_of(projects))

    def _ids_of(self, projects: Collection[int]) -> list[int]:
        return list(self.filter(project_id__in=projects).order_by().values_list("id", flat=True))


class Service(models.Model):
    """One sender of telemetry; its row is made when it is first seen, in the default project."""

    name = models.CharField(max_length=128, unique=True)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="services")
    labels = models.JSONField(default=dict, blank=True)
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()

    objects = ServiceQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


@receiver([post_save, post_delete], sender=Service)
def forget_ids(**_: object) -> None:
    """What one process changes, it sees at once."""
    _ids_of_projects.forget()


class ServedModelQuerySet(models.QuerySet):  # type: ignore[type-arg]
    def visible_to(self, principal: object) -> ServedModelQuerySet:
        """The models of the services that `principal` may see."""
        services = Service.objects.ids_visible_to(principal)
        return self if services is None else self.filter(service__in=services)


class ServedModel(models.Model):
    """A model that a service calls: one (service, model) pair."""

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="models")
    name = models.CharField(max_length=128)
    provider = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="who serves it, as its calls say; else as the price table lists it; empty = not known",
    )
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    retired_at = models.DateTimeField(
        null=True, blank=True, help_text="not watched since then; telemetry of a later time brings it back"
    )
    is_capped = models.BooleanField(
        default=False, db_default=False, help_text="beyond detection.max_series: it shares the series of all such pairs"
    )

    objects = ServedModelQuerySet.as_manager()

    class Meta:
        ordering = ["service", "name"]
        constraints = [models.UniqueConstraint(fields=["service", "name"], name="served_model_once_per_service")]
        indexes = [
            models.Index(
                fields=["retired_at"], condition=models.Q(retired_at__isnull=False), name="served_model_retired"
            )
        ]

    def __str__(self) -> str:
        return f"{self.service.name}:{self.name}"


class SeriesQuerySet(models.QuerySet):  # type: ignore[type-arg]
    """Rows that name their service instead of pointing at it, as the pipeline writes them."""

    def visible_to(self, principal: object) -> SeriesQuerySet:
        """Rows of the services that `principal` may see."""
        if visible_project_ids(principal) is None:
            return self
        return self.filter(service__in=Service.objects.visible_to(principal).values("name"))


class TelemetryMinute(models.Model):
    """What one partition saw of one (service, model) in one minute of event time, in absolute values.

    A minute that late events reopen gets a further row under the offset of the first of them, so a reader adds
    rows up in any case (partitions have rows of their own too) and a replay writes the very same rows.
    """

    topic_id = models.UUIDField()
    partition = models.IntegerField()
    first_offset = models.BigIntegerField()
    last_offset = models.BigIntegerField()
    service = models.CharField(max_length=128)
    model = models.CharField(max_length=128)
    minute = models.DateTimeField()
    count = models.BigIntegerField(help_text="calls, failed ones included")
    errors = models.BigIntegerField(help_text="failed calls")
    cost_usd = models.FloatField(help_text="sum over priced calls")
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    total_tokens = models.BigIntegerField()
    unpriced_calls = models.BigIntegerField(help_text="successful calls without a price")
    unpriced_tokens = models.BigIntegerField(help_text="tokens of the calls without a price")
    sketches = models.BinaryField(help_text="quantile sketches per metric (baselines.stats.sketch)")

    objects = SeriesQuerySet.as_manager()

    class Meta:
        ordering = ["-minute"]
        constraints = [
            models.UniqueConstraint(
                fields=["service", "model", "minute", "topic_id", "partition", "first_offset"],
                name="telemetry_minute_once",
            )
        ]
        indexes = [models.Index(fields=["-minute"], name="telemetry_minute_time")]

    def __str__(self) -> str:
        return f"{self.service}:{self.model} {self.minute:%Y-%m-%dT%H:%MZ}"


class TelemetryHour(models.Model):
    """The minutes of one (service, model) in one hour of event time added up, of all partitions (baselines.rollup)."""

    service = models.CharField(max_length=128)
    model = models.CharField(max_length=128)
    hour = models.DateTimeField()
    count = models.BigIntegerField(help_text="calls, failed ones included")
    errors = models.BigIntegerField(help_text="failed calls")
    cost_usd = models.FloatField(help_text="sum over priced calls")
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    total_tokens = models.BigIntegerField()
    unpriced_calls = models.BigIntegerField(help_text="successful calls without a price")
    unpriced_tokens = models.BigIntegerField(help_text="tokens of the calls without a price")
    sketches = models.BinaryField(help_text="quantile sketches per metric (baselines.stats.sketch)")
    is_final = models.BooleanField(
        default=False, help_text="its minutes are deleted: later ones are added to it instead of adding all up anew"
    )

    objects = SeriesQuerySet.as_manager()

    class Meta:
        ordering = ["-hour"]
        constraints = [models.UniqueConstraint(fields=["service", "model", "hour"], name="telemetry_hour_once")]
        indexes = [
            models.Index(fields=["-hour"], name="telemetry_hour_time"),
            models.Index(fields=["-hour"], condition=models.Q(is_final=True), name="telemetry_hour_final"),
        ]

    def __str__(self) -> str:
        return f"{self.service}:{self.model} {self.hour:%Y-%m-%dT%HZ}"


class DueHour(models.Model):
    """A note, written with each minute, that its hour has to be added up (again).

    Notes are only ever added and taken away: a writer waits for nobody, and none of its minutes can be overlooked,
    because a note becomes visible together with them.
    """

    service = models.CharField(max_length=128)
    model = models.CharField(max_length=128)
    hour = models.DateTimeField()

    class Meta:
        ordering = ["hour", "id"]
        indexes = [models.Index(fields=["hour", "service", "model"], name="due_hour_time")]

    def __str__(self) -> str:
        return f"{self.service}:{self.model} {self.hour:%Y-%m-%dT%HZ}"


class UserHour(models.Model):
    """What one user's calls of one (service, model) cost in one hour of event time.

    Only of those that cost the most in that hour (`ingestion.users`): what they add up to is the least a user spent.
    """

    service = models.CharField(max_length=128)
    model = models.CharField(max_length=128)
    user = models.CharField(max_length=256)
    hour = models.DateTimeField()
    count = models.BigIntegerField(help_text="successful calls")
    cost_usd = models.FloatField(help_text="sum over priced calls")
    total_tokens = models.BigIntegerField()
    unpriced_tokens = models.BigIntegerField(help_text="tokens of the calls without a price")

    objects = SeriesQuerySet.as_manager()

    class Meta:
        ordering = ["-hour"]
        constraints = [models.UniqueConstraint(fields=["hour", "service", "model", "user"], name="user_hour_once")]

    def __str__(self) -> str:
        return f"{self.user} of {self.service}:{self.model} {self.hour:%Y-%m-%dT%HZ}"


class UserCount(models.Model):
    """When the users of an hour were last counted."""

    hour = models.DateTimeField(primary_key=True)
    counted_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%HZ}"


class BaselineSnapshot(models.Model):
    """What is normal for one series, as of the last persist: for people and programs to read."""

    topic = models.CharField(max_length=249)
    topic_id = models.UUIDField()
    partition = models.IntegerField()
    service = models.CharField(max_length=128)
    model = models.CharField(max_length=128)
    metric = models.CharField(max_length=32)
    samples = models.IntegerField(help_text="in its window")
    learned = models.BigIntegerField(default=0, db_default=0, help_text="samples it was ever taught")
    mean = models.FloatField()
    stddev = models.FloatField()
    median = models.FloatField()
    mad = models.FloatField(help_text="median absolute deviation, unscaled")
    q1 = models.FloatField()
    q3 = models.FloatField()
    p95 = models.FloatField()
    p99 = models.FloatField()
    minimum = models.FloatField()
    maximum = models.FloatField()
    offset = models.BigIntegerField(help_text="events below this offset are in it")
    last_event_at = models.DateTimeField(help_text="watermark of the series (event time)")
    updated_at = models.DateTimeField()

    objects = SeriesQuerySet.as_manager()

    class Meta:
        ordering = ["service", "model", "metric"]
        constraints = [
            models.UniqueConstraint(
                fields=["service", "model", "metric", "topic", "partition"], name="baseline_snapshot_once"
            )
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def key(self) -> str:
        return f"{self.service}:{self.model}:{self.metric}"


class PartitionCheckpoint(models.Model):
    """The detection state of one partition as last persisted: a restart without Redis begins at `offset`."""

    topic = models.CharField(max_length=249)
    topic_id = models.UUIDField()
    partition = models.IntegerField()
    offset = models.BigIntegerField(help_text="the next offset to read: the state covers all below it")
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ["topic", "partition"]
        constraints = [models.UniqueConstraint(fields=["topic_id", "partition"], name="partition_checkpoint_once")]

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class PartitionBlob(models.Model):
    """One named piece of a persisted partition state, as baselines.store holds it in Redis."""

    checkpoint = models.ForeignKey(PartitionCheckpoint, on_delete=models.CASCADE, related_name="blobs")
    name = models.CharField(max_length=64)
    value = models.BinaryField()
    checksum = models.BigIntegerField(help_text="CRC-32 of the value: tells what changed without reading it")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["checkpoint", "name"], name="partition_blob_once")]

    def __str__(self) -> str:
        return self.name


class PartitionTick(models.Model):
    """What happened to a partition just before the event at `offset`, and was no event itself.

    Idle time passed up to `now_ms`: only a clock can end what no further event will end. Or operators said something,
    `instructions`. Written before it has any effect, so that a replay of the same offsets sees the same ticks in the
    order of their ids; forgotten once a checkpoint covers it.
    """

    topic_id = models.UUIDField()
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    now_ms = models.BigIntegerField(null=True, help_text="record time, ms")
    instructions = models.BinaryField(
        null=True, help_text="what operators said from then on (anomalies.detection.instructions)"
    )

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["topic_id", "partition", "offset"], name="partition_tick_place")]

    def __str__(self) -> str:
        return f"{self.partition}@{self.offset}: {self.now_ms}"


class AnnotationQuerySet(models.QuerySet):  # type: ignore[type-arg]
    def visible_to(self, principal: object) -> AnnotationQuerySet:
        """Those of the services and projects that `principal` may see, and those about everything."""
        projects = visible_project_ids(principal)
        if projects is None:
            return self
        common = models.Q(service=None) & (models.Q(project=None) | models.Q(project_id__in=projects))
        return self.filter(common | models.Q(service__project_id__in=projects))


class Annotation(models.Model):
    """Something people did that may explain what is seen afterwards: a deploy, a change of a prompt or a price."""

    service = models.ForeignKey(
        Service, null=True, blank=True, on_delete=models.CASCADE, related_name="annotations", help_text="none = all"
    )
    project = models.ForeignKey(
        Project,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="annotations",
        help_text="whose services, where no service is named; none = all",
    )
    at = models.DateTimeField()
    text = models.CharField(max_length=500, help_text="as it reads after “after”: deploy v12")
    url = models.URLField(max_length=500, blank=True)
    created_by = models.CharField(max_length=150, blank=True, editable=False, help_text="who, as it was called then")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AnnotationQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["-at", "-id"], name="annotation_newest"),
            models.Index(fields=["service", "-at"], name="annotation_service_newest"),
        ]

    def __str__(self) -> str:
        return self.text
