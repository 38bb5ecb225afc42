"""The API of incidents: list, one, acknowledge, resolve. Acting on an incident acts on its anomalies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.http import Http404
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from anomalies import lifecycle, search
from anomalies.api import rows
from anomalies.api.serializers import AcknowledgeBody, AnomalySerializer, QueryField, ResolveBody
from anomalies.api.views import Conflict
from anomalies.detection.types import TYPES
from anomalies.models import Anomaly, Incident, Severity, State, Status
from baselines.api.pages import Keyset, decode_cursor
from baselines.api.parameters import (
    ChosenFields,
    CursorField,
    FormatField,
    LimitField,
    OneOfField,
    RangeSerializer,
    chosen,
)
from baselines.api.serializers import NoQuery
from baselines.api.streaming import NDJSON, Streams, lines, wants_lines
from baselines.models import Service

_SAME = "id title type severity state status first_seen last_seen"
FIELDS = {name: name for name in _SAME.split()} | {"service": "service__name", "count": "anomaly_count"}
NEWEST = Keyset(("first_seen", "id"), descending=True)
COLUMNS = ("severity", "type", "state", "status")
MEMBERS_IN_LIST = 50
MEMBERS_OF_ONE = 1000


class IncidentQuery(RangeSerializer):
    """Filters of the list; the range selects incidents whose [first_seen, last_seen] overlaps it."""

    severity = OneOfField(choices=Severity.choices, required=False)
    service = serializers.CharField(max_length=128, required=False)
    type = OneOfField(choices=TYPES, required=False)
    state = OneOfField(choices=State.choices, required=False)
    status = OneOfField(choices=Status.choices, required=False)
    limit = LimitField()
    cursor = CursorField(rows.Position)
    q = QueryField()
    format = FormatField()

    def get_fields(self) -> dict[str, Any]:
        # A serializer has an attribute of the parameter's name.
        return super().get_fields() | {"fields": ChosenFields(IncidentSerializer)}


class IncidentSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """The anomalies of a service that overlap in time."""

    id = serializers.UUIDField()
    service = serializers.CharField()
    title = serializers.CharField()
    type = serializers.CharField(help_text="of the strongest anomaly")
    severity = serializers.ChoiceField(choices=Severity.choices, help_text="the highest")
    state = serializers.ChoiceField(choices=State.choices, help_text="active while any anomaly is")
    status = serializers.ChoiceField(choices=Status.choices, help_text="open while any is, resolved once all are")
    first_seen = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()
    count = serializers.IntegerField(help_text="anomalies in it")
    anomalies = AnomalySerializer(
        many=True, help_text=f"oldest first; at most {MEMBERS_IN_LIST} in a list, {MEMBERS_OF_ONE} of one incident"
    )


class IncidentPage(serializers.Serializer):  # type: ignore[type-arg]
    incidents = IncidentSerializer(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


class IncidentList(Streams, APIView):
    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="list_incidents",
        parameters=[IncidentQuery],
        responses={(200, "application/json"): IncidentPage, (200, NDJSON): IncidentSerializer},
        tags=["incidents"],
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Incidents whose [first_seen, last_seen] overlaps the range, newest first_seen first.

        As application/x-ndjson: all of them, one a line, unless a limit is given.
        """
        query = IncidentQuery.read(request.query_params)
        visible = select(Incident.objects.visible_to(request.user).current(), query)

        def page(limit: int, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
            position = None if cursor is None else decode_cursor(cursor, rows.Position)
            found, following = NEWEST.page(visible, FIELDS, limit, position)
            return chosen(with_anomalies(found, MEMBERS_IN_LIST), query.get("fields")), following

        if wants_lines(request, query):
            most = query["limit"] if "limit" in request.query_params else None
            return lines(page, request.query_params.get("cursor"), most)
        found, following = page(query["limit"], request.query_params.get("cursor"))
        return Response({"incidents": found, "count": len(found), "next": following})


class IncidentDetail(APIView):
    scopes = {"GET": "read"}

    @extend_schema(operation_id="get_incident", responses=IncidentSerializer, tags=["incidents"])
    def get(self, request: Request, incident_id: UUID) -> Response:
        """One incident with its anomalies. One that became part of an older one answers with that."""
        NoQuery.read(request.query_params)
        return Response(one(current_id(request.user, incident_id)))


class IncidentAction(APIView, ABC):
    """Something done to all anomalies of an incident; answers with the incident as it is then."""

    scopes = {"POST": "write"}
    body_class: type[Any]

    @abstractmethod
    def perform(self, anomalies: QuerySet[Anomaly], actor: object, body: dict[str, Any]) -> None:
        """Do it; `body` is validated. Raises Conflict."""

    def post(self, request: Request, incident_id: UUID) -> Response:
        identity = current_id(request.user, incident_id)
        body = self.body_class(data=request.data)
        body.is_valid(raise_exception=True)
        self.perform(Anomaly.objects.filter(incident=identity), request.user, body.validated_data)
        return Response(one(current_id(request.user, identity)))


class AcknowledgeIncident(IncidentAction):
    body_class = AcknowledgeBody

    @extend_schema(
        operation_id="acknowledge_incident", request=AcknowledgeBody, responses=IncidentSerializer, tags=["incidents"]
    )
    def post(self, request: Request, incident_id: UUID) -> Response:
        """Somebody looks into it. Repeating it changes nothing; a resolved incident is a 409."""
        return super().post(request, incident_id)

    def perform(self, anomalies: QuerySet[Anomaly], actor: object, body: dict[str, Any]) -> None:
        changed = lifecycle.acknowledge(anomalies, actor, **body)
        if not changed and not anomalies.exclude(status=Status.RESOLVED).exists():
            raise Conflict("The incident is resolved.")


class ResolveIncident(IncidentAction):
    body_class = ResolveBody

    @extend_schema(
        operation_id="resolve_incident", request=ResolveBody, responses=IncidentSerializer, tags=["incidents"]
    )
    def post(self, request: Request, incident_id: UUID) -> Response:
        """It is over. What is still active is muted until it ends. Repeating it changes nothing."""
        return super().post(request, incident_id)

    def perform(self, anomalies: QuerySet[Anomaly], actor: object, body: dict[str, Any]) -> None:
        lifecycle.resolve(anomalies, actor, **body)


def select(incidents: QuerySet[Incident], query: dict[str, Any]) -> QuerySet[Incident]:
    """The incidents that overlap the range of `query` and match its other filters."""
    condition = Q(first_seen__lte=query["end"], last_seen__gte=query["start"])
    condition &= Q(**{column: query[column] for column in COLUMNS if column in query})
    if "service" in query:
        # A scalar subquery, not a join: so the index by service and time gives the rows in their order.
        condition &= Q(service=Service.objects.filter(name=query["service"]).order_by().values("id")[:1])
    found = incidents.filter(condition)
    return search.filter_incidents(found, query["q"], timezone.now()) if "q" in query else found


def current_id(principal: object, incident_id: UUID) -> UUID:
    """The id of an incident that `principal` may see, or of the one that it became part of; raises Http404."""
    seen = Incident.objects.visible_to(principal).filter(pk=incident_id).values_list("id", "merged_into")
    for identity, successor in seen:
        return successor or identity
    raise Http404


def one(incident_id: UUID) -> dict[str, Any]:
    found, _ = NEWEST.page(Incident.objects.filter(pk=incident_id), FIELDS, 1, None)
    return with_anomalies(found, MEMBERS_OF_ONE)[0]


def with_anomalies(incidents: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Add to each row its oldest anomalies, in one query for all."""
    members = members_of([row["id"] for row in incidents], most)
    return [row | {"anomalies": members[row["id"]]} for row in incidents]


def members_of(incidents: Sequence[UUID], most: int) -> defaultdict[UUID, list[dict[str, Any]]]:
    place = Window(RowNumber(), partition_by=[F("incident")], order_by=["first_seen", "id"])
    found = Anomaly.objects.filter(incident__in=incidents).annotate(place=place).filter(place__lte=most)
    members: defaultdict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in found.order_by("first_seen", "id").values_list(*rows.FIELDS.values()):
        shown = rows.shown(dict(zip(rows.FIELDS, row, strict=True)))
        members[shown["incident_id"]].append(shown)
    return members
