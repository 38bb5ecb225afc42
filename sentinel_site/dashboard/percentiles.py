"""Percentiles of many quantile sketches at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baselines.stats.sketch import BUCKETS, LOG_GAMMA, LOW, SKETCHED

Counts = NDArray[np.float64]
_ENTRY = np.dtype([("bucket", "<u2"), ("count", "<u4")])
_VERSION_BYTES = 1
LATENCY = SKETCHED.index("latency_ms")
HEAD_BYTES = _VERSION_BYTES + _ENTRY.itemsize * BUCKETS
"""Of an encoded sketch, what holds all that is kept of latency: its buckets come first."""


class Entries:
    """The buckets of one metric in many encoded sketches, side by side: which sketch, which bucket, how many."""

    def __init__(self, sketches: Sequence[bytes], metric: int = LATENCY) -> None:
        bodies = [bytes(data)[_VERSION_BYTES:] for data in sketches]
        lengths = np.array([len(body) // _ENTRY.itemsize for body in bodies], np.int64)
        flat = np.frombuffer(b"".join(bodies), _ENTRY)
        first = metric * BUCKETS
        wanted = (flat["bucket"] >= first) & (flat["bucket"] < first + BUCKETS)
        self.sketch = np.repeat(np.arange(len(bodies)), lengths)[wanted]
        self.bucket = flat["bucket"][wanted].astype(np.int64) - first
        self.count = flat["count"][wanted].astype(np.float64)

    def added(self, cell_of_sketch: NDArray[np.int64], cells: int) -> Counts:
        """The counts of each cell, float64[cells, BUCKETS]; `cell_of_sketch` says where each sketch belongs."""
        place = cell_of_sketch[self.sketch] * BUCKETS + self.bucket
        return np.bincount(place, self.count, cells * BUCKETS).reshape(cells, BUCKETS)


def quantiles(counts: Counts, q: float, metric: int = LATENCY) -> NDArray[np.float64]:
    """The q-quantile of each row of float64[rows, BUCKETS], in the unit of the metric; NaN where a row is empty.

    The same as `baselines.stats.sketch.quantile`, for many.
    """
    cumulated = counts.cumsum(axis=1)
    total = cumulated[:, -1]
    rank = np.maximum(1.0, np.ceil(q * total))
    index = (cumulated < rank[:, np.newaxis]).sum(axis=1)
    values = LOW[metric] * np.exp(LOG_GAMMA[metric] * (index - 0.5))
    return np.where(total > 0, np.where(index == 0, LOW[metric], values), np.nan)


def mean(counts: Counts, metric: int = LATENCY) -> float:
    """The mean of one row of counts, within the width of a bucket; NaN where it is empty."""
    middles = LOW[metric] * np.exp(LOG_GAMMA[metric] * (np.arange(BUCKETS) - 0.5))
    total = counts.sum()
    return float(counts @ middles / total) if total else float("nan")
