"""What the API composes from several apps: the page of one anomaly, and the description of the API itself."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from django.http import Http404
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerting.models import Delivery
from anomalies import circumstances
from anomalies.api.rows import one
from anomalies.api.serializers import AnomalySerializer, TransitionSerializer
from anomalies.models import Anomaly, Transition
from baselines.api.serializers import NoQuery
from ingestion.telemetry_store import StoreUnavailable, shared_store

DETECTIONS_SHOWN = 100

log = structlog.get_logger(__name__)


class DetectionSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """One flagged sample."""

    timestamp = serializers.DateTimeField()
    event_id = serializers.CharField()
    metric = serializers.CharField()
    detector = serializers.CharField()
    severity = serializers.CharField()
    value = serializers.FloatField()
    expected = serializers.FloatField(allow_null=True)
    lower = serializers.FloatField(allow_null=True)
    upper = serializers.FloatField(allow_null=True)
    score = serializers.FloatField()


class DeliverySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """One alert to one channel."""

    id = serializers.UUIDField()
    type = serializers.CharField(help_text="of the alert: anomaly.opened, …")
    severity = serializers.CharField()
    channel = serializers.CharField()
    status = serializers.ChoiceField(choices=Delivery.Status.choices)
    attempts = serializers.IntegerField()
    last_error = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    delivered_at = serializers.DateTimeField(allow_null=True)
    next_attempt_at = serializers.DateTimeField(allow_null=True, help_text="null once it is over")


class AnomalyInFull(AnomalySerializer):
    story = serializers.CharField(help_text="what happened and what else was going on, for people")
    transitions = TransitionSerializer(many=True)
    detections = DetectionSerializer(many=True, allow_null=True, help_text="the latest; null while the store is away")
    deliveries = DeliverySerializer(many=True)


class AnomalyDetail(APIView):
    scopes = {"GET": "read"}

    @extend_schema(operation_id="get_anomaly", responses=AnomalyInFull, tags=["anomalies"])
    def get(self, request: Request, anomaly_id: UUID) -> Response:
        """One anomaly with its history, its latest detections and the deliveries of its alerts."""
        NoQuery.read(request.query_params)
        try:
            anomaly = one(Anomaly.objects.visible_to(request.user), anomaly_id)
        except Anomaly.DoesNotExist:
            raise Http404 from None
        row = Anomaly.objects.select_related("service").get(pk=anomaly_id)
        parts = {
            "story": circumstances.told(row),
            "transitions": transitions(anomaly_id),
            "deliveries": deliveries(anomaly_id),
        }
        return Response(anomaly | parts | {"detections": detections(anomaly)})


def transitions(anomaly_id: UUID) -> list[dict[str, Any]]:
    columns = ("kind", "from_status", "to_status", "actor_name", "note", "at")
    keys = ("kind", "from_status", "to_status", "actor", "note", "at")
    rows = Transition.objects.filter(anomaly_id=anomaly_id).order_by("at", "id").values_list(*columns)
    return [dict(zip(keys, row, strict=True)) for row in rows]


def deliveries(anomaly_id: UUID) -> list[dict[str, Any]]:
    """The deliveries of an anomaly's alerts, oldest first."""
    found = Delivery.objects.filter(notification__anomalies=anomaly_id).select_related("notification", "channel")
    return [
        {
            "id": delivery.id,
            "type": delivery.notification.type,
            "severity": delivery.notification.severity,
            "channel": delivery.channel.name,
            "status": delivery.status,
            "attempts": delivery.attempt_count,
            "last_error": delivery.last_error,
            "created_at": delivery.created_at,
            "delivered_at": delivery.delivered_at,
            "next_attempt_at": delivery.next_attempt_at if delivery.status == Delivery.Status.PENDING else None,
        }
        for delivery in found.order_by("created_at", "id")
    ]


def detections(anomaly: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The latest single detections of an anomaly; None while the telemetry store does not answer."""
    keys = tuple(DetectionSerializer().fields)
    try:
        found = shared_store().detections(anomaly["id"], anomaly["first_seen"], anomaly["last_seen"], DETECTIONS_SHOWN)
    except StoreUnavailable as error:  # the rest of the page does not depend on it
        log.warning("detections_unavailable", anomaly_id=str(anomaly["id"]), error=str(error))
        return None
    return [{key: row.get(key) for key in keys} for row in found]


class Schema(SpectacularAPIView):
    scopes = {"GET": "read"}


class Docs(SpectacularSwaggerSplitView):
    scopes = {"GET": "read"}
    metadata_class = None  # a page for people
    url_name = "schema"
