"""Residuals: what is left of a value once the part that its tokens explain is taken away.

    residual = y - (w * mean of y's bucket + (1 - w) * overall mean),   w = n / (n + 20)

The latency of a call is mostly decided by how many tokens it produced, its cost by tokens in and out; without that
part, a latency shift of 30 % stands out of what looked like noise. Bucket means are exponentially weighted with a
memory in events, and winsorised at three spreads; a rare bucket leans on the overall mean. Unit: that of y, here a
logarithm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baselines.stats.compiled import compiled, inlined, lean
from baselines.stats.window import Record

PRIOR = 20.0
MOST_SEEN = 60_000  # what a bucket counts up to; memories are shorter

RESIDUAL_STATE = np.dtype([("seen", "<f8"), ("mean", "<f8"), ("spread", "<f8")])
# Of one bucket; a state has an array of them.
BUCKET_STATE = np.dtype([("mean", "<f4"), ("seen", "<u2")])


@inlined
def _learn(state: Record, bucket: Record, value: float, residual: float, memory: float, pace: float) -> None:
    difference = value - bucket.mean
    reach = 3.0 * state.spread
    if bucket.seen > 30:
        difference = min(max(difference, -reach), reach)
    bucket.seen = min(bucket.seen + 1, MOST_SEEN)
    bucket.mean += pace * difference / min(float(bucket.seen), memory)
    state.seen = min(state.seen + 1.0, memory + 1.0)
    state.mean += pace * (value - state.mean) / min(state.seen, memory)
    deviation = abs(residual)
    if state.seen > 50.0:
        deviation = min(deviation, 4.0 * state.spread)
    state.spread += pace * (1.25 * deviation - state.spread) / min(state.seen, memory)


@lean
def update(state: Record, bucket: Record, value: float, memory: float, pace: float) -> float:
    """Take one value that belongs to `bucket` (BUCKET_STATE); returns its residual.

    `memory` is at most MOST_SEEN events; `pace` is the share of its usual pace at which it is learned.
    """
    if state.seen == 0.0:
        state.spread = 0.5
    weight = bucket.seen / (bucket.seen + PRIOR)
    expected = weight * bucket.mean + (1.0 - weight) * state.mean
    residual = float(value - expected) if state.seen > 0.0 else 0.0
    _learn(state, bucket, value, residual, memory, pace)
    return residual


@compiled
def move(state: Record, buckets: NDArray[np.void], by: float) -> None:
    """Take for granted that all values moved by so much: a new level of residuals was adopted."""
    state.mean += by
    for place in range(len(buckets)):
        if buckets[place].seen > 0:
            buckets[place].mean += by


@compiled
def residuals(
    values: NDArray[np.float64], buckets: NDArray[np.int64], count: int, memory: float
) -> NDArray[np.float64]:
    """The residuals of a whole series with `count` buckets: what `update` gives one by one."""
    state = np.zeros(1, RESIDUAL_STATE)[0]
    table = np.zeros(count, BUCKET_STATE)
    out = np.empty(len(values))
    for place in range(len(values)):
        out[place] = update(state, table[buckets[place]], values[place], memory, 1.0)
    return out
