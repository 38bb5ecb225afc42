"""The API of silences and maintenance windows. None is ever deleted: it is ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerting.api.parts import Conflict, MatcherSerializer, matchers_field
from alerting.models import Silence
from alerting.models.silences import STATES, state_of
from baselines.api.owned import Owned, ProjectField
from baselines.api.pages import Keyset
from baselines.api.parameters import CursorField, LimitField, OneOfField, StrictSerializer
from baselines.api.serializers import NoQuery
from baselines.people import name_of

_SAME = "id kind matchers starts_at ends_at weekly comment author created_at updated_at"
FIELDS = {name: name for name in _SAME.split()} | {"project": "project__name"}


class SilenceQuery(StrictSerializer):
    state = OneOfField(choices=STATES, required=False)
    kind = OneOfField(choices=Silence.Kind.choices, required=False)
    limit = LimitField()
    cursor = CursorField(tuple[datetime, int])


class SilenceBody(StrictSerializer):
    """What matches is told to nobody between `starts_at` and `ends_at`."""

    kind = OneOfField(choices=Silence.Kind.choices, default=Silence.Kind.SILENCE)
    matchers = matchers_field(allow_empty=False)
    starts_at = serializers.DateTimeField(required=False, help_text="RFC 3339; now where absent")
    ends_at = serializers.DateTimeField(help_text="RFC 3339")
    weekly = serializers.JSONField(
        allow_null=True,
        default=None,
        help_text='maintenance only, when within its time: {"timezone", "days", "start", "end"} or a list of such',
    )
    comment = serializers.CharField(max_length=10_000, allow_blank=True, default="", help_text="why")
    project = ProjectField()


class SilenceSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=Silence.Kind.choices)
    matchers = MatcherSerializer(many=True)
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    state = serializers.ChoiceField(choices=STATES)
    weekly = serializers.JSONField(allow_null=True)
    comment = serializers.CharField(allow_blank=True)
    author = serializers.CharField(allow_blank=True)
    project = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class SilencePage(serializers.Serializer):  # type: ignore[type-arg]
    silences = SilenceSerializer(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


def shown(row: dict[str, Any], principal: object) -> dict[str, Any]:
    return row | {"state": state_of(row["starts_at"], row["ends_at"], timezone.now())}


SILENCES = Owned(Silence, FIELDS, Keyset(("starts_at", "id"), descending=True), SilenceBody, shown)


class SilenceList(APIView):
    scopes = {"GET": "read", "POST": "write"}

    @extend_schema(operation_id="list_silences", parameters=[SilenceQuery], responses=SilencePage, tags=["silences"])
    def get(self, request: Request) -> Response:
        """Silences of the projects one sees and of all projects, those that begin last first."""
        query, now = SilenceQuery.read(request.query_params), timezone.now()
        wanted = Q(kind=query["kind"]) if "kind" in query else Q()
        if "state" in query:
            wanted &= _in_state(query["state"], now)
        rows, following = SILENCES.page(request.user, query, wanted)
        return Response({"silences": rows, "count": len(rows), "next": following})

    @extend_schema(
        operation_id="create_silence", request=SilenceBody, responses={201: SilenceSerializer}, tags=["silences"]
    )
    def post(self, request: Request) -> Response:
        """Have nothing told of what matches for a while. Anomalies are recorded all the same."""
        silence = Silence(author=name_of(request.user))
        SILENCES.write(silence, request, partial=False)
        return Response(SILENCES.one(request.user, silence.pk), status.HTTP_201_CREATED)


class SilenceDetail(APIView):
    scopes = {"GET": "read", "PATCH": "write", "DELETE": "write"}

    @extend_schema(operation_id="get_silence", responses=SilenceSerializer, tags=["silences"])
    def get(self, request: Request, silence_id: int) -> Response:
        """One silence."""
        NoQuery.read(request.query_params)
        return Response(SILENCES.one(request.user, silence_id))

    @extend_schema(operation_id="change_silence", request=SilenceBody, responses=SilenceSerializer, tags=["silences"])
    def patch(self, request: Request, silence_id: int) -> Response:
        """Change what the body names; one that is over is a 409."""
        silence = SILENCES.mine(request.user, silence_id)
        if silence.ends_at <= timezone.now():
            raise Conflict("It is over. Make a new one.")
        if "ends_at" in request.data:
            silence.announced_at = None
        SILENCES.write(silence, request, partial=True)
        return Response(SILENCES.one(request.user, silence_id))

    @extend_schema(operation_id="delete_silence", responses={204: None}, tags=["silences"])
    def delete(self, request: Request, silence_id: int) -> Response:
        """End it now. The row stays, as a record of what was kept from whom."""
        SILENCES.mine(request.user, silence_id).end(timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


class EndSilence(APIView):
    scopes = {"POST": "write"}

    @extend_schema(operation_id="end_silence", request=None, responses=SilenceSerializer, tags=["silences"])
    def post(self, request: Request, silence_id: int) -> Response:
        """End it now. Repeating it changes nothing."""
        SILENCES.mine(request.user, silence_id).end(timezone.now())
        return Response(SILENCES.one(request.user, silence_id))


def _in_state(state: str, now: datetime) -> Q:
    over, begun = Q(ends_at__lte=now), Q(starts_at__lte=now)
    return {"ended": over, "active": begun & ~over, "pending": ~begun & ~over}[state]
