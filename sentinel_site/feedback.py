"""What feedback comes to: the share of noise by series, detector and alert rule, and what could be done about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerting.models import Delivery
from anomalies.detection.overrides import SENSITIVITIES
from anomalies.feedback import Vote, proposals, share, shares, votes_seen_by
from anomalies.models import Verdict
from baselines.api.parameters import StrictSerializer

DEFAULT_DAYS = 30
MAX_DAYS = 3650


class SummaryQuery(StrictSerializer):
    days = serializers.IntegerField(
        min_value=1, max_value=MAX_DAYS, default=DEFAULT_DAYS, help_text="votes of the last so many days"
    )


class ShareSerializer(serializers.Serializer):  # type: ignore[type-arg]
    votes = serializers.IntegerField()
    useful = serializers.IntegerField()
    noise = serializers.IntegerField()
    noise_share = serializers.FloatField(help_text="noise / votes")


class ProposalSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """The body of an override to post, if one agrees; nothing is ever applied by itself."""

    service = serializers.CharField()
    model = serializers.CharField()
    metric = serializers.CharField()
    sensitivity = serializers.ChoiceField(choices=SENSITIVITIES, required=False)
    min_deviation = serializers.FloatField(required=False)
    note = serializers.CharField()


class SeriesShareSerializer(ShareSerializer):
    service = serializers.CharField()
    model = serializers.CharField()
    metric = serializers.CharField()
    proposal = ProposalSerializer(allow_null=True, help_text="null: too few votes, or mostly useful")


class DetectorShareSerializer(ShareSerializer):
    detector = serializers.CharField()


class RuleShareSerializer(ShareSerializer):
    rule = serializers.CharField(help_text="by which alerts of these anomalies were sent")


class SummarySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """The noisiest first."""

    days = serializers.IntegerField()
    series = SeriesShareSerializer(many=True)
    detectors = DetectorShareSerializer(many=True)
    rules = RuleShareSerializer(many=True)


class FeedbackSummary(APIView):
    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="summarise_feedback", parameters=[SummaryQuery], responses=SummarySerializer, tags=["anomalies"]
    )
    def get(self, request: Request) -> Response:
        """The share of noise among votes on anomalies, and stricter settings to consider."""
        query = SummaryQuery.read(request.query_params)
        since = timezone.now() - timedelta(days=query["days"])
        votes = votes_seen_by(request.user, since)
        proposed = proposals(votes)
        series = [
            {"service": key[0], "model": key[1], "metric": key[2]} | counts | {"proposal": proposed.get(key)}
            for key, counts in shares(votes, lambda vote: vote.series).items()
        ]
        detectors = [{"detector": key} | counts for key, counts in shares(votes, lambda vote: vote.detector).items()]
        return Response({"days": query["days"], "series": series, "detectors": detectors, "rules": by_rule(votes)})


def by_rule(votes: Sequence[Vote]) -> list[dict[str, Any]]:
    """The share of noise among anomalies that each rule had alerts sent of."""
    rules: defaultdict[Any, set[str]] = defaultdict(set)
    sent = Delivery.objects.filter(notification__anomalies__in={vote.anomaly_id for vote in votes}, rule__isnull=False)
    for anomaly, name in sent.order_by().values_list("notification__anomalies", "rule__name").distinct():
        rules[anomaly].add(name)
    counted: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for vote in votes:
        for name in rules[vote.anomaly_id]:
            counted[name][vote.verdict == Verdict.NOISE] += 1
    rows = [{"rule": name} | share(*counts) for name, counts in counted.items()]
    return sorted(rows, key=lambda row: (-row["noise_share"], -row["votes"], row["rule"]))
