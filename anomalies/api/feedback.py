"""The API of feedback: a vote on one anomaly. What it comes to in sum is composed by the site."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from anomalies import feedback
from anomalies.api.serializers import AnomalySerializer
from anomalies.api.views import AnomalyAction
from anomalies.models import Anomaly, Verdict
from baselines.api.parameters import StrictSerializer


class FeedbackBody(StrictSerializer):
    verdict = serializers.ChoiceField(choices=Verdict.choices)
    note = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")


class GiveFeedback(AnomalyAction):
    body_class = FeedbackBody

    @extend_schema(operation_id="give_feedback", request=FeedbackBody, responses=AnomalySerializer, tags=["anomalies"])
    def post(self, request: Request, anomaly_id: Any) -> Response:
        """Worth knowing, or noise. One vote for each person or token: a later one replaces an earlier one."""
        return super().post(request, anomaly_id)

    def perform(self, anomalies: QuerySet[Anomaly], actor: object, body: dict[str, Any]) -> None:
        feedback.vote(anomalies.get().pk, actor, body["verdict"], body["note"], timezone.now())
