"""What rules, silences and groups may ask about an anomaly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db.models import QuerySet

from anomalies.models import Anomaly
from baselines.models import ServedModel

Providers = Mapping[tuple[int, str], str]
"""Who serves a model, by the id of the service that calls it and its name."""


COLUMNS = ("incident", "model", "type", "metric", "direction", "detector", "severity", "status", "state")
TIMES = ("first_seen", "last_seen")


def with_facts(anomalies: QuerySet[Anomaly]) -> QuerySet[Anomaly]:
    """The anomalies with all that facts are made of and nothing else: what is in JSON takes longer to read."""
    service = ("service__name", "service__labels", "service__project__name")
    return anomalies.select_related("service__project").only(*COLUMNS, *TIMES, *service)


def providers_of(anomalies: Iterable[Anomaly]) -> Providers:
    """Who serves the models of these anomalies, as far as that is known: one query."""
    pairs = {(anomaly.service_id, anomaly.model) for anomaly in anomalies}
    services, models = {service for service, _ in pairs}, {model for _, model in pairs}
    rows = ServedModel.objects.filter(service__in=services, name__in=models).exclude(provider="").order_by()
    return {(service, model): name for service, model, name in rows.values_list("service_id", "name", "provider")}


def facts_of(anomaly: Anomaly, severity: str, event: str, providers: Providers) -> dict[str, str]:
    """The facts of an anomaly in an event of a severity; `anomaly.service.project` must be loaded.

    The keys are `alerting.rules.matching.FIELDS`, `labels.<name>`, and "incident", which only groups ask about.
    """
    service = anomaly.service
    labels = {f"labels.{key}": str(value) for key, value in service.labels.items()}
    return labels | {
        "service": service.name,
        "project": service.project.name,
        "model": anomaly.model,
        "provider": providers.get((service.pk, anomaly.model), ""),
        "type": anomaly.type,
        "metric": anomaly.metric,
        "direction": anomaly.direction,
        "detector": anomaly.detector,
        "severity": severity,
        "status": anomaly.status,
        "event": event,
        "incident": str(anomaly.incident_id),
    }
