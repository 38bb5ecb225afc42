"""Shift: windowed means at several scales, each measured against its own history.

    z   = clip((x - mean) / spread, -clip, clip)
    Z_q = (sum of the last q values of z) / sqrt(q)
    T_q = Z_q / RMS(Z_q) / limit_q,      score = max over q of T_q / threshold

Unit: none; 1.0 is the threshold. Short scales find steps within a few events, long ones drifts. Dividing by its own
historical RMS makes a windowed mean robust against the autocorrelation of real traffic, which would let a plain
CUSUM ring all day. Mean and spread are exponentially weighted with a memory in events, winsorised at `clip`, and
learn at SLOW of their pace while the detector is active, so that an outage does not become normal; after `freeze`
events the new level is adopted. Applied to residuals of ln(latency) it finds level shifts and drifts, to ln|residual|
changes of variance, to ln(tokens) and residuals of ln(cost) explosions and runaways, to ln(gap) losses of throughput.
On clean LLM traffic each channel rings less than twice in 100 000 events with the limits in `channels`.

Sources: Roberts, "Control Chart Tests Based on Geometric Moving Averages", Technometrics 1, 1959; for the maximum over
scales Siegmund and Venkatraman, "Using the generalized likelihood ratio statistic for sequential detection of a
change-point", Annals of Statistics 23, 1995; for the self-normalisation Shao and Zhang, "Testing for change points in
time series", JASA 105, 2010.

>>> import numpy as np
>>> scales, limits = np.array([4, 8]), np.array([5.5, 5.0])
>>> state = np.zeros(1, shift_state(scales))
>>> noise = np.random.default_rng(1).normal(size=700)
>>> calm = max(update(state[0], x, scales, limits, 1000.0, 3.0, 3000, 1.05)[0] for x in noise[:600])
>>> shifted = max(update(state[0], x + 3.0, scales, limits, 1000.0, 3.0, 3000, 1.05)[0] for x in noise[600:])
>>> calm < 1.0 <= shifted
True
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from baselines.stats.compiled import compiled
from baselines.stats.window import Record

WARM = 500  # events of a series before anything is said
SLOW = 0.02  # share of its pace at which a series learns while the detector is active
POWER_MEMORY = 20_000.0  # events over which the mean square of Z_q is taken
QUIET = 30  # events below half the threshold that end an activity
SMALLEST_POWER = 0.3
SMALLEST_SPREAD = 1e-4
MEAN_PER_SPREAD = 1.2533  # standard deviation over mean absolute deviation of a normal distribution
ADOPTED = 200.0  # events that a new level counts for when it is adopted: it is refined quickly from there
RECENT = 64.0  # events over which the level at this moment is taken, which is the one that is adopted

CALM, OPENED, ACTIVE, ENDED, ADOPTED_LEVEL = range(5)


def shift_state(scales: NDArray[np.int64]) -> np.dtype[np.void]:
    """The dtype of the state of one channel that looks at the given scales (ascending)."""
    return np.dtype(
        [
            ("seen", "<i8"),
            ("mean", "<f8"),
            ("spread", "<f8"),
            ("recent", "<f8"),  # mean of the latest values, not winsorised
            ("learned", "<f8"),  # events the mean rests on
            ("age", "<i8"),  # events since the activity began
            ("quiet", "<i4"),
            ("is_active", "<i4"),
            ("prefix", "<f8", (int(scales[-1]) + 1,)),  # a ring of prefix sums of z
            ("power", "<f8", (len(scales),)),  # mean square of Z_q
            ("weight", "<f8", (len(scales),)),  # events it rests on
        ]
    )


@compiled
def _statistic(state: Record, z: float, scales: NDArray[np.int64], limits: NDArray[np.float64], pace: float) -> float:
    """Take one standardised value; the largest T_q, which is 0 until the series is warm."""
    seen = state.seen
    ring = len(state.prefix)
    total = state.prefix[seen % ring] + z
    state.prefix[(seen + 1) % ring] = total
    best = 0.0
    for k in range(len(scales)):
        scale = scales[k]
        if seen + 1 < scale + 50:
            continue
        mean = (total - state.prefix[(seen + 1 - scale) % ring]) / math.sqrt(scale)
        power = state.power[k]
        if seen > WARM:
            best = max(best, mean / math.sqrt(power) / limits[k])
        square = mean * mean
        if state.weight[k] > 200 and square > 6.0 * power:
            square = 6.0 * power
        state.weight[k] += 1.0
        state.power[k] = max(SMALLEST_POWER, power + pace * (square - power) / min(state.weight[k], POWER_MEMORY))
    return best


@compiled
def _learn(state: Record, value: float, memory: float, clip: float, pace: float) -> None:
    """Move mean and spread towards a value, winsorised at `clip` spreads."""
    if state.is_active == 0:
        state.learned += 1.0
    step = pace / min(state.learned + 1.0, memory)
    reach = clip * state.spread
    difference = value - state.mean
    if state.learned > 50:
        difference = min(max(difference, -reach), reach)
    state.mean += step * difference
    deviation = abs(value - state.mean)
    if state.learned > 50:
        deviation = min(deviation, reach)
    if state.learned > 5:
        state.spread += step * (MEAN_PER_SPREAD * deviation - state.spread)
    elif state.learned == 1:
        state.spread = max(deviation * MEAN_PER_SPREAD, 1e-3)
    else:
        state.spread = max(state.spread, deviation)
    state.spread = max(state.spread, SMALLEST_SPREAD)


@compiled
def _phase(state: Record, score: float, freeze: int) -> int:
    """Whether an activity begins, lasts or ends with this score."""
    if state.is_active == 0:
        if score <= 1.0:
            return CALM
        state.is_active, state.age, state.quiet = 1, 0, 0
        return OPENED
    state.age += 1
    state.quiet = state.quiet + 1 if score < 0.5 else 0
    if state.age > freeze:
        state.is_active, state.learned = 0, ADOPTED
        return ADOPTED_LEVEL
    if state.quiet >= QUIET:
        state.is_active = 0
        return ENDED
    return ACTIVE


@compiled
def update(
    state: Record,
    value: float,
    scales: NDArray[np.int64],
    limits: NDArray[np.float64],
    memory: float,
    clip: float,
    freeze: int,
    threshold: float,
) -> tuple[float, int]:
    """Take one value; returns the score and the phase (CALM, OPENED, ACTIVE, ENDED, ADOPTED_LEVEL)."""
    if state.seen == 0:
        state.mean, state.recent, state.spread = value, value, 1.0
        state.power[:] = 1.0
    pace = SLOW if state.is_active else 1.0
    z = (value - state.mean) / state.spread if state.learned > 20 else 0.0
    score = _statistic(state, min(max(z, -clip), clip), scales, limits, pace) / threshold
    phase = _phase(state, score, freeze)
    state.recent += (value - state.recent) / RECENT
    if phase == ADOPTED_LEVEL:  # judged by the old level, the new one would begin the next activity at once
        state.mean = state.recent
        state.prefix[:] = 0.0
    _learn(state, value, memory, clip, pace)
    state.seen += 1
    return score, phase


@compiled
def deviates(state: Record, value: float) -> bool:
    """Whether a value lies more than one spread above the mean."""
    return bool(value - state.mean > state.spread)


@compiled
def recent_deviation(state: Record, scale: int) -> float:
    """Mean deviation of the last `scale` values, in their unit: what the effect looks like (winsorised)."""
    ring = len(state.prefix)
    scale = min(scale, state.seen, ring - 1)
    if scale == 0:
        return 0.0
    total = state.prefix[state.seen % ring] - state.prefix[(state.seen - scale) % ring]
    return float(total / scale * state.spread)
