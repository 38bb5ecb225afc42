"""The API of annotations: deploys and other changes that may explain what is seen after them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from baselines.api.owned import ProjectField, save_checked
from baselines.api.pages import Keyset
from baselines.api.parameters import CursorField, LimitField, RangeSerializer, StrictSerializer
from baselines.models import Annotation, Service
from baselines.people import name_of

FIELDS = {name: name for name in ("id", "at", "text", "url", "created_by")}
FIELDS |= {"service": "service__name", "project": "project__name"}
NEWEST = Keyset(("at", "id"), descending=True)


class AnnotationQuery(RangeSerializer):
    service = serializers.CharField(max_length=128, required=False, help_text="of it alone")
    limit = LimitField()
    cursor = CursorField(tuple[datetime, int])


class AnnotationBody(StrictSerializer):
    """About one service, else about all services of a project or of all projects."""

    service = serializers.SlugRelatedField(
        slug_field="name", queryset=Service.objects.all(), required=False, allow_null=True, default=None
    )
    at = serializers.DateTimeField(required=False, help_text="RFC 3339; now where absent")
    text = serializers.CharField(max_length=500, help_text="as it reads after “after”: deploy v12")
    url = serializers.URLField(max_length=500, required=False, allow_blank=True, default="")
    project = ProjectField(is_owner=False)

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        if "principal" in self.context:
            fields["service"].queryset = Service.objects.visible_to(self.context["principal"])
        return fields

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["service"] is not None and attrs["project"] is not None:
            raise serializers.ValidationError({"project": ["A service has its project: name one of the two."]})
        if attrs["service"] is None:
            try:
                self.fields["project"].require(attrs["project"])  # type: ignore[attr-defined]
            except serializers.ValidationError as error:
                raise serializers.ValidationError({"project": error.detail}) from None
        return attrs


class AnnotationSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.IntegerField()
    service = serializers.CharField(allow_null=True)
    project = serializers.CharField(allow_null=True, help_text="where it is about all services of one")
    at = serializers.DateTimeField()
    text = serializers.CharField()
    url = serializers.CharField(allow_blank=True)
    created_by = serializers.CharField(allow_blank=True)


class AnnotationPage(serializers.Serializer):  # type: ignore[type-arg]
    annotations = AnnotationSerializer(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


class Annotations(APIView):
    scopes = {"GET": "read", "POST": "write"}

    @extend_schema(
        operation_id="list_annotations", parameters=[AnnotationQuery], responses=AnnotationPage, tags=["annotations"]
    )
    def get(self, request: Request) -> Response:
        """Annotations within the range, newest first."""
        query = AnnotationQuery.read(request.query_params)
        chosen = Annotation.objects.visible_to(request.user).filter(at__range=(query["start"], query["end"]))
        if "service" in query:
            chosen = chosen.filter(service__name=query["service"])
        rows, following = NEWEST.page(chosen, FIELDS, query["limit"], query.get("cursor"))
        return Response({"annotations": rows, "count": len(rows), "next": following})

    @extend_schema(
        operation_id="create_annotation",
        request=AnnotationBody,
        responses={201: AnnotationSerializer},
        tags=["annotations"],
    )
    def post(self, request: Request) -> Response:
        """Note a deploy or another change; anomalies that begin within half an hour name it."""
        body = AnnotationBody(data=request.data, context={"principal": request.user})
        body.is_valid(raise_exception=True)
        annotation = Annotation(**{"at": timezone.now()} | body.validated_data, created_by=name_of(request.user))
        save_checked(annotation)
        rows, _ = NEWEST.page(Annotation.objects.filter(pk=annotation.pk), FIELDS, 1, None)
        return Response(rows[0], status.HTTP_201_CREATED)
