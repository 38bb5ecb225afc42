"""The API of what exists (services and their models) and of what normal looks like (baselines)."""

from __future__ import annotations

from typing import Any

from django.db.models import Max, Prefetch
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from baselines import catalogue
from baselines.api.pages import Keyset
from baselines.api.serializers import (
    BaselinePage,
    BaselineQuery,
    NoQuery,
    RetireBody,
    ServiceList,
    ServiceSerializer,
)
from baselines.models import BaselineSnapshot, ServedModel, Service
from baselines.watch import TAUGHT, watch_of

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


class Retire(APIView):
    scopes = {"POST": "write"}

    @extend_schema(operation_id="retire_service", request=RetireBody, responses=ServiceSerializer, tags=["services"])
    def post(self, request: Request, name: str) -> Response:
        """Watch a service, or one model of it, no more: no alarms for its silence, its series freed.

        It comes back by itself when newer telemetry names it. Repeating it changes nothing.
        """
        service = Service.objects.visible_to(request.user).select_related("project").filter(name=name).first()
        if service is None:
            raise Http404
        body = RetireBody(data=request.data)
        body.is_valid(raise_exception=True)
        model = body.validated_data["model"]
        if model is not None and not service.models.filter(name=model).exists():
            raise ValidationError({"model": [f"{name} calls no model {model!r}."]})
        catalogue.retire(service, model, timezone.now())
        return Response(service_row(service, samples_by_model(request.user, service.name)))


def baseline(row: dict[str, Any]) -> dict[str, Any]:
    del row["id"]
    return {"key": f"{row['service']}:{row['model']}:{row['metric']}"} | row


def samples_by_model(principal: object, service: str | None = None) -> dict[tuple[str, str], int]:
    """Samples of the longest baseline of each (service, model), or of those of one service."""
    visible = BaselineSnapshot.objects.visible_to(principal).order_by()
    visible = visible if service is None else visible.filter(service=service)
    counted = visible.values_list("service", "model").annotate(longest=Max(TAUGHT))
    return {(service, model): longest for service, model, longest in counted}


def service_row(service: Service, samples: dict[tuple[str, str], int]) -> dict[str, Any]:
    models = [model_row(model, samples.get((service.name, model.name), 0)) for model in service.models.all()]
    return {"name": service.name, "project": service.project.name, "labels": service.labels, "models": models}


def model_row(model: ServedModel, samples: int) -> dict[str, Any]:
    watch = watch_of(model, samples).value
    return {"model": model.name, "last_seen": model.last_seen, "watch": watch, "samples": samples}
