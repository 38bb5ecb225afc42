"""All that the first page shows, read with a constant number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from alerting.budgets import CostOutlook
from baselines.models import Annotation, ServedModel
from baselines.stats.series import Pair
from baselines.watch import samples_needed
from sentinel_site.dashboard import bands, charts, costs, listing, telemetry
from sentinel_site.dashboard.entrance import Sight
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
    is_new: bool
    """Whether nothing was ever heard of any service."""
    last_seen: datetime | None
    costs: CostOutlook
    budgets: list[costs.Spent]
    known_until: int


def overview(sight: Sight, selection: Selection, now: datetime) -> Overview:
    served = telemetry.pairs_of(sight, selection)
    shown = [row for row in served if selection.takes(row.service.name, row.name)][:MOST_PAIRS]
    pairs = [Pair(row.service.name, row.name) for row in shown]
    seen = telemetry.read(sight, selection, pairs, now)
    incidents = listing.listing(sight, selection)
    baselines = bands.baselines_of(sight, {pair.service for pair in pairs})
    return Overview(
        selection=selection,
        listing=incidents,
        totals=_totals(seen.sums.sum(axis=(0, 1)), seen.latency.sum(axis=0), _minutes(seen)),
        rows=_rows(shown, seen, baselines, incidents),
        charts=charts.charts(seen, baselines, listing.marks(sight, selection)),
        annotations=noted(sight, selection),
        services=sorted({row.service.name for row in served}),
        models=sorted({row.name for row in served if selection.service in ("", row.service.name)}),
        is_new=not served and not ServedModel.objects.visible_to(sight).exists(),
        last_seen=max((row.last_seen for row in served), default=None),
        costs=costs.outlook(sight, selection, now),
        budgets=costs.budgets(sight),
        known_until=seen.known[1],
    )


def noted(sight: Sight, selection: Selection) -> list[dict[str, Any]]:
    """What people noted in the range, for the charts: oldest first."""
    rows = Annotation.objects.visible_to(sight).filter(at__range=(selection.start, selection.end))
    if selection.service:
        rows = rows.filter(service__name=selection.service) | rows.filter(service=None)
    newest = rows.order_by("-at", "-id")[:MOST_ANNOTATIONS]
    return [{"at": row.at.timestamp(), "text": row.text} for row in reversed(newest)]


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
