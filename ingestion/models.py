"""Telemetry as the telemetry store `database` keeps it (InfluxDB 3 keeps none here), and dead letters sent back."""

from __future__ import annotations

from django.db import models


class TelemetryEvent(models.Model):
    """One LLM call. Its identity is where it stands in Kafka, so writing it twice stores it once."""

    topic_id = models.UUIDField()
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    event_id = models.CharField(max_length=128)
    timestamp = models.DateTimeField()
    service = models.CharField(max_length=128)
    model = models.CharField(max_length=128)
    latency_ms = models.FloatField(null=True)
    prompt_tokens = models.BigIntegerField(null=True)
    completion_tokens = models.BigIntegerField(null=True)
    total_tokens = models.BigIntegerField(null=True)
    cached_tokens = models.BigIntegerField(null=True)
    reasoning_tokens = models.BigIntegerField(null=True)
    cost_usd = models.FloatField(null=True)
    cost_source = models.CharField(max_length=8)
    error = models.BooleanField()
    errors = models.JSONField(default=list)
    ttft_ms = models.FloatField(null=True)
    quality_score = models.FloatField(null=True)
    finish_reason = models.CharField(max_length=64, blank=True)
    provider = models.CharField(max_length=64, blank=True)
    user_id = models.CharField(max_length=256, blank=True)
    session_id = models.CharField(max_length=256, blank=True)
    trace_id = models.CharField(max_length=64, blank=True)
    span_id = models.CharField(max_length=32, blank=True)
    metadata = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["topic_id", "partition", "offset"], name="telemetry_event_once")]
        indexes = [
            models.Index(fields=["service", "model", "-timestamp", "-id"], name="telemetry_event_series"),
            models.Index(fields=["-timestamp", "-id"], name="telemetry_event_newest"),
        ]

    def __str__(self) -> str:
        return self.event_id


class Detection(models.Model):
    """One flagged sample; an anomaly is made of many."""

    topic_id = models.UUIDField()
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    timestamp = models.DateTimeField()
    service = models.CharField(max_length=128)
    model = models.CharField(max_length=128)
    metric = models.CharField(max_length=32)
    direction = models.CharField(max_length=4)
    detector = models.CharField(max_length=32)
    severity = models.CharField(max_length=8)
    value = models.FloatField()
    expected = models.FloatField(null=True)
    lower = models.FloatField(null=True)
    upper = models.FloatField(null=True)
    score = models.FloatField()
    event_id = models.CharField(max_length=128, blank=True)
    anomaly_id = models.UUIDField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["topic_id", "partition", "offset", "metric", "detector"], name="detection_once"
            )
        ]
        indexes = [
            models.Index(fields=["anomaly_id", "-timestamp"], name="detection_anomaly"),
            models.Index(fields=["-timestamp", "-id"], name="detection_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.detector} {self.metric} {self.score:.2f}"


class ReplayedLetter(models.Model):
    """A dead letter that somebody sent back, so that nobody sends it a second time.

    Its id stands for the message that the letter is about: UUIDv5 of its topic's id, partition, offset and time. Taken
    before the message is sent (`claim`), and finished after Kafka or the telemetry store has it (`replayed_at`).
    """

    id = models.UUIDField(primary_key=True, editable=False)
    topic = models.CharField(max_length=249)
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    reason = models.CharField(max_length=64)
    actor = models.CharField(max_length=150, help_text="who, as it was called then")
    claim = models.UUIDField(editable=False)
    claimed_at = models.DateTimeField()
    replayed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "replayed dead letter"
        verbose_name_plural = "dead letters"
        ordering = ["-claimed_at", "-id"]
        indexes = [models.Index(fields=["-claimed_at", "-id"], name="replayed_letter_newest")]

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"
