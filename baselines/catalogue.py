"""The catalogue of services and models, filled by what telemetry names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from django.db.models import F, Max

from baselines.batches import batched
from baselines.models import DEFAULT_PROJECT, Project, ServedModel, Service
from baselines.stats.series import Pair


def default_project() -> Project:
    """The project of services that nobody put elsewhere."""
    return Project.objects.get_or_create(name=DEFAULT_PROJECT)[0]


def register(
    last_seen: dict[Pair, datetime], capped: Collection[Pair] = (), providers: Mapping[Pair, str] | None = None
) -> dict[str, Service]:
    """Make sure that every pair is in the catalogue and was seen at least then; returns the services by name.

    A retired pair that was seen after it was retired is back. `capped` are those of the pairs that share the series of
    all that are too many. Whoever is known as the provider of a pair stays so where `providers` has nobody for it.
    """
    by_service: dict[str, datetime] = {}
    for pair, seen in last_seen.items():
        by_service[pair.service] = max(seen, by_service.get(pair.service, seen))
    _create_services(by_service)
    services: dict[str, Service] = {}
    for names in batched(sorted(by_service), 500):
        services |= {service.name: service for service in Service.objects.filter(name__in=names)}
    stale = [service for service in services.values() if service.last_seen < by_service[service.name]]
    for service in stale:
        service.last_seen = by_service[service.name]
    Service.objects.bulk_update(stale, ["last_seen"], batch_size=500)
    _register_models(services, last_seen, frozenset(capped), providers or {})
    ServedModel.objects.filter(retired_at__lt=F("last_seen")).update(retired_at=None)
    return services


def retire(service: Service, model: str | None, now: datetime) -> int:
    """Watch a service no more, or one model of it, until telemetry of a later time names it; how many pairs changed.

    Saved one by one, so that the audit trail names each.
    """
    rows = service.models.filter(retired_at=None)
    changed = list(rows if model is None else rows.filter(name=model))
    for row in changed:
        row.retired_at = now
        row.save(update_fields=["retired_at"])
    return len(changed)


def retired() -> dict[Pair, datetime]:
    """The pairs that are not to be watched, and since when: for consumers, which free their series."""
    rows = ServedModel.objects.filter(retired_at__isnull=False)
    return {Pair(service, model): at for service, model, at in rows.values_list("service__name", "name", "retired_at")}


def _create_services(first_seen: dict[str, datetime]) -> None:
    known: set[str] = set()
    for names in batched(sorted(first_seen), 500):
        known |= set(Service.objects.filter(name__in=names).values_list("name", flat=True))
    new = sorted(first_seen.keys() - known)
    if not new:
        return
    project = default_project()
    rows = [Service(name=n, project=project, first_seen=first_seen[n], last_seen=first_seen[n]) for n in new]
    Service.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)


def _register_models(
    services: dict[str, Service],
    last_seen: dict[Pair, datetime],
    capped: frozenset[Pair],
    providers: Mapping[Pair, str],
) -> None:
    named: list[ServedModel] = []
    unnamed: list[ServedModel] = []
    for pair, seen in sorted(last_seen.items()):
        row = ServedModel(
            service=services[pair.service],
            name=pair.model,
            provider=providers.get(pair, ""),
            first_seen=seen,
            last_seen=seen,
            is_capped=pair in capped,
        )
        (named if row.provider else unnamed).append(row)
    _upsert(unnamed, ["last_seen", "is_capped"])
    _upsert(named, ["last_seen", "is_capped", "provider"])


def _upsert(rows: list[ServedModel], columns: list[str]) -> None:
    ServedModel.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["service", "name"], update_fields=columns, batch_size=500
    )


def newest_event(services: Iterable[str]) -> datetime | None:
    """When the newest event of any of the services was, as far as the catalogue knows."""
    newest: datetime | None = Service.objects.filter(name__in=list(services)).aggregate(at=Max("last_seen"))["at"]
    return newest
