"""Spike: how improbable a value and the two before it are together, under an exponential tail.

    u     = streaming 98 % quantile,  beta = mean excess over u
    -ln p = ln 50 + (x - u) / beta    for x > u, else 0
    g     = -ln P(Gamma(3) > sum of the last three) = t - ln(1 + t + t^2 / 2),  score = g / -ln(level)

Unit: none; 1.0 is the level (default 1e-6). On logarithms an exponential tail is a Pareto tail, which is what
latencies have. A value alone must be more improbable (5e-9) than one in company: single retries and cold starts are
no news. On clean LLM traffic it rings less than once in 100 000 events. Quantile, excess and centre are learned with
winsorised steps. Sources: Siffer et al., "Anomaly Detection in Streams with Extreme Value Theory", KDD 2017; Fisher's
method for combining p-values.

>>> import numpy as np
>>> state = np.zeros(1, SPIKE_STATE)
>>> values = np.random.default_rng(1).normal(size=2000)
>>> calm = max(update(state[0], x, 3000.0, 1e-6) for x in values)
>>> calm < 1.0 <= update(state[0], 9.0, 3000.0, 1e-6)
True
"""

from __future__ import annotations

import math

import numpy as np

from baselines.stats.compiled import compiled, inlined, lean
from baselines.stats.window import Record

WARM = 500
WINDOW = 3
LN_50 = math.log(50.0)
MOST_EXCEEDED = 400.0  # exceedances over which the excess is averaged

SPIKE_STATE = np.dtype(
    [
        ("seen", "<i8"),
        ("center", "<f4"),
        ("spread", "<f4"),  # mean absolute deviation, winsorised
        ("quantile", "<f4"),
        ("excess", "<f4"),
        ("exceeded", "<f4"),  # how often the quantile was, at most MOST_EXCEEDED
        ("latest", "<f4", (WINDOW,)),  # -ln p of the latest values, a ring
    ]
)


@inlined
def _evidence(state: Record, value: float) -> float:
    """-ln of the probability of the value and its two predecessors together."""
    alone = 0.0
    if value > state.quantile:
        alone = float(LN_50 + (value - state.quantile) / state.excess)
    state.latest[state.seen % WINDOW] = alone
    total = float(state.latest[0]) + float(state.latest[1]) + float(state.latest[2])
    if total == 0.0:  # nearly always
        return 0.0
    return total - math.log(1.0 + total + total * total / 2.0)


@inlined
def _learn(state: Record, value: float, deviation: float, memory: float) -> None:
    seen = float(state.seen)
    state.spread += (min(deviation, 4.0 * state.spread) - state.spread) / min(seen + 1.0, memory)
    reach = 3.0 * state.spread
    state.center += min(max(value - state.center, -reach), reach) / min(seen + 1.0, memory)
    if state.seen <= 20:
        return
    step = 2.0 * state.spread * (0.02 if state.seen > 200 else 0.1)
    is_above = value > state.quantile
    state.quantile += step * ((1.0 if is_above else 0.0) - 0.02)
    if value > state.quantile:
        excess = min(value - state.quantile, 6.0 * state.excess)
        state.exceeded = min(state.exceeded + 1.0, MOST_EXCEEDED)
        state.excess += (excess - state.excess) / (20.0 + state.exceeded)


@lean
def update(state: Record, value: float, memory: float, level: float) -> float:
    """Take one value; returns the score, 0 until the series is warm."""
    if state.seen == 0:
        state.excess = 0.5
    deviation = abs(value - state.center)
    if state.seen < 20:
        state.center += (value - state.center) / (state.seen + 1.0)
        state.spread += (deviation - state.spread) / (state.seen + 1.0)
        state.quantile = state.center + 2.0 * state.spread
    evidence = _evidence(state, value)
    score = evidence / -math.log(level) if evidence > 0.0 and state.seen > WARM else 0.0
    _learn(state, value, deviation, memory)
    state.seen += 1
    return score


@compiled
def limit(state: Record, level: float) -> float:
    """The value that scores 1 alone; infinite while the series is not warm."""
    if state.seen <= WARM:
        return math.inf
    needed = total = -math.log(level)
    for _ in range(20):  # a fixed point of t = needed + ln(1 + t + t^2 / 2), which contracts
        total = needed + math.log(1.0 + total + total * total / 2.0)
    return float(state.quantile + state.excess * (total - LN_50))
