"""The API of what exists (services and their models) and of what normal looks like (baselines)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Max, Prefetch
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from baselines.api.pages import Keyset
from baselines.api.serializers import BaselinePage, BaselineQuery, NoQuery, ServiceList
from baselines.models import BaselineSnapshot, ServedModel, Service

_SAME = (
    "id service model metric samples mean stddev median mad q1 q3 p95 p99 minimum maximum "
    "topic partition last_event_at updated_at"
)
FIELDS = {name: name for name in _SAME.split()}
BY_SERIES = Keyset(("service", "model", "metric", "id"))
FILTERS = ("service", "model", "metric")


class BaselineList(APIView):
    scopes = {"GET": "read"}

    @extend_schema(
        operation_id="list_baselines", parameters=[BaselineQuery], responses=BaselinePage, tags=["baselines"]
    )
    def get(self, request: Request) -> Response:
        """Baselines as of the last persist, by service, model and metric."""
        query = BaselineQuery.read(request.query_params)
        chosen = BaselineSnapshot.objects.visible_to(request.user)
        chosen = chosen.filter(**{column: query[column] for column in FILTERS if column in query})
        rows, following = BY_SERIES.page(chosen, FIELDS, query["limit"], query.get("cursor"))
        shown = [baseline(row) for row in rows]
        return Response({"baselines": shown, "count": len(shown), "next": following})


class Services(APIView):
    scopes = {"GET": "read"}

    @extend_schema(operation_id="list_services", responses=ServiceList, tags=["services"])
    def get(self, request: Request) -> Response:
        """Every service that is known, with its models and whether each is watched yet."""
        NoQuery.read(request.query_params)
        samples = samples_by_model(request.user)
        models = Prefetch("models", ServedModel.objects.order_by("name"))
        services = Service.objects.visible_to(request.user).select_related("project").prefetch_related(models)
        return Response({"services": [service_row(service, samples) for service in services]})


def baseline(row: dict[str, Any]) -> dict[str, Any]:
    del row["id"]
    return {"key": f"{row['service']}:{row['model']}:{row['metric']}"} | row


def samples_by_model(principal: object) -> dict[tuple[str, str], int]:
    """Samples of the longest baseline of each (service, model)."""
    visible = BaselineSnapshot.objects.visible_to(principal).order_by()
    counted = visible.values_list("service", "model").annotate(longest=Max("samples"))
    return {(service, model): longest for service, model, longest in counted}


def service_row(service: Service, samples: dict[tuple[str, str], int]) -> dict[str, Any]:
    models = [model_row(model, samples.get((service.name, model.name), 0)) for model in service.models.all()]
    return {"name": service.name, "project": service.project.name, "labels": service.labels, "models": models}


def model_row(model: ServedModel, samples: int) -> dict[str, Any]:
    ready = samples >= settings.SENTINEL.detection.baseline.min_samples
    watch = "ready" if ready else "warming"
    return {"model": model.name, "last_seen": model.last_seen, "watch": watch, "samples": samples}
