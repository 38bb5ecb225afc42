"""The API of anomalies: list, recent, acknowledge, resolve. Views state the scope each method needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from anomalies import lifecycle
from anomalies.api.listing import Listing, page
from anomalies.api.rows import newest, one
from anomalies.api.serializers import (
    AcknowledgeBody,
    AnomalyPage,
    AnomalyQuery,
    AnomalySerializer,
    RecentQuery,
    ResolveBody,
)
from anomalies.models import Anomaly, Status
from baselines.api.streaming import NDJSON, Streams, lines, wants_lines
from baselines.models import Service


class Conflict(exceptions.APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class AnomalyList(Streams, APIView):
    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="list_anomalies",
        parameters=[AnomalyQuery],
        responses={(200, "application/json"): AnomalyPage, (200, NDJSON): AnomalySerializer},
        tags=["anomalies"],
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Anomalies whose [first_seen, last_seen] overlaps the range, newest first_seen first.

        As application/x-ndjson: all of them, one a line, unless a limit is given.
        """
        query = AnomalyQuery.read(request.query_params)
        listing = Listing(Service.objects.ids_visible_to(request.user), query)
        if wants_lines(request, query):
            most = query["limit"] if "limit" in request.query_params else None
            return lines(listing.page_after, request.query_params.get("cursor"), most)
        if "cursor" in query:
            return Response(page(*listing.page(query["limit"], query["cursor"])))
        return Response(listing.first_page(query["limit"]))


class RecentAnomalies(APIView):
    scopes = {"GET": "read"}

    @extend_schema(operation_id="recent_anomalies", parameters=[RecentQuery], responses=AnomalyPage, tags=["anomalies"])
    def get(self, request: Request) -> Response:
        """The newest anomalies, however old."""
        query = RecentQuery.read(request.query_params)
        return Response(page(*newest(Anomaly.objects.visible_to(request.user), query["limit"])))


class AnomalyAction(APIView, ABC):
    """Something done to one anomaly; answers with the anomaly as it is then."""

    scopes = {"POST": "write"}
    body_class: type[Any]

    @abstractmethod
    def perform(self, anomalies: QuerySet[Anomaly], actor: object, body: dict[str, Any]) -> None:
        """Do it; `body` is validated. Raises Conflict."""

    def post(self, request: Request, anomaly_id: UUID) -> Response:
        anomalies = Anomaly.objects.visible_to(request.user).filter(pk=anomaly_id)
        if not anomalies.exists():
            raise Http404
        body = self.body_class(data=request.data)
        body.is_valid(raise_exception=True)
        self.perform(anomalies, request.user, body.validated_data)
        return Response(one(anomalies, anomaly_id))


class Acknowledge(AnomalyAction):
    body_class = AcknowledgeBody

    @extend_schema(
        operation_id="acknowledge_anomaly", request=AcknowledgeBody, responses=AnomalySerializer, tags=["anomalies"]
    )
    def post(self, request: Request, anomaly_id: UUID) -> Response:
        """Somebody looks into it. Repeating it changes nothing; a resolved anomaly is a 409."""
        return super().post(request, anomaly_id)

    def perform(self, anomalies: QuerySet[Anomaly], actor: object, body: dict[str, Any]) -> None:
        changed = lifecycle.acknowledge(anomalies, actor, **body)
        if not changed and anomalies.filter(status=Status.RESOLVED).exists():
            raise Conflict("The anomaly is resolved.")


class Resolve(AnomalyAction):
    body_class = ResolveBody

    @extend_schema(operation_id="resolve_anomaly", request=ResolveBody, responses=AnomalySerializer, tags=["anomalies"])
    def post(self, request: Request, anomaly_id: UUID) -> Response:
        """It is over. While the episode is active this mutes it until it ends. Repeating it changes nothing."""
        return super().post(request, anomaly_id)

    def perform(self, anomalies: QuerySet[Anomaly], actor: object, body: dict[str, Any]) -> None:
        lifecycle.resolve(anomalies, actor, **body)
