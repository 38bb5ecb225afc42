"""The sliding window of a series and the statistics that are read off it.

A series is a row of two arrays: `rings` float32[series, window] holds the last samples, `series` (dtype SERIES) where
the ring stands and the statistics of the last refresh. Statistics are always recomputed from the window, never
carried along by adding and subtracting, so they cannot drift away from what the window holds.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from baselines.stats.compiled import compiled, inlined
from baselines.stats.ordering import ascending

SERIES = np.dtype(
    [
        ("learned", "<i8"),  # samples ever learned; the ring's next slot is learned % window
        ("refreshed_learned", "<i8"),  # `learned` at the last refresh
        ("refreshed_at", "<i8"),  # event time of the last refresh, ms
        ("samples", "<i8"),  # samples the statistics below are of; 0 = none yet
        ("mean", "<f8"),
        ("stddev", "<f8"),  # population standard deviation
        ("median", "<f8"),
        ("mad", "<f8"),  # median absolute deviation from the median, unscaled
        ("q1", "<f8"),
        ("q3", "<f8"),
        ("p95", "<f8"),
        ("p99", "<f8"),
        ("minimum", "<f8"),
        ("maximum", "<f8"),
    ]
)

HOT_BYTES = 32  # the first fields of SERIES: those that every sample needs

# One record of a structured array. To compiled code its fields are attributes, each with the type of its dtype.
Record: TypeAlias = Any

# While the window fills, statistics are renewed each time it has grown by a quarter: a baseline of ten samples
# would otherwise speak for a busy minute of thousands.
GROWTH = 1.25
PART, PATIENCE = 0.25, 10  # of the window that is new, else how many intervals the patient wait for it


@inlined
def learn(rings: NDArray[np.float32], row: int, series: Record, value: float) -> None:
    """Put one sample into the window of a row: `rings` float32[series, window], `series` its SERIES record."""
    rings[row, series.learned % rings.shape[1]] = value
    series.learned += 1


@inlined
def is_refresh_due(
    series: Record, now_ms: int, window: int, min_samples: int, interval_ms: int, is_patient: bool
) -> bool:
    """Whether the statistics of a series should be renewed; decided by sample counts and event time alone.

    Who `is_patient` waits longer than the interval until a good part of the window is new.
    """
    fresh = series.learned - series.refreshed_learned
    if fresh <= 0 or series.learned < min_samples:
        return False
    if series.samples == 0:
        return True
    if series.refreshed_learned < window and series.learned >= GROWTH * series.refreshed_learned:
        return True
    if is_patient and fresh < PART * window:
        interval_ms *= PATIENCE
    due: bool = now_ms - series.refreshed_at >= interval_ms
    return due


@compiled
def interpolated_quantile(ordered: NDArray[np.float64], q: float) -> float:
    """The q-quantile of a sorted array, linear between neighbours (Hyndman and Fan's type 7, NumPy's default)."""
    position = q * (len(ordered) - 1)
    below = int(math.floor(position))
    above = min(below + 1, len(ordered) - 1)
    fraction = position - below
    return float(ordered[below] + fraction * (ordered[above] - ordered[below]))


@compiled
def median_deviation(ordered: NDArray[np.float64], median: float) -> float:
    """Median of |x - median| of a sorted array, in one walk outwards from the median instead of a second sort."""
    n = len(ordered)
    right = np.searchsorted(ordered, median)
    left = right - 1
    rank_low, rank_high = (n - 1) // 2, n // 2
    low = high = 0.0
    for rank in range(rank_high + 1):
        if right >= n or (left >= 0 and median - ordered[left] <= ordered[right] - median):
            deviation = median - ordered[left]
            left -= 1
        else:
            deviation = ordered[right] - median
            right += 1
        if rank == rank_low:
            low = deviation
        if rank == rank_high:
            high = deviation
    return (low + high) / 2.0


@compiled
def refresh(ring: NDArray[np.float32], series: Record, now_ms: int) -> None:
    """Renew the statistics of a series from its window."""
    n = min(series.learned, len(ring))
    ordered = ascending(ring[:n]).astype(np.float64)
    mean = ordered.mean()
    spread = 0.0
    for value in ordered:
        spread += (value - mean) ** 2
    median = interpolated_quantile(ordered, 0.5)
    series.mean = mean
    series.stddev = math.sqrt(spread / n)
    series.median = median
    series.mad = median_deviation(ordered, median)
    series.q1 = interpolated_quantile(ordered, 0.25)
    series.q3 = interpolated_quantile(ordered, 0.75)
    series.p95 = interpolated_quantile(ordered, 0.95)
    series.p99 = interpolated_quantile(ordered, 0.99)
    series.minimum = ordered[0]
    series.maximum = ordered[n - 1]
    series.samples = n
    series.refreshed_learned = series.learned
    series.refreshed_at = now_ms
