"""Channels: what the calibrated detectors look at, and the evidence they give about the metrics of a pair.

    latency    residual of ln(latency) given the output tokens: shift at short and long scales, spike, and shift of
               ln|residual| for its variance
    tokens     ln(output tokens): shift
    cost       residual of ln(cost) given output and input tokens: shift
    rate       ln(gap between events): shift; ln(duration of the last 20 events): pace
    errors     failed calls: error_burst

Limits and memories are those at which the channels together ring about five times in 100 000 events of clean LLM
traffic (`make bench-detection`). All state of a pair is one row of each table in `ChannelTables`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import error_burst, pace, residual, shift, spike
from baselines.stats.compiled import compiled
from baselines.stats.series import COMPLETION_TOKENS, COST, LATENCY, PROMPT_TOKENS
from baselines.stats.window import Record

# What evidence is about; each is one metric in one direction.
LATENCY_SIGNAL, TOKENS_SIGNAL, COST_SIGNAL, RATE_SIGNAL, ERROR_SIGNAL = range(5)
SIGNALS = 5
# Which detector gave it.
BY_SHIFT, BY_SPIKE, BY_BURST = range(3)
EVIDENCE = 3

FAST, FAST_LIMITS = np.array([4, 8, 16, 32, 64, 128]), np.array([5.5, 5.0, 4.5, 4.0, 3.75, 3.75])
SLOW, SLOW_LIMITS = np.array([128, 256, 512]), np.array([3.75, 3.5, 3.5])
LONG, LONG_LIMITS = np.array([16, 32, 64, 128, 256]), np.array([4.5, 4.25, 4.0, 4.0, 4.0])
FAST_STATE, SLOW_STATE, LONG_STATE = shift.shift_state(FAST), shift.shift_state(SLOW), shift.shift_state(LONG)

OUTPUT_BUCKETS = 32  # half octaves of output tokens
INPUT_BUCKETS = 18  # octaves of input tokens
BUCKET_MEMORY = 2000.0
FREEZE = 3000  # events after which a new level is adopted
YOUNG, YOUNG_FACTOR = 4000, 1.0  # events until thresholds are at their own; how much wider they are at first
HOLD = 100  # events for which a spike, a burst or a slow pace counts as lasting
SPIKE_LEVEL = 1e-6
SPIKE_MEMORY = 3000.0
BURST_THRESHOLD, BURST_MEMORY = 10.0, 20_000.0
PACE_THRESHOLD, PACE_MEMORY = 5.0, 3000.0

_LATENCY, _COST = 0, 1  # rows of `residuals`
_FAST_LATENCY, _FAST_TOKENS, _FAST_COST = range(3)
_LONG_VARIANCE, _LONG_GAP = range(2)
# Holds: how many more events evidence without an end of its own lasts.
_HOLD_SPIKE, _HOLD_PACE, _HOLD_BURST = range(3)

CLOCK_STATE = np.dtype(
    [
        ("seen", "<i8"),
        ("newest", "<i8"),  # event time, ms
        ("latest", "<i8", (pace.EVENTS,)),  # event times of the last events, a ring
        ("hold", "<i4", (3,)),
    ]
)


class Caution(NamedTuple):
    """Factors on the thresholds of the channels of one pair; infinite where a detector does not run."""

    latency: float
    latency_spike: float
    tokens: float
    cost: float
    rate: float
    pace: float
    errors: float


class ChannelTables(NamedTuple):
    """The state of all channels, one row per pair."""

    residuals: NDArray[np.void]  # RESIDUAL_STATE[pairs, 2]: latency, cost
    output_buckets: NDArray[np.void]  # BUCKET_STATE[pairs, OUTPUT_BUCKETS]
    cost_buckets: NDArray[np.void]  # BUCKET_STATE[pairs, OUTPUT_BUCKETS * INPUT_BUCKETS]
    fast: NDArray[np.void]  # FAST_STATE[pairs, 3]: latency, tokens, cost
    slow: NDArray[np.void]  # SLOW_STATE[pairs]: latency
    long: NDArray[np.void]  # LONG_STATE[pairs, 2]: variance, gap
    spikes: NDArray[np.void]  # SPIKE_STATE[pairs]: latency
    paces: NDArray[np.void]  # PACE_STATE[pairs]
    bursts: NDArray[np.void]  # BURST_STATE[pairs]
    clocks: NDArray[np.void]  # CLOCK_STATE[pairs]


def allocate(pairs: int) -> ChannelTables:
    """Empty channels for so many pairs. Memory is taken when a row is first written."""
    return ChannelTables(
        residuals=np.zeros((pairs, 2), residual.RESIDUAL_STATE),
        output_buckets=np.zeros((pairs, OUTPUT_BUCKETS), residual.BUCKET_STATE),
        cost_buckets=np.zeros((pairs, OUTPUT_BUCKETS * INPUT_BUCKETS), residual.BUCKET_STATE),
        fast=np.zeros((pairs, 3), FAST_STATE),
        slow=np.zeros(pairs, SLOW_STATE),
        long=np.zeros((pairs, 2), LONG_STATE),
        spikes=np.zeros(pairs, spike.SPIKE_STATE),
        paces=np.zeros(pairs, pace.PACE_STATE),
        bursts=np.zeros(pairs, error_burst.BURST_STATE),
        clocks=np.zeros(pairs, CLOCK_STATE),
    )


def grown(tables: ChannelTables, pairs: int) -> ChannelTables:
    """The same channels with room for so many pairs."""
    if pairs <= len(tables.clocks):
        return tables
    larger = allocate(pairs)
    for old, new in zip(tables, larger, strict=True):
        new[: len(old)] = old
    return larger


class Evidence(NamedTuple):
    """What the channels say after one event: written anew by every `observe`."""

    scores: NDArray[np.float64]  # [SIGNALS, EVIDENCE], 1.0 is the detector's threshold
    effects: NDArray[np.float64]  # [SIGNALS], size of the deviation as a factor: 1.3 is 30 % more than usual
    is_active: NDArray[np.bool_]  # [SIGNALS], whether the evidence lasts
    is_adopted: NDArray[np.bool_]  # [SIGNALS], whether the level was adopted with this event
    deviates: NDArray[np.bool_]  # [SIGNALS], whether this very event departs: it failed, or lies over a spread away


def no_evidence() -> Evidence:
    return Evidence(np.zeros((SIGNALS, EVIDENCE)), np.ones(SIGNALS), *(np.zeros(SIGNALS, np.bool_) for _ in range(3)))


@compiled
def _note_shift(evidence: Evidence, signal: int, state: Record, score: float, phase: int, scale: int) -> None:
    """Add what one shift channel said about a signal."""
    evidence.scores[signal, BY_SHIFT] = max(evidence.scores[signal, BY_SHIFT], score)
    if state.is_active:
        evidence.is_active[signal] = True
    if phase == shift.ADOPTED_LEVEL:
        evidence.is_adopted[signal] = True
    if scale > 0:
        evidence.effects[signal] = max(evidence.effects[signal], math.exp(shift.recent_deviation(state, scale)))


@compiled
def _patience(seen: int) -> float:
    """By how much thresholds are widened for a pair that has seen so few events: what it learned is still coarse."""
    return 1.0 + YOUNG_FACTOR * max(0.0, 1.0 - seen / YOUNG)


@compiled
def _hold(clock: Record, place: int, fires: bool) -> bool:
    """Whether evidence that has no end of its own lasts: for HOLD events after it last fired."""
    clock.hold[place] = HOLD if fires else max(0, clock.hold[place] - 1)
    return bool(clock.hold[place] > 0)


@compiled
def _observe_pace(
    tables: ChannelTables, evidence: Evidence, pair: int, event_ms: int, patience: float, caution: Caution
) -> None:
    """The rate of events, told by the gaps between them."""
    clock = tables.clocks[pair]
    if clock.seen == 0:
        clock.newest = event_ms
        clock.latest[:] = event_ms - 1000
    gap = max(0, event_ms - clock.newest) / 1000.0
    state = tables.long[pair, _LONG_GAP]
    threshold = 0.9 * caution.rate * patience
    score, phase = shift.update(state, math.log(gap + 1e-3), LONG, LONG_LIMITS, 3000.0, 3.0, FREEZE, threshold)
    _note_shift(evidence, RATE_SIGNAL, state, score, phase, 0)
    evidence.deviates[RATE_SIGNAL] = shift.deviates(state, math.log(gap + 1e-3))
    newest = max(clock.newest, event_ms)
    place = clock.seen % pace.EVENTS
    duration = (newest - clock.latest[place]) / 1000.0
    clock.latest[place] = newest
    clock.newest = newest
    clock.seen += 1
    threshold = PACE_THRESHOLD * caution.pace * patience
    slow = pace.update(tables.paces[pair], math.log(duration + 1e-3), PACE_MEMORY, threshold)
    evidence.scores[RATE_SIGNAL, BY_SPIKE] = slow
    # Half a logarithm: a fourth of the usual rate is as grave as a doubled latency.
    evidence.effects[RATE_SIGNAL] = math.exp(max(0.0, math.log(duration + 1e-3) - tables.paces[pair].center) / 2.0)
    if _hold(clock, _HOLD_PACE, slow > 1.0):
        evidence.is_active[RATE_SIGNAL] = True


@compiled
def skip_gap(tables: ChannelTables, pair: int, gap_ms: int) -> None:
    """Leave a gap out of the rate of events that is told by other means: a silence that was."""
    clock = tables.clocks[pair]
    if clock.seen > 0:
        clock.newest += gap_ms
        for place in range(pace.EVENTS):
            clock.latest[place] += gap_ms


@compiled
def _observe_latency(
    tables: ChannelTables,
    evidence: Evidence,
    pair: int,
    latency_ms: float,
    bucket: int,
    patience: float,
    caution: Caution,
) -> None:
    left = residual.update(
        tables.residuals[pair, _LATENCY], tables.output_buckets[pair, bucket], math.log(latency_ms + 1.0), BUCKET_MEMORY
    )
    fast, slow, variance = tables.fast[pair, _FAST_LATENCY], tables.slow[pair], tables.long[pair, _LONG_VARIANCE]
    threshold = 1.05 * caution.latency * patience
    score, phase = shift.update(fast, left, FAST, FAST_LIMITS, 1000.0, 3.0, FREEZE, threshold)
    _note_shift(evidence, LATENCY_SIGNAL, fast, score, phase, 32)
    evidence.deviates[LATENCY_SIGNAL] = shift.deviates(fast, left)
    score, phase = shift.update(slow, left, SLOW, SLOW_LIMITS, 8000.0, 3.0, FREEZE, threshold)
    _note_shift(evidence, LATENCY_SIGNAL, slow, score, phase, 128)
    unrest = math.log(abs(left) + 0.02)
    score, phase = shift.update(variance, unrest, LONG, LONG_LIMITS, 3000.0, 3.0, FREEZE, threshold)
    _note_shift(evidence, LATENCY_SIGNAL, variance, score, phase, 0)
    alone = spike.update(tables.spikes[pair], left, SPIKE_MEMORY, SPIKE_LEVEL)
    alone /= patience * caution.latency_spike
    evidence.scores[LATENCY_SIGNAL, BY_SPIKE] = alone
    if alone > 1.0:
        evidence.effects[LATENCY_SIGNAL] = max(evidence.effects[LATENCY_SIGNAL], math.exp(left))
    if _hold(tables.clocks[pair], _HOLD_SPIKE, alone > 1.0):
        evidence.is_active[LATENCY_SIGNAL] = True


@compiled
def _observe_tokens_and_cost(
    tables: ChannelTables,
    evidence: Evidence,
    pair: int,
    output: float,
    cost: float,
    bucket: int,
    patience: float,
    caution: Caution,
) -> None:
    state = tables.fast[pair, _FAST_TOKENS]
    threshold = 1.17 * caution.tokens * patience
    score, phase = shift.update(state, math.log(output + 1.0), FAST, FAST_LIMITS, 3000.0, 4.0, FREEZE, threshold)
    _note_shift(evidence, TOKENS_SIGNAL, state, score, phase, 8)
    evidence.deviates[TOKENS_SIGNAL] = shift.deviates(state, math.log(output + 1.0))
    if math.isnan(cost):
        return
    left = residual.update(
        tables.residuals[pair, _COST], tables.cost_buckets[pair, bucket], math.log(cost + 1e-9), BUCKET_MEMORY
    )
    state = tables.fast[pair, _FAST_COST]
    threshold = 1.17 * caution.cost * patience
    score, phase = shift.update(state, left, FAST, FAST_LIMITS, 3000.0, 3.0, FREEZE, threshold)
    _note_shift(evidence, COST_SIGNAL, state, score, phase, 8)
    evidence.deviates[COST_SIGNAL] = shift.deviates(state, left)


@compiled
def observe(
    tables: ChannelTables,
    evidence: Evidence,
    pair: int,
    event_ms: int,
    failed: bool,
    values: NDArray[np.float64],
    caution: Caution,
) -> None:
    """Take one event of a pair: `values` float64[METRICS], NaN where missing."""
    evidence.scores[:] = 0.0
    evidence.effects[:] = 1.0
    evidence.is_active[:] = False
    evidence.is_adopted[:] = False
    evidence.deviates[:] = False
    evidence.deviates[ERROR_SIGNAL] = failed
    patience = _patience(tables.clocks[pair].seen)
    _observe_pace(tables, evidence, pair, event_ms, patience, caution)
    threshold = BURST_THRESHOLD * caution.errors * patience
    burst = error_burst.update(tables.bursts[pair], failed, BURST_MEMORY, threshold)
    evidence.scores[ERROR_SIGNAL, BY_BURST] = burst
    # As a factor, like the others: every tenth call that fails counts as 30 % more than usual.
    evidence.effects[ERROR_SIGNAL] = 1.0 + 3.0 * tables.bursts[pair].recent
    if _hold(tables.clocks[pair], _HOLD_BURST, burst > 1.0):
        evidence.is_active[ERROR_SIGNAL] = True
    if failed:
        _keep_lasting(tables, evidence, pair)
        return
    output = 0.0 if math.isnan(values[COMPLETION_TOKENS]) else values[COMPLETION_TOKENS]
    given = 0.0 if math.isnan(values[PROMPT_TOKENS]) else values[PROMPT_TOKENS]
    bucket = min(int(2.0 * math.log2(output + 1.0)), OUTPUT_BUCKETS - 1)
    input_bucket = min(int(math.log2(given + 1.0)), INPUT_BUCKETS - 1)
    if not math.isnan(values[LATENCY]):
        _observe_latency(tables, evidence, pair, values[LATENCY], bucket, patience, caution)
    if not math.isnan(values[COMPLETION_TOKENS]):
        both = bucket * INPUT_BUCKETS + input_bucket
        _observe_tokens_and_cost(tables, evidence, pair, output, values[COST], both, patience, caution)


@compiled
def _keep_lasting(tables: ChannelTables, evidence: Evidence, pair: int) -> None:
    """A failed call says nothing about latency, tokens and cost: what lasted still does."""
    latency = tables.fast[pair, _FAST_LATENCY].is_active or tables.slow[pair].is_active
    spiked = tables.clocks[pair].hold[_HOLD_SPIKE] > 0
    evidence.is_active[LATENCY_SIGNAL] = latency or spiked or tables.long[pair, _LONG_VARIANCE].is_active
    evidence.is_active[TOKENS_SIGNAL] = tables.fast[pair, _FAST_TOKENS].is_active
    evidence.is_active[COST_SIGNAL] = tables.fast[pair, _FAST_COST].is_active
