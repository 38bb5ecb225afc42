"""What the API of alert rules takes and gives."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from alerting.api.parts import ChannelField, MatcherSerializer, matchers_field
from alerting.models.rules import MAX_SECONDS, default_group_by
from anomalies.models import Severity
from baselines.api.owned import ProjectField
from baselines.api.parameters import CursorField, LimitField, OneOfField, StrictSerializer

MAX_CHANNELS = 50
MAX_STEPS = 20
MAX_ORDER = 2**31 - 1


class RuleQuery(StrictSerializer):
    limit = LimitField()
    cursor = CursorField(tuple[int, int])


def seconds(minimum: int = 0, **options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=minimum, max_value=MAX_SECONDS, **options)


class BySeverityBody(StrictSerializer):
    """Channels that hear of a severity instead of `channels`."""

    info = ChannelField(many=True, required=False)
    warning = ChannelField(many=True, required=False)
    critical = ChannelField(many=True, required=False)


class StepBody(StrictSerializer):
    channel = ChannelField()
    wait = seconds(help_text="seconds after the step before, the first after the alert")


class RuleBody(StrictSerializer):
    """All durations are in seconds; references are ids."""

    name = serializers.CharField(max_length=100)
    enabled = serializers.BooleanField(default=True)
    order = serializers.IntegerField(
        min_value=-MAX_ORDER, max_value=MAX_ORDER, default=100, help_text="rules are tried in this order"
    )
    matchers = matchers_field(default=list)
    min_severity = OneOfField(choices=Severity.choices, default=Severity.WARNING)
    min_occurrences = serializers.IntegerField(
        min_value=1, max_value=1000, default=1, help_text="episodes of the series before anybody hears"
    )
    occurrences_within = seconds(
        1, allow_null=True, default=None, help_text="in which they must have begun; null = a day"
    )
    min_duration = seconds(default=0, help_text="an anomaly must last so long before anybody hears")
    active_hours = serializers.JSONField(
        allow_null=True,
        default=None,
        help_text='when to tell: {"timezone", "days", "start", "end"} or a list of such; null = always',
    )
    group_by = serializers.ListField(
        child=serializers.CharField(max_length=200), default=default_group_by, help_text="[] = all as one group"
    )
    group_wait = seconds(default=30)
    group_interval = seconds(default=300)
    repeat_interval = seconds(1, default=14_400)
    channels = ChannelField(many=True, default=list)
    channels_by_severity = BySeverityBody(default=dict)
    escalation = StepBody(many=True, default=list, max_length=MAX_STEPS)
    is_continued = serializers.BooleanField(default=False, help_text="following rules are tried too")
    project = ProjectField()

    def get_fields(self) -> dict[str, Any]:
        """`continue` is a word of Python, so the field cannot be declared under its name."""
        return renamed(super().get_fields())

    def validate_channels(self, channels: list[Any]) -> list[Any]:
        if len(channels) > MAX_CHANNELS:
            raise serializers.ValidationError(f"At most {MAX_CHANNELS} are allowed.")
        return channels

    @classmethod
    def read_body(cls, request: Request, *, partial: bool) -> dict[str, Any]:
        """The checked body of a request; raises ValidationError by field."""
        body = cls(data=request.data, partial=partial, context={"principal": request.user})
        body.is_valid(raise_exception=True)
        return dict(body.validated_data)


class PreviewBody(RuleBody):
    """A rule that need not be saved, and how far back to try it."""

    name = serializers.CharField(max_length=100, required=False)
    hours = serializers.IntegerField(min_value=1, max_value=31 * 24, default=7 * 24)


class PreviewGroup(serializers.Serializer):  # type: ignore[type-arg]
    title = serializers.CharField()
    first_seen = serializers.DateTimeField()
    count = serializers.IntegerField(help_text="anomalies")


class PreviewSerializer(serializers.Serializer):  # type: ignore[type-arg]
    alerts = serializers.IntegerField(help_text="messages to each channel, repeats of what lasts included")
    groups = PreviewGroup(many=True, help_text="what they would tell of, the newest first; at most 100")


class BySeveritySerializer(serializers.Serializer):  # type: ignore[type-arg]
    info = serializers.ListField(child=serializers.IntegerField(), required=False)
    warning = serializers.ListField(child=serializers.IntegerField(), required=False)
    critical = serializers.ListField(child=serializers.IntegerField(), required=False)


class StepSerializer(serializers.Serializer):  # type: ignore[type-arg]
    channel = serializers.IntegerField()
    wait = serializers.IntegerField()


class RuleSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.IntegerField()
    name = serializers.CharField()
    enabled = serializers.BooleanField()
    order = serializers.IntegerField()
    matchers = MatcherSerializer(many=True)
    min_severity = serializers.ChoiceField(choices=Severity.choices)
    min_occurrences = serializers.IntegerField()
    occurrences_within = serializers.IntegerField(allow_null=True)
    min_duration = serializers.IntegerField()
    active_hours = serializers.JSONField(allow_null=True)
    group_by = serializers.ListField(child=serializers.CharField())
    group_wait = serializers.IntegerField()
    group_interval = serializers.IntegerField()
    repeat_interval = serializers.IntegerField()
    channels = serializers.ListField(child=serializers.IntegerField(), help_text="those that you can see")
    channels_by_severity = BySeveritySerializer()
    escalation = StepSerializer(many=True)
    is_continued = serializers.BooleanField()
    project = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_fields(self) -> dict[str, Any]:
        return renamed(super().get_fields())


class RulePage(serializers.Serializer):  # type: ignore[type-arg]
    alert_rules = RuleSerializer(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


def renamed(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with `is_continued` under the name that it has on the wire."""
    return {"continue" if name == "is_continued" else name: field for name, field in fields.items()}
