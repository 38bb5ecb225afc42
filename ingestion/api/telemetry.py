"""Telemetry out: single events, and what they add up to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from baselines.api.parameters import LimitField, OneOfField, RangeSerializer
from baselines.models import Service
from baselines.stats.sketch import quantile
from baselines.visibility import visible_project_ids
from ingestion.summaries import TooFine, summarize
from ingestion.telemetry_store import (
    BadCursor,
    StoreUnavailable,
    SummaryQuery,
    Tally,
    TelemetryQuery,
    shared_store,
)

INTERVALS = {"30s": 30, "1m": 60, "5m": 300, "1h": 3600, "1d": 86_400}
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
AWAY = OpenApiResponse(description="The telemetry store does not answer; see Retry-After.")


class StoreAway(exceptions.APIException):
    """503; detection, alerts and everything else go on."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The telemetry store does not answer. Try again later."
    default_code = "telemetry_store_away"

    def __init__(self, error: StoreUnavailable) -> None:
        super().__init__()
        self.wait = max(1, round(error.retry_after or 5))


class SeriesQuery(RangeSerializer):
    """Which events: of a service, of a model, in a range of time."""

    service = serializers.CharField(max_length=128, required=False, help_text="exact name")
    model = serializers.CharField(max_length=128, required=False, help_text="exact name")


class EventsQuery(SeriesQuery):
    limit = LimitField()
    cursor = serializers.CharField(max_length=1000, required=False, help_text="`next` of the answer before this one")


class IntervalsQuery(SeriesQuery):
    interval = OneOfField(choices=list(INTERVALS), default="5m", help_text="length of one interval")


class TimeRange(serializers.Serializer):  # type: ignore[type-arg]
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()


class EventRow(serializers.Serializer):  # type: ignore[type-arg]
    """One LLM call; null is "not known", an empty text "not given"."""

    event_id = serializers.CharField()
    timestamp = serializers.DateTimeField(help_text="when the call ended")
    service = serializers.CharField()
    model = serializers.CharField()
    latency_ms = serializers.FloatField(allow_null=True)
    prompt_tokens = serializers.IntegerField(allow_null=True)
    completion_tokens = serializers.IntegerField(allow_null=True)
    total_tokens = serializers.IntegerField(allow_null=True)
    cost_usd = serializers.FloatField(allow_null=True)
    cost_source = serializers.ChoiceField(choices=["reported", "table", "unpriced"])
    error = serializers.BooleanField(help_text="whether the call failed")
    errors = serializers.ListField(child=serializers.CharField())
    ttft_ms = serializers.FloatField(allow_null=True, help_text="time to the first token")
    finish_reason = serializers.CharField(allow_blank=True)
    user_id = serializers.CharField(allow_blank=True)
    session_id = serializers.CharField(allow_blank=True)
    trace_id = serializers.CharField(allow_blank=True)
    span_id = serializers.CharField(allow_blank=True)
    metadata = serializers.DictField(child=serializers.CharField())


class EventPage(serializers.Serializer):  # type: ignore[type-arg]
    data = EventRow(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    timeRange = TimeRange()  # noqa: N815 - as programs know it
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


class IntervalRow(serializers.Serializer):  # type: ignore[type-arg]
    """The calls of one interval; quantiles are of the latency of successful calls, within 2.5 %."""

    timestamp = serializers.DateTimeField(help_text="start of the interval")
    count = serializers.IntegerField(help_text="calls, failed ones included")
    errors = serializers.IntegerField(help_text="failed calls")
    cost = serializers.FloatField(help_text="US dollars of the priced calls")
    p50 = serializers.FloatField(allow_null=True, help_text="milliseconds")
    p95 = serializers.FloatField(allow_null=True, help_text="milliseconds")
    p99 = serializers.FloatField(allow_null=True, help_text="milliseconds")


class SummaryPage(serializers.Serializer):  # type: ignore[type-arg]
    data = IntervalRow(many=True, help_text="oldest first; intervals without calls are left out")
    count = serializers.IntegerField(help_text="intervals in this answer")
    interval = serializers.ChoiceField(choices=list(INTERVALS))
    timeRange = TimeRange()  # noqa: N815


class TelemetryList(APIView):
    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="list_telemetry",
        parameters=[EventsQuery],
        responses={200: EventPage, 503: AWAY},
        tags=["telemetry"],
    )
    def get(self, request: Request) -> Response:
        """Single events in [start, end), newest first."""
        asked = EventsQuery.read(request.query_params)
        query = TelemetryQuery(**series(asked, request.user), limit=asked["limit"], cursor=asked.get("cursor"))
        try:
            rows, following = shared_store().telemetry(query)
        except BadCursor as error:
            raise exceptions.ValidationError({"cursor": [f"{error}".capitalize() + "."]}) from error
        except StoreUnavailable as error:
            raise StoreAway(error) from error
        return Response({"data": rows, "count": len(rows), "timeRange": time_range(asked), "next": following})


class TelemetrySummary(APIView):
    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="summarize_telemetry",
        parameters=[IntervalsQuery],
        responses={200: SummaryPage, 503: AWAY},
        tags=["telemetry"],
    )
    def get(self, request: Request) -> Response:
        """Calls, failures, cost and latency per interval, aligned to whole intervals since 1970 (UTC).

        Of what is older than `storage.retention.minutes` only whole hours are left: there 1h and 1d are the intervals.
        """
        asked = IntervalsQuery.read(request.query_params)
        query = SummaryQuery(**series(asked, request.user), seconds=INTERVALS[asked["interval"]])
        try:
            summary = summarize(shared_store(), query, timezone.now())
        except TooFine as error:
            raise exceptions.ValidationError({"interval": [f"{error}: ask for 1h or 1d."]}) from error
        except StoreUnavailable as error:
            raise StoreAway(error) from error
        rows = [interval_row(start, tally) for start, tally in sorted(summary.items())]
        found = {"data": rows, "count": len(rows), "interval": asked["interval"]}
        return Response(found | {"timeRange": time_range(asked)})


def series(asked: dict[str, Any], principal: object) -> dict[str, Any]:
    """The range and the series of a question, within what the asker may see."""
    services = visible_services(principal, asked.get("service"))
    return {"start": asked["start"], "end": asked["end"], "services": services, "model": asked.get("model")}


def visible_services(principal: object, service: str | None) -> frozenset[str] | None:
    """The names to look for; None for all of them. A service that may not be seen looks like one without events."""
    if visible_project_ids(principal) is None:
        return None if service is None else frozenset({service})
    visible = Service.objects.visible_to(principal)
    if service is not None:
        visible = visible.filter(name=service)
    return frozenset(visible.values_list("name", flat=True))


def time_range(asked: dict[str, Any]) -> dict[str, datetime]:
    return {"start": asked["start"], "end": asked["end"]}


def interval_row(start: int, tally: Tally) -> dict[str, Any]:
    quantiles = {name: quantile(tally.latencies, "latency_ms", q) for name, q in QUANTILES.items()}
    counts = {"count": tally.count, "errors": tally.errors, "cost": tally.cost}
    return {"timestamp": datetime.fromtimestamp(start, UTC)} | counts | quantiles
