"""The API that tries a rule against the past before it is saved."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerting.api.rule_bodies import PreviewBody, PreviewSerializer
from alerting.api.rule_rows import fill
from alerting.models import AlertRule
from alerting.preview import TooMuch, preview
from alerting.rules.simulation import TooManyTellings
from anomalies.models import Anomaly


class Preview(APIView):
    scopes = {"POST": "write"}

    @extend_schema(
        operation_id="preview_alert_rule", request=PreviewBody, responses=PreviewSerializer, tags=["alert rules"]
    )
    def post(self, request: Request) -> Response:
        """What the rule alone would have told in the last hours, had nobody acknowledged or silenced anything."""
        body = PreviewBody.read_body(request, partial=False)
        hours = body.pop("hours")
        rule = AlertRule()
        fill(rule, {"name": "preview"} | body)
        visible = Anomaly.objects.visible_to(request.user)
        try:
            rule.full_clean(validate_unique=False)
            outcome = preview(rule, visible, hours, timezone.now())
        except ValidationError as error:
            raise serializers.ValidationError(error.message_dict) from None
        except TooMuch as error:
            raise serializers.ValidationError({"hours": [str(error)]}) from None
        except TooManyTellings as error:
            raise serializers.ValidationError({"repeat_interval": [str(error)]}) from None
        groups = [{"title": g.title, "first_seen": g.first_seen, "count": g.count} for g in outcome.groups]
        return Response({"alerts": outcome.alerts, "groups": groups})
