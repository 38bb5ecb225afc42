"""Novelty: how far the newest value, the shape and the level of a series lie from anything in its last 4 000 samples.

    value = min |x - x_j| / range(x)                                      over the j at least 16 samples ago
    level = min max(|m - m_j| / range(m), |s - s_j| / range(s))           over the same j
    shape = -log10 P(distance of the last 64 values to the nearest 64 before them)
    S     = sqrt((value / 0.013)^2 + (shape / 0.78)^2 + (level / 0.058)^2)
    score = S / (1 + habituation)   where it is twice the loudest of the last 100 samples or more, else 0

m and s are mean and standard deviation of the last 20 values, ranges those of all values ever seen. The probability of
a shape distance is read off the last 5 000 of them: their ranks up to the 95 % quantile, above it a Pareto tail whose
index is Hill's estimate drawn towards 0.2 by ten pseudo-observations. Habituation grows by 0.4 with every alert and
fades over 6 000 samples: a series that is always new has to become newer still.

Unit: none; 1.0 is the threshold. Meant for aggregates of a minute or more (logarithms where they are skewed), for
patterns and seasons that a detector of single values cannot see. A value that was never seen is reported at once, and
an anomaly once, not with each of its samples. On independent noise, normal or of three degrees of freedom, it rings
0.6 times in 1 000 samples once the window is full, 0.5 to 1.7 before, and five times among the first 750, when there
is little to compare with: who pages people lets those pass. On the artificial series and those of AWS CloudWatch of
the Numenta Anomaly Benchmark it scores 78.4 (standard profile, threshold 1).

What is missing (see `missing`) is skipped: it scores 0 and leaves no trace. The running sums of squares behind the
shape distances leave rounding of some 1e-8 of the range, which the floor of 1e-6 covers. State: 208 kB per series;
an update with a full window takes some 30 us.

Sources: nearest-neighbour distance as a measure of anomaly: Ramaswamy et al., "Efficient Algorithms for Mining
Outliers from Large Data Sets", SIGMOD 2000; of subsequences, carried along their diagonals: Yeh et al., "Matrix
Profile I", ICDM 2016 (here without normalisation, since a level is news too); the tail: Hill, Annals of Statistics 3,
1975.

>>> import numpy as np
>>> state = np.zeros(1, NOVELTY_STATE)
>>> day = np.sin(np.arange(3000) / 40.0) + np.random.default_rng(1).normal(0.0, 0.02, 3000)
>>> calm = [update(state[0], value) for value in day]
>>> max(calm[750:]) < 1.0 <= update(state[0], 3.0)
True
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.missing import is_missing
from anomalies.detection.spread import ABSOLUTE_STDDEV, RELATIVE_STDDEV
from baselines.stats.compiled import compiled
from baselines.stats.window import Record

WINDOW = 4000  # samples back that a neighbour may lie
APART = 16  # samples that lie between a value and the neighbours it is compared with
SMOOTHED = 20  # samples of the running mean and standard deviation
SHAPE = 64  # samples of a shape
FIRST = 21  # samples that must have been before anything is compared

# At which each of the three alone would be worth an alert.
VALUE_LEVEL, SHAPE_LEVEL, LEVEL_LEVEL = 0.013, 0.78, 0.058

CALIBRATION = 5000  # shape distances that a new one is ranked among
DELAY = 20  # samples until a shape distance is one of them: an anomaly is not ranked among its own
FEWEST = 100  # shape distances below which none is ranked
TAIL = 0.95  # quantile of them at which the fitted tail begins
PRIOR_INDEX, PRIOR_WEIGHT = 0.2, 10.0  # the tail index that is believed before there is data, and for how many
FLOOR = 1e-6  # of the range, added to shape distances: above what rounding makes of zero
NEGLIGIBLE = 1e-9  # of the range: a shape distance that is none, so that a constant series has no rare ones

HOLD = 100  # samples for which an alert silences what is not much louder
LOUDER = 2.0
HABIT = 0.4  # what an alert adds to the habituation
HABIT_MEMORY = 6000.0  # samples

NOVELTY_STATE = np.dtype(
    [
        ("seen", "<i8"),
        ("lowest", "<f8", (3,)),  # of values, means, deviations
        ("highest", "<f8", (3,)),
        ("habituation", "<f8"),
        ("loudest", "<f8"),  # of the alert that is on
        ("alerted_at", "<i8"),  # `seen` at its last sample
        # Rings: what belongs to sample number i is at i modulo their length.
        ("values", "<f8", (WINDOW + SHAPE + 1,)),
        ("means", "<f8", (WINDOW + 1,)),
        ("deviations", "<f8", (WINDOW + 1,)),
        ("nearest", "<f8", (CALIBRATION + DELAY + 1,)),  # shape distances
        # By lag, from SHAPE up: the sum of squared differences of the newest shape and the one `lag` samples earlier.
        ("squares", "<f8", (WINDOW - SHAPE + 1,)),
        ("ordered", "<f8", (CALIBRATION,)),  # the shape distances to rank among, ascending
    ]
)


@compiled
def _latest(ring: NDArray[np.float64], stop: int) -> NDArray[np.float64]:
    """The samples of a ring before number `stop`, the oldest first."""
    length = len(ring)
    if stop <= length:
        return ring[:stop].copy()
    place = stop % length
    ordered = np.empty(length)
    ordered[: length - place] = ring[place:]
    ordered[length - place :] = ring[:place]
    return ordered


@compiled
def _smoothed(window: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and population standard deviation of the last SMOOTHED values."""
    recent = window[max(0, len(window) - SMOOTHED) :]
    total: float = 0.0
    for value in recent:
        total += value
    mean: float = total / len(recent)
    squares = 0.0
    for value in recent:
        squares += (value - mean) ** 2
    return mean, math.sqrt(squares / len(recent))


@compiled
def _widen(state: Record, number: int, value: float) -> float:
    """Take a value into one of the ranges; returns its width, or what is believed of a series that hardly moves."""
    if state.seen == 0 or value < state.lowest[number]:
        state.lowest[number] = value
    if state.seen == 0 or value > state.highest[number]:
        state.highest[number] = value
    level: float = max(abs(state.lowest[0]), abs(state.highest[0]))
    width: float = state.highest[number] - state.lowest[number] + ABSOLUTE_STDDEV
    return max(width, RELATIVE_STDDEV * level)


@compiled
def _nearest_value(window: NDArray[np.float64]) -> float:
    """Distance of the newest value to the nearest one that is old enough."""
    newest = len(window) - 1
    value, nearest = window[newest], np.inf
    for place in range(max(0, newest - WINDOW), newest - APART + 1):
        nearest = min(nearest, abs(value - window[place]))
    return nearest


@compiled
def _nearest_level(
    means: NDArray[np.float64], deviations: NDArray[np.float64], mean_range: float, deviation_range: float
) -> float:
    """Distance of the newest mean and standard deviation, each in units of its range, to the nearest old ones."""
    newest = len(means) - 1
    mean, deviation, nearest = means[newest], deviations[newest], np.inf
    for place in range(newest - APART + 1):
        by_mean = abs(mean - means[place]) / mean_range
        by_deviation = abs(deviation - deviations[place]) / deviation_range
        nearest = min(nearest, max(by_mean, by_deviation))
    return nearest


@compiled
def _nearest_shape(squares: NDArray[np.float64], window: NDArray[np.float64]) -> float:
    """Carry all sums of squares on by the newest value; root mean square distance to the nearest shape, 0 without one.

    The sum for one lag gains the newest pair of values and loses the pair that left the shape.
    """
    newest = len(window) - 1
    value, leaving = window[newest], window[max(0, newest - SHAPE)]
    for lag in range(SHAPE, min(newest, WINDOW) + 1):
        squares[lag - SHAPE] += (value - window[newest - lag]) ** 2
    for lag in range(SHAPE, min(newest - SHAPE, WINDOW) + 1):
        squares[lag - SHAPE] -= (leaving - window[newest - SHAPE - lag]) ** 2
    nearest = np.inf
    for lag in range(SHAPE, min(newest - SHAPE + 1, WINDOW) + 1):
        nearest = min(nearest, squares[lag - SHAPE])
    return math.sqrt(max(nearest, 0.0) / SHAPE) if nearest < np.inf else 0.0


@compiled
def _improbability(ordered: NDArray[np.float64], distance: float, floor: float) -> float:
    """-log10 of the share of distances to come that will be as large, given ascending ones."""
    count = len(ordered)
    start = min(int(TAIL * count), count - 2)
    if distance <= ordered[start]:
        return -math.log10((count - np.searchsorted(ordered, distance) + 1.0) / (count + 1.0))
    threshold = ordered[start] + floor
    logs = 0.0
    for place in range(start + 1, count):
        logs += math.log((ordered[place] + floor) / threshold)
    index = (logs + PRIOR_WEIGHT * PRIOR_INDEX) / (count - start - 1 + PRIOR_WEIGHT)
    beyond = math.log((distance + floor) / threshold) / index / math.log(10.0)
    return beyond - math.log10((count - start) / (count + 1.0))


@compiled
def _rank_later(state: Record, distance: float) -> None:
    """Keep a shape distance; the one that is DELAY samples old joins those ranked among, the oldest of them leaves."""
    length = len(state.nearest)
    state.nearest[state.seen % length] = distance
    joining = state.seen - DELAY
    if joining < 0:
        return
    count = min(joining, CALIBRATION)
    ordered = state.ordered
    value, leaving = state.nearest[joining % length], state.nearest[(joining - CALIBRATION) % length]
    hole = count if count < CALIBRATION else np.searchsorted(ordered, leaving)
    while hole > 0 and ordered[hole - 1] > value:
        ordered[hole] = ordered[hole - 1]
        hole -= 1
    while hole < count - 1 and ordered[hole + 1] < value:
        ordered[hole] = ordered[hole + 1]
        hole += 1
    ordered[hole] = value


@compiled
def _loudness(state: Record, strength: float) -> float:
    """The score of a strength: less what the series is used to, and 0 unless it stands out of the alert that is on."""
    state.habituation *= math.exp(-1.0 / HABIT_MEMORY)
    score: float = strength / (1.0 + state.habituation)
    if state.seen - state.alerted_at > HOLD:
        state.loudest = 0.0
    if score <= LOUDER * state.loudest:
        return 0.0
    state.loudest = score
    state.alerted_at = state.seen
    if score >= 1.0:
        state.habituation += HABIT
    return score


@compiled
def update(state: Record, value: float) -> float:
    """Take one value into a record of NOVELTY_STATE; returns the score, 0 for what is missing."""
    if is_missing(value):
        return 0.0
    seen = state.seen
    state.values[seen % len(state.values)] = value
    window = _latest(state.values, seen + 1)
    mean, deviation = _smoothed(window)
    ring = len(state.means)
    state.means[seen % ring], state.deviations[seen % ring] = mean, deviation
    value_range = _widen(state, 0, value)
    mean_range, deviation_range = _widen(state, 1, mean), _widen(state, 2, deviation)
    by_value = by_level = by_shape = 0.0
    if seen >= FIRST:
        by_value = _nearest_value(window) / value_range
        means, deviations = _latest(state.means, seen + 1), _latest(state.deviations, seen + 1)
        by_level = _nearest_level(means, deviations, mean_range, deviation_range)
    distance = _nearest_shape(state.squares, window)
    if distance < NEGLIGIBLE * value_range:
        distance = 0.0
    known = min(seen - DELAY, CALIBRATION)
    if known >= FEWEST:
        by_shape = _improbability(state.ordered[:known], distance, FLOOR * value_range)
    _rank_later(state, distance)
    strength = math.sqrt((by_value / VALUE_LEVEL) ** 2 + (by_shape / SHAPE_LEVEL) ** 2 + (by_level / LEVEL_LEVEL) ** 2)
    score = _loudness(state, strength)
    state.seen += 1
    return score


@compiled
def derive(state: Record) -> None:
    """Make means and deviations anew from the values, as `update` made them, after these were loaded."""
    ring = len(state.means)
    for number in range(max(0, state.seen - ring), state.seen):
        first = max(0, number + 1 - SMOOTHED)
        recent = np.empty(number + 1 - first)
        for place in range(first, number + 1):
            recent[place - first] = state.values[place % len(state.values)]
        state.means[number % ring], state.deviations[number % ring] = _smoothed(recent)
