"""Silence: the time since the last event against the series' own gaps between events.

    -ln p    = ln 50 + (ln elapsed - u) / beta        for ln elapsed > u, else 0
    tail     = -ln p / (-ln level * (1 + early)),     early = max(0, 1 - gaps / 1000)
    score    = min(tail, elapsed / shortest, elapsed / (1.5 * longest gap that recurs))
    deadline = the elapsed time at which the score reaches 1

u is the streaming 98 % quantile of ln(gap) and beta the mean excess over it, both as `spike` learns them: an
exponential tail of logarithms is a Pareto tail of gaps. beta lies between 0.07 and 0.5, where gaps would lose their
variance, and is at most twice the spread of ln(gap). A gap recurs if one of about its length ended six hours or 500
events before; such a length fades with a half-life of 30 days. So lulls, nights and weekends are reported once or
twice and expected afterwards; an outage is not, even one that a few stray events interrupt. The price: a series with
silent nights is found silent by day no sooner than after one and a half of them.

Elapsed times and gaps are milliseconds. No event reveals a silence: a timer asks for the score, or waits for the
deadline. Unit: none; 1.0 is the threshold. Defaults: p < 1e-5, shortest 60 000 ms; before 50 gaps nothing is said.
False alarms: none in a million Poisson gaps, also where the rate swings by 90 % over the day; 0.7 to 1.7 in 100 000
gaps of a production LLM service whose bursts 65 ms apart are parted by lulls of minutes. Calls a minute apart are
missed after some 20 minutes, beats of a clock after some two, that service after some five.

Sources: as of `spike`; Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001, for the mean excess.

>>> import numpy as np
>>> state = np.zeros(1, SILENCE_STATE)
>>> for gap in np.random.default_rng(1).exponential(10_000.0, 2000):
...     update(state[0], gap)
>>> [round(score(state[0], elapsed), 1) for elapsed in (10_000.0, 100_000.0)]
[0.0, 0.6]
>>> is_silent(state[0], 600_000.0)
True
"""

from __future__ import annotations

import math

import numpy as np

from anomalies.detection import spike
from anomalies.detection.missing import is_missing
from anomalies.detection.spike import LN_50, SPIKE_STATE
from baselines.stats.compiled import compiled
from baselines.stats.window import Record

WARM = 50  # gaps before anything is said
GROWN = 1000  # gaps until the threshold is no longer raised
MEMORY = 3000.0  # gaps
LEVEL = 1e-5  # probability of a gap as long
SHORTEST_MS = 60_000.0  # that is worth a word
RESOLUTION_MS = 1.0  # gaps below it, also those of events out of order, count as this
SMALLEST_EXCESS = 0.07  # of a series that beats like a clock: its deadline is at twice its gap
LARGEST_EXCESS = 0.5  # beyond it gaps would have no variance: deadlines of days for bursts with lulls between
WILDEST = 2.0  # mean absolute deviations
MARGIN = 1.5
APART_MS, APART_GAPS = 6 * 3_600_000.0, 500  # either between two gaps tells that it was not one outage
HALF_LIFE_MS = 30 * 86_400_000.0

SILENCE_STATE = np.dtype(
    [
        ("longest", "<f8"),  # ln ms of the longest gap; fades
        ("ms_since", "<f8"),  # the first gap of about that length ended
        ("gaps_since", "<i8"),
        ("recurring", "<f8"),  # ln ms of the longest gap that came twice; fades
        # Behind the others: a record that only begins like another one would be taken for it by the compiler.
        *((name, SPIKE_STATE[name]) for name in SPIKE_STATE.names or ()),
    ]
)


@compiled
def _remember(state: Record, length: float, gap_ms: float) -> None:
    """Take the ln of a gap into what is known of the longest ones."""
    fading = math.log(2.0) * gap_ms / HALF_LIFE_MS
    state.longest -= fading
    state.recurring -= fading
    if state.ms_since >= APART_MS or state.gaps_since >= APART_GAPS:
        state.recurring = max(state.recurring, min(length, state.longest))
    state.ms_since += gap_ms
    state.gaps_since += 1
    if length > state.longest + math.log(MARGIN):
        state.ms_since, state.gaps_since = 0.0, 0
    state.longest = max(state.longest, length)


@compiled
def update(state: Record, gap_ms: float, memory: float = MEMORY) -> None:
    """Learn the time between an event and the one before it. What is missing is skipped."""
    if is_missing(gap_ms):
        return
    gap_ms = max(gap_ms, RESOLUTION_MS)
    length = math.log(gap_ms)
    spike.update(state, length, memory, LEVEL)
    _remember(state, length, gap_ms)


@compiled
def _excess(state: Record) -> float:
    """The mean excess that is believed: the learned one between its bounds, and no wilder than the series."""
    learned: float = min(state.excess, WILDEST * state.spread, LARGEST_EXCESS)
    return max(learned, SMALLEST_EXCESS)


@compiled
def _needed(state: Record, level: float) -> float:
    """The -ln p at which a silence is one: more while few gaps are known."""
    early: float = max(0.0, 1.0 - state.seen / GROWN)
    return -math.log(level) * (1.0 + early)


@compiled
def score(state: Record, elapsed_ms: float, level: float = LEVEL, shortest_ms: float = SHORTEST_MS) -> float:
    """The score of a time without events; 0 until the series is warm and for what is missing."""
    if state.seen < WARM or is_missing(elapsed_ms) or elapsed_ms <= RESOLUTION_MS:
        return 0.0
    beyond = math.log(elapsed_ms) - state.quantile
    if beyond <= 0.0:
        return 0.0
    tail: float = (LN_50 + beyond / _excess(state)) / _needed(state, level)
    expected_ms = max(shortest_ms, MARGIN * math.exp(state.recurring))
    return min(tail, elapsed_ms / expected_ms)


@compiled
def is_silent(state: Record, elapsed_ms: float, level: float = LEVEL, shortest_ms: float = SHORTEST_MS) -> bool:
    """Whether a time without events is a silence."""
    return score(state, elapsed_ms, level, shortest_ms) >= 1.0


@compiled
def deadline_ms(state: Record, level: float = LEVEL, shortest_ms: float = SHORTEST_MS) -> float:
    """The time without events at which the score reaches 1; infinite until the series is warm."""
    if state.seen < WARM:
        return math.inf
    tail: float = state.quantile + _excess(state) * (_needed(state, level) - LN_50)
    return max(math.exp(tail), shortest_ms, MARGIN * math.exp(state.recurring))
