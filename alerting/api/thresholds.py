"""The API of static thresholds."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerting.models import Threshold
from alerting.rules.limits import AGGREGATIONS, MAX_MINUTES, METRICS, NO_DATA, OPERATORS
from anomalies.models import Severity
from baselines.api.owned import Owned, ProjectField
from baselines.api.pages import Keyset
from baselines.api.parameters import CursorField, LimitField, OneOfField, StrictSerializer
from baselines.api.serializers import NoQuery

_SAME = "id name enabled service model metric aggregation window operator value no_data breaches out_of severity "
_SAME += "created_at updated_at"
FIELDS = {name: name for name in _SAME.split()} | {"project": "project__name"}


class ThresholdQuery(StrictSerializer):
    limit = LimitField()
    cursor = CursorField(tuple[str, int])


class ThresholdBody(StrictSerializer):
    """It is breached while `aggregation` of `metric` over `window` minutes is `operator` `value`."""

    name = serializers.CharField(max_length=100)
    enabled = serializers.BooleanField(default=True)
    service = serializers.CharField(max_length=128, default="*", help_text="name or glob")
    model = serializers.CharField(max_length=128, default="*", help_text="name or glob; each pair is judged by itself")
    metric = OneOfField(choices=METRICS)
    aggregation = OneOfField(
        choices=AGGREGATIONS, help_text="p50 to p99 and max of the calls; of metrics of minutes: mean, min, max"
    )
    window = serializers.IntegerField(min_value=1, max_value=MAX_MINUTES, default=5, help_text="minutes")
    operator = OneOfField(choices=tuple(OPERATORS), default=">")
    value = serializers.FloatField(min_value=0, help_text="in the unit of the metric; of error_rate 0.05 = 5 %")
    no_data = OneOfField(
        choices=NO_DATA, default="keep", help_text="what a window without calls counts as; keep: it changes nothing"
    )
    breaches = serializers.IntegerField(
        min_value=1, max_value=MAX_MINUTES, default=1, help_text="so many windows beyond the limit …"
    )
    out_of = serializers.IntegerField(
        min_value=1, max_value=MAX_MINUTES, default=1, help_text="… of the last so many, one a minute"
    )
    severity = OneOfField(choices=Severity.choices, default=Severity.WARNING)
    project = ProjectField()


class ThresholdSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.IntegerField()
    name = serializers.CharField()
    enabled = serializers.BooleanField()
    service = serializers.CharField()
    model = serializers.CharField()
    metric = serializers.CharField()
    aggregation = serializers.CharField()
    window = serializers.IntegerField(help_text="minutes")
    operator = serializers.CharField()
    value = serializers.FloatField()
    no_data = serializers.CharField()
    breaches = serializers.IntegerField()
    out_of = serializers.IntegerField()
    severity = serializers.ChoiceField(choices=Severity.choices)
    project = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class ThresholdPage(serializers.Serializer):  # type: ignore[type-arg]
    thresholds = ThresholdSerializer(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


THRESHOLDS = Owned(Threshold, FIELDS, Keyset(("name", "id")), ThresholdBody)


class ThresholdList(APIView):
    scopes = {"GET": "read", "POST": "write"}

    @extend_schema(
        operation_id="list_thresholds", parameters=[ThresholdQuery], responses=ThresholdPage, tags=["thresholds"]
    )
    def get(self, request: Request) -> Response:
        """Thresholds of the projects one sees and of all projects, by name."""
        query = ThresholdQuery.read(request.query_params)
        rows, following = THRESHOLDS.page(request.user, query)
        return Response({"thresholds": rows, "count": len(rows), "next": following})

    @extend_schema(
        operation_id="create_threshold",
        request=ThresholdBody,
        responses={201: ThresholdSerializer},
        tags=["thresholds"],
    )
    def post(self, request: Request) -> Response:
        """Have an anomaly opened whenever a limit is exceeded."""
        threshold = Threshold()
        THRESHOLDS.write(threshold, request, partial=False)
        return Response(THRESHOLDS.one(request.user, threshold.pk), status.HTTP_201_CREATED)


class ThresholdDetail(APIView):
    scopes = {"GET": "read", "PATCH": "write", "DELETE": "write"}

    @extend_schema(operation_id="get_threshold", responses=ThresholdSerializer, tags=["thresholds"])
    def get(self, request: Request, threshold_id: int) -> Response:
        """One threshold."""
        NoQuery.read(request.query_params)
        return Response(THRESHOLDS.one(request.user, threshold_id))

    @extend_schema(
        operation_id="change_threshold", request=ThresholdBody, responses=ThresholdSerializer, tags=["thresholds"]
    )
    def patch(self, request: Request, threshold_id: int) -> Response:
        """Change what the body names. What it does not concern any more ends; what it still does goes on."""
        THRESHOLDS.write(THRESHOLDS.mine(request.user, threshold_id), request, partial=True)
        return Response(THRESHOLDS.one(request.user, threshold_id))

    @extend_schema(operation_id="delete_threshold", responses={204: None}, tags=["thresholds"])
    def delete(self, request: Request, threshold_id: int) -> Response:
        """Watch it no longer. Its anomalies stay; those that last end within half a minute."""
        THRESHOLDS.mine(request.user, threshold_id).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)
