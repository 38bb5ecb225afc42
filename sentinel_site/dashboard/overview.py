"""All that the first page shows, read with a constant number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db.models import Sum

from baselines.models import Annotation, ServedModel, TelemetryHour, TelemetryMinute
from baselines.stats.series import Pair
from baselines.watch import samples_needed
from sentinel_site.dashboard import bands, charts, listing, telemetry
from sentinel_site.dashboard.percentiles import quantiles
from sentinel_site.dashboard.selection import Selection
from sentinel_site.dashboard.sparks import Spark, spark
from sentinel_site.dashboard.telemetry import CALLS, COST, ERRORS, TOKENS, Telemetry

MOST_PAIRS = 300
MOST_ANNOTATIONS = 50


@dataclass(frozen=True)
class Totals:
    """Of all pairs shown, over the whole range. Percentiles in ms, None without calls."""

    calls: float
    per_minute: float
    error_rate: float | None
    tokens: float
    cost: float
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class Row:
    """One (service, model) pair in the table; `state` is a severity, or ok, learning, idle."""

    pair: Pair
    state: str
    last_seen: datetime
    totals: Totals
    spark: Spark


@dataclass(frozen=True)
class Overview:
    selection: Selection
    listing: listing.Listing
    totals: Totals
    rows: list[Row]
    charts: list[charts.Chart]
    annotations: list[dict[str, Any]]
    services: list[str]
    models: list[str]
    known_pairs: int
    """How many pairs there are to be seen at all; none of them on a fresh installation."""
    last_seen: datetime | None
    cost_today: float
    known_until: int


def overview(principal: object, selection: Selection, now: datetime) -> Overview:
    served = telemetry.pairs_of(principal, selection)
    shown = [row for row in served if selection.takes(row.service.name, row.name)][:MOST_PAIRS]
    pairs = [Pair(row.service.name, row.name) for row in shown]
    seen = telemetry.read(principal, selection, pairs, now)
    incidents = listing.listing(principal, selection)
    baselines = bands.baselines_of(principal, {pair.service for pair in pairs})
    return Overview(
        selection=selection,
        listing=incidents,
        totals=_totals(seen.sums.sum(axis=(0, 1)), seen.latency.sum(axis=0), _minutes(seen)),
        rows=_rows(shown, seen, baselines, incidents),
        charts=charts.charts(seen, baselines, listing.marks(principal, selection)),
        annotations=noted(principal, selection),
        services=sorted({row.service.name for row in served}),
        models=sorted({row.name for row in served if selection.service in ("", row.service.name)}),
        known_pairs=len(served),
        last_seen=max((row.last_seen for row in served), default=None),
        cost_today=cost_since(principal, pairs, now.replace(hour=0, minute=0, second=0, microsecond=0), now),
        known_until=seen.known[1],
    )


def noted(principal: object, selection: Selection) -> list[dict[str, Any]]:
    """What people noted in the range, for the charts: oldest first."""
    rows = Annotation.objects.visible_to(principal).filter(at__range=(selection.start, selection.end))
    if selection.service:
        rows = rows.filter(service__name=selection.service) | rows.filter(service=None)
    newest = rows.order_by("-at", "-id")[:MOST_ANNOTATIONS]
    return [{"at": row.at.timestamp(), "text": row.text} for row in reversed(newest)]


def cost_since(principal: object, pairs: Sequence[Pair], since: datetime, now: datetime) -> float:
    """Dollars of `pairs` from `since`, the beginning of an hour, until now: of hours, and of minutes since."""
    cut = max(since, telemetry.settled_before(now))
    names = {"service__in": sorted({pair.service for pair in pairs}), "model__in": sorted({p.model for p in pairs})}
    hours = TelemetryHour.objects.visible_to(principal).filter(hour__gte=since, hour__lt=cut, **names)
    minutes = TelemetryMinute.objects.visible_to(principal).filter(minute__gte=cut, **names)
    return sum(rows.order_by().aggregate(usd=Sum("cost_usd"))["usd"] or 0.0 for rows in (hours, minutes))


def _minutes(seen: Telemetry) -> float:
    return float(np.nansum(seen.minutes))


def _totals(sums: Any, latency: Any, minutes: float) -> Totals:
    calls, errors = float(sums[CALLS]), float(sums[ERRORS])
    p50, p95, p99 = (_number(quantiles(latency[np.newaxis], q)[0]) for q in charts.PERCENTILES.values())
    return Totals(
        calls=calls,
        per_minute=calls / minutes if minutes else 0.0,
        error_rate=errors / calls if calls else None,
        tokens=float(sums[TOKENS]),
        cost=float(sums[COST]),
        p50=p50,
        p95=p95,
        p99=p99,
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _rows(
    served: Sequence[ServedModel], seen: Telemetry, baselines: bands.Baselines, incidents: listing.Listing
) -> list[Row]:
    minutes, rows = _minutes(seen), []
    for place, (pair, model) in enumerate(zip(seen.pairs, served, strict=True)):
        counts = seen.sparks[place]
        totals = _totals(seen.sums[place].sum(axis=0), counts.sum(axis=0), minutes)
        usual = bands.band(baselines, [pair], "latency_ms")
        drawn = spark(quantiles(counts, charts.PERCENTILES["P95"]), usual)
        state = _state(pair, totals, baselines, incidents)
        rows.append(Row(pair, state, model.last_seen, totals, drawn))
    order = ("critical", "warning", "info")
    return sorted(rows, key=lambda row: (order.index(row.state) if row.state in order else 3, -row.totals.calls))


def _state(pair: Pair, totals: Totals, baselines: bands.Baselines, incidents: listing.Listing) -> str:
    if worst := incidents.worst.get(pair):
        return worst
    if not totals.calls:
        return "idle"
    taught = max((max(row.learned, row.samples) for (of, _), row in baselines.items() if of == pair), default=0)
    return "ok" if taught >= samples_needed() else "learning"
