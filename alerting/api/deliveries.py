"""The API of deliveries: what was sent to whom, and what every receiver said."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerting.models import Attempt, Delivery, Notification
from anomalies.models import Severity
from baselines.api.pages import Keyset
from baselines.api.parameters import CursorField, LimitField, OneOfField, RangeSerializer
from baselines.api.serializers import NoQuery

FIELDS = {name: name for name in ("id", "status", "last_error", "created_at", "delivered_at", "next_attempt_at")}
FIELDS |= {"type": "notification__type", "severity": "notification__severity", "count": "notification__count"}
FIELDS |= {"channel": "channel__name", "channel_id": "channel_id", "rule": "rule__name", "attempts": "attempt_count"}
FIELDS |= {"group": "notification__group_id"}
NEWEST = Keyset(("created_at", "id"), descending=True)
COLUMNS = {
    "status": "status",
    "type": "notification__type",
    "severity": "notification__severity",
    "channel": "channel__name",
    "rule": "rule__name",
    "group": "notification__group",
    "anomaly": "notification__anomalies",
}


class DeliveryQuery(RangeSerializer):
    status = OneOfField(choices=Delivery.Status.choices, required=False)
    type = OneOfField(choices=Notification.Type.choices, required=False)
    severity = OneOfField(choices=Severity.choices, required=False)
    channel = serializers.CharField(max_length=100, required=False, help_text="its name")
    rule = serializers.CharField(max_length=100, required=False, help_text="its name")
    group = serializers.UUIDField(required=False)
    anomaly = serializers.UUIDField(required=False)
    limit = LimitField()
    cursor = CursorField(tuple[datetime, UUID])


class DeliveryRow(serializers.Serializer):  # type: ignore[type-arg]
    """One notification to one channel."""

    id = serializers.UUIDField(help_text="the same over all attempts: the receiver's webhook-id or message id")
    type = serializers.ChoiceField(choices=Notification.Type.choices)
    severity = serializers.ChoiceField(choices=Severity.choices)
    count = serializers.IntegerField(help_text="anomalies that it tells of")
    group = serializers.UUIDField()
    channel = serializers.CharField()
    channel_id = serializers.IntegerField()
    rule = serializers.CharField(allow_null=True, help_text="null = the built-in one, or one that is deleted")
    status = serializers.ChoiceField(choices=Delivery.Status.choices)
    attempts = serializers.IntegerField()
    last_error = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    delivered_at = serializers.DateTimeField(allow_null=True)
    next_attempt_at = serializers.DateTimeField(allow_null=True, help_text="null once it is over")


class AttemptSerializer(serializers.Serializer):  # type: ignore[type-arg]
    number = serializers.IntegerField()
    started_at = serializers.DateTimeField()
    latency_ms = serializers.FloatField(allow_null=True)
    ok = serializers.BooleanField()
    status_code = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_blank=True)
    answer = serializers.CharField(allow_blank=True)


class DeliveryInFull(DeliveryRow):
    anomalies = serializers.ListField(child=serializers.UUIDField(), help_text="the first 100 that it tells of")
    tries = AttemptSerializer(many=True, help_text="each attempt, with what the receiver said")


class DeliveryPage(serializers.Serializer):  # type: ignore[type-arg]
    deliveries = DeliveryRow(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


class DeliveryList(APIView):
    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="list_deliveries", parameters=[DeliveryQuery], responses=DeliveryPage, tags=["deliveries"]
    )
    def get(self, request: Request) -> Response:
        """Deliveries that were made within the range, newest first."""
        query = DeliveryQuery.read(request.query_params)
        chosen = Delivery.objects.visible_to(request.user).filter(created_at__range=(query["start"], query["end"]))
        chosen = chosen.filter(**{column: query[name] for name, column in COLUMNS.items() if name in query})
        rows, following = NEWEST.page(chosen, FIELDS, query["limit"], query.get("cursor"))
        shown = [as_row(row) for row in rows]
        return Response({"deliveries": shown, "count": len(shown), "next": following})


class DeliveryDetail(APIView):
    scopes = {"GET": "read"}

    @extend_schema(operation_id="get_delivery", responses=DeliveryInFull, tags=["deliveries"])
    def get(self, request: Request, delivery_id: UUID) -> Response:
        """One delivery with each attempt."""
        NoQuery.read(request.query_params)
        chosen = Delivery.objects.visible_to(request.user).filter(pk=delivery_id)
        rows, _ = NEWEST.page(chosen, FIELDS, 1, None)
        if not rows:
            raise Http404
        return Response(as_row(rows[0]) | {"anomalies": anomalies_of(delivery_id), "tries": tries_of(delivery_id)})


def as_row(row: dict[str, Any]) -> dict[str, Any]:
    is_over = row["status"] != Delivery.Status.PENDING
    return row | ({"next_attempt_at": None} if is_over else {})


def anomalies_of(delivery_id: UUID) -> list[UUID]:
    told = Notification.objects.filter(deliveries=delivery_id).values_list("anomalies", flat=True)
    return [anomaly for anomaly in told.order_by("anomalies")[:100] if anomaly is not None]


def tries_of(delivery_id: UUID) -> list[dict[str, Any]]:
    return list(
        Attempt.objects.filter(delivery=delivery_id).order_by("number").values(*AttemptSerializer().fields.keys())
    )
