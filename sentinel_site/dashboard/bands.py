"""What is usual for what a page shows: the baselines of some pairs, put together where several are shown as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.models import BaselineSnapshot
from baselines.stats.series import Pair

SIGMA = 1.4826
"""Standard deviations in one median absolute deviation of normal values."""
WIDTH = 3.0
METRICS = ("latency_ms", "request_rate", "error_rate", "tokens_per_minute", "cost_per_minute")
LEAST_SAMPLES = 10
_SHARES = np.array([0.0, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0])
_QUANTILES = ("minimum", "q1", "median", "q3", "p95", "p99", "maximum")
_LOW, _HIGH = 0.25, 0.99
Baselines = Mapping[tuple[Pair, str], BaselineSnapshot]


class Band(NamedTuple):
    """Between these values, in the unit of the metric, lies what is usual."""

    low: float
    high: float


def baselines_of(principal: object, services: Iterable[str]) -> Baselines:
    """The newest baseline of each pair of these services and each of METRICS: one query."""
    rows = BaselineSnapshot.objects.visible_to(principal).filter(metric__in=METRICS, samples__gte=LEAST_SAMPLES)
    newest_last = rows.filter(service__in=sorted(set(services))).order_by("updated_at", "id")
    return {(Pair(row.service, row.model), row.metric): row for row in newest_last}


def band(baselines: Baselines, pairs: Iterable[Pair], metric: str) -> Band | None:
    """What is usual of all `pairs` together; None unless each of them has a baseline.

    Of latency: between the first quartile and the 99th percentile of single calls, mixed by how many calls each pair
    has. Of what adds up: three robust deviations around the sum of the medians, as if the pairs were independent.
    """
    pairs = list(pairs)
    rows = [baselines[pair, metric] for pair in pairs if (pair, metric) in baselines]
    if not rows or len(rows) < len(pairs):
        return None
    if metric == "latency_ms":
        return _mixed(rows, _weights(baselines, pairs))
    if metric == "error_rate":
        return _averaged(rows, _weights(baselines, pairs))
    if len(rows) == 1:
        return _around(rows[0])
    middle = sum(row.median for row in rows)
    spread = WIDTH * SIGMA * float(np.sqrt(sum(row.mad**2 for row in rows)))
    return Band(max(0.0, middle - spread), middle + spread)


def _weights(baselines: Baselines, pairs: Iterable[Pair]) -> NDArray[np.float64]:
    rates = [baselines.get((pair, "request_rate")) for pair in pairs]
    found = np.array([max(rate.median, 1e-3) if rate else 1.0 for rate in rates])
    return found / found.sum()


def _around(row: BaselineSnapshot) -> Band:
    spread = WIDTH * SIGMA * row.mad
    return Band(max(0.0, min(row.median - spread, row.q1)), max(row.median + spread, row.p99))


def _averaged(rows: list[BaselineSnapshot], weights: NDArray[np.float64]) -> Band:
    bands = np.array([_around(row) for row in rows])
    low, high = weights @ bands
    return Band(float(low), float(high))


def _mixed(rows: list[BaselineSnapshot], weights: NDArray[np.float64]) -> Band:
    """Quantiles of a mixture, each part of which is linear between the quantiles that are known of it."""
    known = np.maximum.accumulate([[getattr(row, name) for name in _QUANTILES] for row in rows], axis=1)
    values = np.unique(known)
    shares = sum(weight * np.interp(values, own, _SHARES) for weight, own in zip(weights, known, strict=True))
    low, high = np.interp([_LOW, _HIGH], shares, values)
    return Band(float(low), float(high))
