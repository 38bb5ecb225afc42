"""The API of overrides: what operators set differently for some series."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from anomalies.detection.overrides import DIRECTIONS, SENSITIVITIES
from anomalies.models import DetectionOverride
from baselines.api.owned import Owned, ProjectField
from baselines.api.pages import Keyset
from baselines.api.parameters import CursorField, LimitField, StrictSerializer
from baselines.api.serializers import NoQuery
from baselines.people import name_of

_SAME = (
    "id service model metric detectors sensitivity thresholds direction min_deviation muted enabled note "
    "created_by created_at updated_at"
)
FIELDS = {name: name for name in _SAME.split()} | {"project": "project__name"}
TEXTS = ("sensitivity", "direction")


class OverrideQuery(StrictSerializer):
    limit = LimitField()
    cursor = CursorField(tuple[int])


class OverrideBody(StrictSerializer):
    """What is left out or null leaves things as they are; a pattern is a name in which `*` stands for any text."""

    service = serializers.CharField(max_length=128, default="*", help_text="name or pattern")
    model = serializers.CharField(max_length=128, default="*", help_text="name or pattern")
    metric = serializers.CharField(max_length=64, default="*", help_text="name or pattern")
    detectors = serializers.DictField(
        child=serializers.JSONField(), default=dict, help_text='to run or not: {"spike": true, "iqr": false}'
    )
    sensitivity = serializers.ChoiceField(
        choices=SENSITIVITIES,
        allow_null=True,
        default=None,
        help_text="multiplies all thresholds: low by 4/3, high by 5/6",
    )
    thresholds = serializers.DictField(
        child=serializers.JSONField(),
        default=dict,
        help_text="before sensitivity; of zscore, iqr, mad, cusum the threshold itself, of the others a factor on "
        'their own: {"zscore": 4.5, "shift": 1.2}',
    )
    direction = serializers.ChoiceField(
        choices=DIRECTIONS,
        allow_null=True,
        default=None,
        help_text="which departures count; one that is named counts in full, drops and surges are info otherwise",
    )
    min_deviation = serializers.FloatField(
        allow_null=True, default=None, help_text="fraction below which a departure stays info: 0.2 = 20 %"
    )
    muted = serializers.BooleanField(allow_null=True, default=None, help_text="true: learned from, no anomalies")
    enabled = serializers.BooleanField(default=True)
    note = serializers.CharField(max_length=10_000, allow_blank=True, default="")
    project = ProjectField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return attrs | {name: attrs[name] or "" for name in TEXTS if name in attrs}


class OverrideSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.IntegerField()
    service = serializers.CharField()
    model = serializers.CharField()
    metric = serializers.CharField()
    detectors = serializers.DictField(child=serializers.BooleanField())
    sensitivity = serializers.ChoiceField(choices=SENSITIVITIES, allow_null=True)
    thresholds = serializers.DictField(child=serializers.FloatField())
    direction = serializers.ChoiceField(choices=DIRECTIONS, allow_null=True)
    min_deviation = serializers.FloatField(allow_null=True)
    muted = serializers.BooleanField(allow_null=True)
    enabled = serializers.BooleanField()
    note = serializers.CharField(allow_blank=True)
    project = serializers.CharField(allow_null=True)
    created_by = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class OverridePage(serializers.Serializer):  # type: ignore[type-arg]
    overrides = OverrideSerializer(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


def shown(row: dict[str, Any], principal: object) -> dict[str, Any]:
    return row | {name: row[name] or None for name in TEXTS}


OVERRIDES = Owned(DetectionOverride, FIELDS, Keyset(("id",)), OverrideBody, shown)


class OverrideList(APIView):
    scopes = {"GET": "read", "POST": "write"}

    @extend_schema(
        operation_id="list_detection_overrides", parameters=[OverrideQuery], responses=OverridePage, tags=["overrides"]
    )
    def get(self, request: Request) -> Response:
        """Overrides of the projects one sees and of all projects, oldest first."""
        rows, following = OVERRIDES.page(request.user, OverrideQuery.read(request.query_params))
        return Response({"overrides": rows, "count": len(rows), "next": following})

    @extend_schema(
        operation_id="create_detection_override",
        request=OverrideBody,
        responses={201: OverrideSerializer},
        tags=["overrides"],
    )
    def post(self, request: Request) -> Response:
        """Keep what is to be different for some series. Running consumers take it up within ten seconds."""
        override = DetectionOverride(created_by=name_of(request.user))
        OVERRIDES.write(override, request, partial=False)
        return Response(OVERRIDES.one(request.user, override.pk), status.HTTP_201_CREATED)


class OverrideDetail(APIView):
    scopes = {"GET": "read", "PATCH": "write", "DELETE": "write"}

    @extend_schema(operation_id="get_detection_override", responses=OverrideSerializer, tags=["overrides"])
    def get(self, request: Request, override_id: int) -> Response:
        """One override."""
        NoQuery.read(request.query_params)
        return Response(OVERRIDES.one(request.user, override_id))

    @extend_schema(
        operation_id="change_detection_override", request=OverrideBody, responses=OverrideSerializer, tags=["overrides"]
    )
    def patch(self, request: Request, override_id: int) -> Response:
        """Change what the body names."""
        OVERRIDES.write(OVERRIDES.mine(request.user, override_id), request, partial=True)
        return Response(OVERRIDES.one(request.user, override_id))

    @extend_schema(operation_id="delete_detection_override", responses={204: None}, tags=["overrides"])
    def delete(self, request: Request, override_id: int) -> Response:
        """Things are again as configured."""
        OVERRIDES.mine(request.user, override_id).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)
