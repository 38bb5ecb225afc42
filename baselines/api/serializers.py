"""What the API of baselines and services takes and gives."""

from __future__ import annotations

from rest_framework import serializers

from baselines.api.parameters import CursorField, LimitField, StrictSerializer
from baselines.watch import Watch

SeriesPosition = tuple[str, str, str, int]


class BaselineQuery(StrictSerializer):
    service = serializers.CharField(max_length=128, required=False)
    model = serializers.CharField(max_length=128, required=False)
    metric = serializers.CharField(max_length=32, required=False)
    limit = LimitField()
    cursor = CursorField(SeriesPosition)


class NoQuery(StrictSerializer):
    """No parameters at all."""


class BaselineSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """What is normal for one series, in the unit of its metric, as of the last persist."""

    key = serializers.CharField(help_text="service:model:metric")
    service = serializers.CharField()
    model = serializers.CharField()
    metric = serializers.CharField()
    samples = serializers.IntegerField()
    mean = serializers.FloatField()
    stddev = serializers.FloatField()
    median = serializers.FloatField()
    mad = serializers.FloatField(help_text="median absolute deviation, unscaled")
    q1 = serializers.FloatField()
    q3 = serializers.FloatField()
    p95 = serializers.FloatField()
    p99 = serializers.FloatField()
    minimum = serializers.FloatField()
    maximum = serializers.FloatField()
    topic = serializers.CharField()
    partition = serializers.IntegerField()
    last_event_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class BaselinePage(serializers.Serializer):  # type: ignore[type-arg]
    baselines = BaselineSerializer(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


class ServedModelSerializer(serializers.Serializer):  # type: ignore[type-arg]
    model = serializers.CharField()
    last_seen = serializers.DateTimeField()
    watch = serializers.ChoiceField(
        choices=Watch.choices,
        help_text="warming: too few samples yet; ready; capped: beyond detection.max_series; retired: not watched",
    )
    samples = serializers.IntegerField(help_text="that its longest baseline was ever taught")


class ServiceSerializer(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField()
    project = serializers.CharField()
    labels = serializers.DictField()
    models = ServedModelSerializer(many=True)


class RetireBody(StrictSerializer):
    model = serializers.CharField(
        max_length=128, required=False, allow_null=True, default=None, help_text="one model; null = the whole service"
    )


class ServiceList(serializers.Serializer):  # type: ignore[type-arg]
    services = ServiceSerializer(many=True)
