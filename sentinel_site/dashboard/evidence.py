"""The charts of an incident: its metrics before, while and after it lasted, with what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalies import story
from anomalies.models import Anomaly
from baselines.stats.series import Pair
from baselines.stats.sketch import SKETCHED
from sentinel_site.dashboard import telemetry, wording
from sentinel_site.dashboard.charts import Chart, plain
from sentinel_site.dashboard.percentiles import Counts, Entries, quantiles
from sentinel_site.dashboard.selection import HOUR, MINUTE
from sentinel_site.dashboard.sizes import Seen
from sentinel_site.dashboard.telemetry import CALLS, COST, ERRORS, SUMS, TOKENS, Grid

MOST_CHARTS = 3
BEFORE, AFTER = timedelta(hours=1), timedelta(minutes=20)
MOST_MINUTES = 3000
"""Longer ones are shown by the hour."""
UNITS = {"latency_ms": "ms", "ttft_ms": "ms", "cost_usd": "usd", "cost_per_minute": "usd", "error_rate": "share"}
_INSTEAD = {
    "prompt_tokens_distribution": "prompt_tokens",
    "completion_tokens_distribution": "completion_tokens",
    "silence": "request_rate",
    "user_request_rate": "request_rate",
}
"""What is drawn where the metric itself is not kept by the minute."""
_PERCENTILES = {"P50": 0.50, "P95": 0.95}


@dataclass(frozen=True)
class Evidence:
    """The minutes (or hours) of one pair: times s since 1970, sums float64[rows, len(SUMS)], encoded sketches."""

    grid: Grid
    times: NDArray[np.int64]
    sums: NDArray[np.float64]
    sketches: list[bytes]

    def counts(self, metric: str) -> Counts:
        """float64[grid.size, BUCKETS] of a metric that is sketched."""
        return Entries(self.sketches, SKETCHED.index(metric)).added(self.grid.places(self.times), self.grid.size)

    def added(self) -> NDArray[np.float64]:
        """float64[grid.size, len(SUMS)]; NaN where nothing was seen."""
        places, size = self.grid.places(self.times), self.grid.size
        columns = [np.bincount(places, self.sums[:, place], size) for place in range(len(SUMS))]
        unseen = np.bincount(places, minlength=size) == 0
        return np.where(unseen[:, np.newaxis], np.nan, np.stack(columns, axis=1))

    def seen(self, anomaly: Anomaly) -> Seen:
        """What was seen while `anomaly` lasted."""
        first = int(anomaly.first_seen.timestamp()) // self.grid.step * self.grid.step
        within = (self.times >= first) & (self.times <= anomaly.last_seen.timestamp())
        calls, errors, cost, tokens = (float(total) for total in self.sums[within].sum(axis=0))
        minutes = len(np.unique(self.times[within])) * self.grid.step // MINUTE
        metric = drawn_metric(anomaly.metric)
        counts = None
        if metric in SKETCHED and within.any():
            chosen = [data for data, is_within in zip(self.sketches, within, strict=True) if is_within]
            entries = Entries(chosen, SKETCHED.index(metric))
            counts = entries.added(np.zeros(len(chosen), np.int64), 1)[0]
        return Seen(calls, errors, cost, tokens, minutes, counts)


def drawn_metric(metric: str) -> str:
    return _INSTEAD.get(metric, metric)


def evidence_of(
    principal: object, pairs: Iterable[Pair], start: datetime, end: datetime, now: datetime
) -> dict[Pair, Evidence]:
    """What is kept of each pair around [start, end]: two queries at most."""
    start, end = start - BEFORE, min(end + AFTER, now)
    is_fine = (end - start).total_seconds() / MINUTE <= MOST_MINUTES and start >= telemetry.minutes_kept_since(now)
    grid = Grid.over(start, end, MINUTE if is_fine else HOUR)
    cut = grid.begin if is_fine else telemetry.settled_before(now)
    pairs = list(dict.fromkeys(pairs))
    rows = list(telemetry.rows(principal, pairs, grid.begin, end, cut, "sketches"))
    return {pair: _of_pair(grid, [row for row in rows if row[:2] == pair]) for pair in pairs}


def _of_pair(grid: Grid, rows: Sequence[tuple[Any, ...]]) -> Evidence:
    times = np.array([row[2] for row in rows], np.int64)
    sums = np.array([row[3 : 3 + len(SUMS)] for row in rows], np.float64).reshape(len(rows), len(SUMS))
    return Evidence(grid, times, sums, [row[-1] for row in rows])


def charts(members: Sequence[Anomaly], evidence: dict[Pair, Evidence], points: Sequence[dict[str, Any]]) -> list[Chart]:
    """One chart for each series of the strongest members; `points` are single detections of the first."""
    chosen = {(row.model, row.metric): row for row in reversed(members)}
    strongest = sorted(chosen.values(), key=members.index)[:MOST_CHARTS]
    return [
        _chart(row, evidence[Pair(row.service.name, row.model)], members, points if place == 0 else ())
        for place, row in enumerate(strongest)
    ]


def _chart(anomaly: Anomaly, evidence: Evidence, members: Sequence[Anomaly], points: Iterable[dict[str, Any]]) -> Chart:
    metric = drawn_metric(anomaly.metric)
    is_same = metric == anomaly.metric
    has_band = is_same and anomaly.upper is not None
    spans = [row for row in members if (row.model, row.metric) == (anomaly.model, anomaly.metric)]
    return {
        "id": f"evidence-{anomaly.pk}",
        "title": f"{story.SUBJECTS.get(metric, metric)} of {anomaly.service.name} ({anomaly.model})",
        "unit": UNITS.get(metric, ""),
        "x": evidence.grid.times.tolist(),
        "lines": [{"label": label, "values": plain(values)} for label, values in _lines(metric, evidence).items()],
        "band": {"low": anomaly.lower or 0.0, "high": anomaly.upper} if has_band else None,
        "spans": [{"from": row.first_seen.timestamp(), "to": row.last_seen.timestamp()} for row in spans],
        "points": [{"x": point["timestamp"].timestamp(), "y": point["value"]} for point in points] if is_same else [],
        "marks": [],
        "note": f"Shaded: while it lasted. {wording.departure(anomaly)}.",
    }


def _lines(metric: str, evidence: Evidence) -> dict[str, NDArray[np.float64]]:
    if metric in SKETCHED:
        row = SKETCHED.index(metric)
        counts = evidence.counts(metric)
        return {label: quantiles(counts, q, row) for label, q in _PERCENTILES.items()}
    sums, minutes = evidence.added(), evidence.grid.step / MINUTE
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = {
            "request_rate": ("Calls per minute", sums[:, CALLS] / minutes),
            "error_rate": ("Error rate", np.where(sums[:, CALLS] > 0, sums[:, ERRORS] / sums[:, CALLS], np.nan)),
            "tokens_per_minute": ("Tokens per minute", sums[:, TOKENS] / minutes),
            "cost_per_minute": ("Cost per minute", sums[:, COST] / minutes),
        }
    return dict([drawn[metric]]) if metric in drawn else {}
