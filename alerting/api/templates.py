"""The API that shows what a channel's templates would say, before they are saved."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerting.channels.samples import SAMPLES, previews, template_problems
from baselines.api.parameters import StrictSerializer


class TemplatesBody(StrictSerializer):
    """The templates of a channel; one that is blank or absent stands for the built-in words."""

    title_template = serializers.CharField(max_length=10_000, allow_blank=True, default="")
    body_template = serializers.CharField(max_length=100_000, allow_blank=True, default="")


class SampleSerializer(serializers.Serializer):  # type: ignore[type-arg]
    sample = serializers.ChoiceField(choices=tuple(SAMPLES), help_text="what is told")
    title = serializers.CharField(allow_blank=True)
    text = serializers.CharField(allow_blank=True)


class PreviewsSerializer(serializers.Serializer):  # type: ignore[type-arg]
    previews = SampleSerializer(many=True)


class TemplatePreview(APIView):
    scopes = {"POST": "write"}

    @extend_schema(
        operation_id="preview_templates", request=TemplatesBody, responses=PreviewsSerializer, tags=["channels"]
    )
    def post(self, request: Request) -> Response:
        """What the templates make of each sample; one that fails on any of them is a 400 that says why."""
        body = TemplatesBody(data=request.data)
        body.is_valid(raise_exception=True)
        title, text = body.validated_data["title_template"], body.validated_data["body_template"]
        problems = template_problems(title, text)
        if problems:
            raise serializers.ValidationError({field: [problem] for field, problem in problems.items()})
        told = [{"sample": p.sample, "title": p.title, "text": p.text} for p in previews(title, text)]
        return Response({"previews": told})
