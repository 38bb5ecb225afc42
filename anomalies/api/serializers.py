"""What the API of anomalies takes and gives: the checks of what comes in, the schema of what goes out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.fields import empty

from anomalies.api.rows import Position
from anomalies.detection.dimensions import DIMENSIONS
from anomalies.detection.settings import DETECTORS
from anomalies.detection.types import TYPES
from anomalies.models import LIMITS, Severity, State, Status, Transition, Verdict
from anomalies.queries import Query, QueryError, parse
from baselines.api.parameters import (
    ChosenFields,
    CursorField,
    FormatField,
    LimitField,
    OneOfField,
    RangeSerializer,
    StrictSerializer,
)
from baselines.stats.series import METRICS


class QueryField(serializers.CharField):
    """A query in the language of `anomalies.queries`; becomes its terms."""

    def __init__(self, **options: Any) -> None:
        told = 'terms that all must hold: service:chat-* severity>=warning -status:resolved age<2h "a name"'
        limits = {"required": False, "allow_blank": True}
        super().__init__(help_text=told, **limits | options)

    def run_validation(self, data: Any = empty) -> Any:
        return super().run_validation(data) or Query()

    def to_internal_value(self, data: Any) -> Query:
        try:
            return parse(super().to_internal_value(data))
        except QueryError as error:
            raise serializers.ValidationError(str(error)) from None


class AnomalyQuery(RangeSerializer):
    """Filters of the list; the range selects episodes whose [first_seen, last_seen] overlaps it."""

    severity = OneOfField(choices=Severity.choices, required=False)
    service = serializers.CharField(max_length=128, required=False)
    model = serializers.CharField(max_length=128, required=False)
    metric = OneOfField(choices=METRICS, required=False)
    detector = OneOfField(choices=(*DETECTORS, *LIMITS), required=False)
    type = OneOfField(choices=TYPES, required=False)
    status = OneOfField(choices=Status.choices, required=False)
    state = OneOfField(choices=State.choices, required=False)
    q = QueryField()
    limit = LimitField()
    cursor = CursorField(Position)
    format = FormatField()

    def get_fields(self) -> dict[str, Any]:
        # A serializer has an attribute of the parameter's name.
        return super().get_fields() | {"fields": ChosenFields(AnomalySerializer)}


class RecentQuery(StrictSerializer):
    limit = LimitField()


class AcknowledgeBody(StrictSerializer):
    """All optional. `expires_at`: when the anomaly is open again by itself."""

    note = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")
    assignee = serializers.CharField(max_length=150, required=False, allow_blank=True, default="")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        if value is not None and value <= timezone.now():
            raise serializers.ValidationError("Must be in the future.")
        return value


class ResolveBody(StrictSerializer):
    note = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")


class FeedbackSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """What people made of an anomaly: the latest vote, and how many there are of each kind."""

    verdict = serializers.ChoiceField(choices=Verdict.choices)
    note = serializers.CharField(allow_blank=True)
    by = serializers.CharField()
    at = serializers.DateTimeField()
    useful = serializers.IntegerField()
    noise = serializers.IntegerField()


class ExcessSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """A value that deviating calls have far more often than calls usually do. Shares are in [0, 1]."""

    dimension = serializers.ChoiceField(choices=DIMENSIONS)
    value = serializers.CharField()
    share = serializers.FloatField(help_text="of the calls that deviate")
    usual_share = serializers.FloatField(help_text="of all calls before the anomaly began")


class AnomalySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """An anomaly: one episode of one series in one direction. Values are in the unit of the metric."""

    id = serializers.UUIDField()
    incident_id = serializers.UUIDField()
    timestamp = serializers.DateTimeField(help_text="= first_seen")
    first_seen = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()
    service = serializers.CharField()
    model = serializers.CharField()
    metric = serializers.CharField()
    type = serializers.CharField()
    direction = serializers.ChoiceField(choices=["up", "down"])
    detector = serializers.CharField(help_text="the strongest")
    detectors = serializers.DictField(child=serializers.FloatField(), help_text="all that agree, with scores")
    value = serializers.FloatField(help_text="the peak")
    baseline_mean = serializers.FloatField(allow_null=True)
    baseline_stddev = serializers.FloatField(allow_null=True)
    baseline_median = serializers.FloatField(allow_null=True)
    lower = serializers.FloatField(allow_null=True, help_text="lower edge of the expected band")
    upper = serializers.FloatField(allow_null=True, help_text="upper edge of the expected band")
    z_score = serializers.FloatField(allow_null=True, help_text="null where the spread is zero")
    score = serializers.FloatField(help_text="1 is the detector's own threshold")
    severity = serializers.ChoiceField(choices=Severity.choices)
    confidence = serializers.FloatField(allow_null=True)
    occurrences = serializers.IntegerField()
    state = serializers.ChoiceField(choices=State.choices)
    status = serializers.ChoiceField(choices=Status.choices)
    acknowledged_by = serializers.CharField(allow_null=True)
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_until = serializers.DateTimeField(allow_null=True)
    assignee = serializers.CharField(allow_null=True)
    resolved_by = serializers.CharField(allow_null=True)
    resolved_at = serializers.DateTimeField(allow_null=True)
    note = serializers.CharField(allow_blank=True)
    details = serializers.DictField(help_text="of which limit it is, and what that says; empty where none is")
    dimensions = ExcessSerializer(many=True, help_text="the largest excess over the usual share first")
    sample_trace_ids = serializers.ListField(child=serializers.CharField())
    feedback = FeedbackSerializer(allow_null=True, help_text="null: no votes")


class AnomalyPage(serializers.Serializer):  # type: ignore[type-arg]
    anomalies = AnomalySerializer(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


class TransitionSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """One change in the life of an anomaly, by a person, a program or the machine."""

    kind = serializers.ChoiceField(choices=Transition.Kind.choices)
    from_status = serializers.ChoiceField(choices=Status.choices)
    to_status = serializers.ChoiceField(choices=Status.choices)
    actor = serializers.CharField()
    note = serializers.CharField(allow_blank=True)
    at = serializers.DateTimeField()
