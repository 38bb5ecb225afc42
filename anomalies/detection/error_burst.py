"""Error burst: a CUSUM of log-likelihood ratios of failed calls, the usual share against four times as many.

    p1 = max(4 p0, p0 + 0.05)
    S  = max(0, S + ln(p1 / p0) for a failure, + ln((1 - p1) / (1 - p0)) for a success),  score = S / threshold

Unit: none; 1.0 is the threshold (default S = 10). p0 is an exponentially weighted share of failures. With p0 at its
value, e^10 calls pass on average before a false alarm (Wald's inequality). Source: Reynolds and Stoumbos, "A CUSUM
Chart for Monitoring a Proportion When Inspecting Continuously", Journal of Quality Technology 31, 1999.

>>> import numpy as np
>>> state = np.zeros(1, BURST_STATE)
>>> calm = max(update(state[0], False, 20000.0, 10.0) for _ in range(1000))
>>> burst = max(update(state[0], True, 20000.0, 10.0) for _ in range(5))
>>> (calm, burst >= 1.0)
(0.0, True)
"""

from __future__ import annotations

import math

import numpy as np

from baselines.stats.compiled import compiled, inlined, lean
from baselines.stats.window import Record

WARM = 500
FIRST_RATE = 0.01
SMALLEST_RATE, LARGEST_RATE = 0.002, 0.5

RECENT = 20.0  # calls over which the share of failures at this moment is taken

BURST_STATE = np.dtype(
    [
        ("seen", "<i8"),
        ("rate", "<f8"),  # usual share of failures
        ("recent", "<f4"),  # share among the latest calls
        ("sum", "<f4"),
    ]
)


@inlined
def _alternative(usual: float) -> float:
    """The share of failures that counts as a burst."""
    return min(0.9, max(4.0 * usual, usual + 0.05))


@compiled
def limit(state: Record) -> float:
    """The share of failures that counts as a burst, from what is usual now."""
    return float(_alternative(min(max(float(state.rate), SMALLEST_RATE), LARGEST_RATE)))


@lean
def update(state: Record, failed: bool, memory: float, threshold: float) -> float:
    """Take one call; returns the score, 0 until the series is warm. The sum starts anew after a score above 1."""
    if state.seen == 0:
        state.rate = FIRST_RATE
    if failed or state.sum > 0.0:  # a success leaves a sum of 0 where it is
        usual = min(max(float(state.rate), SMALLEST_RATE), LARGEST_RATE)
        raised = _alternative(usual)
        ratio = math.log(raised / usual) if failed else math.log((1.0 - raised) / (1.0 - usual))
        state.sum = max(0.0, state.sum + ratio)
    score = float(state.sum / threshold) if state.seen > WARM else 0.0
    if score > 1.0:
        state.sum = 0.0
    state.recent += ((1.0 if failed else 0.0) - state.recent) / RECENT
    state.rate += ((1.0 if failed else 0.0) - state.rate) / min(state.seen + 100.0, memory)
    state.seen += 1
    return score
