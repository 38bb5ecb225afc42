"""The API of inhibitions: what is not told while something larger goes on."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerting.api.parts import MatcherSerializer, matchers_field
from alerting.models import Inhibition
from baselines.api.owned import Owned, ProjectField
from baselines.api.pages import Keyset
from baselines.api.parameters import CursorField, LimitField, StrictSerializer
from baselines.api.serializers import NoQuery

_SAME = "id name enabled source_matchers target_matchers equal min_services created_at updated_at"
FIELDS = {name: name for name in _SAME.split()} | {"project": "project__name"}


class InhibitionQuery(StrictSerializer):
    limit = LimitField()
    cursor = CursorField(tuple[str, int])


class InhibitionBody(StrictSerializer):
    """While a source goes on in `min_services` services, targets that equal it in `equal` are held back."""

    name = serializers.CharField(max_length=100)
    enabled = serializers.BooleanField(default=True)
    source_matchers = matchers_field(allow_empty=False)
    target_matchers = matchers_field(default=list)
    equal = serializers.JSONField(default=list, help_text='facts that must be equal, e.g. ["provider"]')
    min_services = serializers.IntegerField(
        min_value=1, max_value=100_000, default=1, help_text="above 1 all but the oldest source are held back too"
    )
    project = ProjectField()


class InhibitionSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.IntegerField()
    name = serializers.CharField()
    enabled = serializers.BooleanField()
    source_matchers = MatcherSerializer(many=True)
    target_matchers = MatcherSerializer(many=True)
    equal = serializers.ListField(child=serializers.CharField())
    min_services = serializers.IntegerField()
    project = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class InhibitionPage(serializers.Serializer):  # type: ignore[type-arg]
    inhibitions = InhibitionSerializer(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


INHIBITIONS = Owned(Inhibition, FIELDS, Keyset(("name", "id")), InhibitionBody)


class InhibitionList(APIView):
    scopes = {"GET": "read", "POST": "write"}

    @extend_schema(
        operation_id="list_inhibitions", parameters=[InhibitionQuery], responses=InhibitionPage, tags=["inhibitions"]
    )
    def get(self, request: Request) -> Response:
        """Inhibitions of the projects one sees and of all projects, by name."""
        rows, following = INHIBITIONS.page(request.user, InhibitionQuery.read(request.query_params))
        return Response({"inhibitions": rows, "count": len(rows), "next": following})

    @extend_schema(
        operation_id="create_inhibition",
        request=InhibitionBody,
        responses={201: InhibitionSerializer},
        tags=["inhibitions"],
    )
    def post(self, request: Request) -> Response:
        """Hold back what follows from something else. What outlasts its cause is told then."""
        inhibition = Inhibition()
        INHIBITIONS.write(inhibition, request, partial=False)
        return Response(INHIBITIONS.one(request.user, inhibition.pk), status.HTTP_201_CREATED)


class InhibitionDetail(APIView):
    scopes = {"GET": "read", "PATCH": "write", "DELETE": "write"}

    @extend_schema(operation_id="get_inhibition", responses=InhibitionSerializer, tags=["inhibitions"])
    def get(self, request: Request, inhibition_id: int) -> Response:
        """One inhibition."""
        NoQuery.read(request.query_params)
        return Response(INHIBITIONS.one(request.user, inhibition_id))

    @extend_schema(
        operation_id="change_inhibition", request=InhibitionBody, responses=InhibitionSerializer, tags=["inhibitions"]
    )
    def patch(self, request: Request, inhibition_id: int) -> Response:
        """Change what the body names; matchers and `equal` are replaced as a whole."""
        INHIBITIONS.write(INHIBITIONS.mine(request.user, inhibition_id), request, partial=True)
        return Response(INHIBITIONS.one(request.user, inhibition_id))

    @extend_schema(operation_id="delete_inhibition", responses={204: None}, tags=["inhibitions"])
    def delete(self, request: Request, inhibition_id: int) -> Response:
        """Remove it. What it held back and still lasts is told within half a minute."""
        INHIBITIONS.mine(request.user, inhibition_id).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)
