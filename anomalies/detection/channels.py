"""Channels: what the calibrated detectors look at, and the evidence they give about the metrics of a pair.

    latency    residual of ln(latency) given the output tokens: shift at short and long scales, spike, and shift of
               ln|residual| for its variance
    tokens     ln(output tokens), ln(input tokens): shift
    cost       residual of ln(cost) given output and input tokens: shift
    first token  ln(time to first token): shift, spike
    quality    score: shift
    rate       ln(gap between events): shift; ln(duration of the last 20 events): pace
    errors     failed calls: error_burst

What a channel says upwards and downwards are two signals. Limits and memories are those at which the channels together
ring about five times in 100 000 events of clean LLM traffic (`make bench-detection`); what has become better (faster,
smaller, cheaper, more traffic) needs a third more evidence. A metric that few events have is warm by its own count.
All state of a pair is one row of each table in `ChannelTables`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import error_burst, pace, residual, shift, spike
from anomalies.detection.arrays import DOWN
from anomalies.detection.evidence import (
    BY_BURST,
    BY_SPIKE,
    CHEAPER,
    COST_SIGNAL,
    ERROR_SIGNAL,
    FASTER,
    LATENCY_SIGNAL,
    PROMPT_SHORTER,
    PROMPT_SIGNAL,
    QUALITY_SIGNAL,
    RATE_SIGNAL,
    SHORTER,
    SIGNALS,
    SURGE,
    TOKENS_SIGNAL,
    TTFT_FASTER,
    TTFT_SIGNAL,
    Caution,
    Evidence,
    add_fall,
    add_rise,
    clear,
    expect,
    keep,
)
from anomalies.detection.minutes import is_present
from anomalies.detection.shift import Verdict
from baselines.stats.compiled import compiled, inlined, lean
from baselines.stats.rows import extended, side_by_side
from baselines.stats.series import COMPLETION_TOKENS, COST, LATENCY, PROMPT_TOKENS, QUALITY, TTFT
from baselines.stats.window import Record

DROP = 4.0 / 3.0  # how much wider the thresholds of good news are
FAST_LIMITS = {4: 5.5, 8: 5.0, 16: 4.5, 32: 4.0, 64: 3.75, 128: 3.75}
SLOW_LIMITS = {128: 3.75, 256: 3.5, 512: 3.5}
LONG_LIMITS = {16: 4.5, 32: 4.25, 64: 4.0, 128: 4.0, 256: 4.0}
# The least that is told of: 28 % of latency over 32 calls, 16 % over 256; half as many tokens again over 16 calls, 22 %
# of cost over 8; a rate that fell to 55 % over 64; a tenth of a point of quality.
LATENCY_FAST = shift.profile(FAST_LIMITS, memory=1000.0, threshold=1.08, drop=1.08 * DROP, least=(32, 0.25))
LATENCY_SLOW = shift.profile(SLOW_LIMITS, memory=8000.0, threshold=1.08, drop=1.08 * DROP, least=(256, 0.15))
LATENCY_SCATTER = shift.profile(LONG_LIMITS, memory=3000.0, threshold=1.08)
TOKENS = shift.profile(FAST_LIMITS, memory=3000.0, threshold=1.2, drop=1.2 * DROP, clip=4.0, least=(16, 0.4))
COSTS = shift.profile(FAST_LIMITS, memory=3000.0, threshold=1.2, drop=1.2 * DROP, least=(8, 0.2))
FIRST_TOKEN = shift.profile(FAST_LIMITS, memory=3000.0, threshold=1.2, drop=1.2 * DROP, least=(32, 0.2))
QUALITIES = shift.profile(FAST_LIMITS, memory=3000.0, threshold=math.inf, drop=1.2, least=(16, 0.1))
GAPS = shift.profile(LONG_LIMITS, memory=3000.0, threshold=0.77, drop=1.4, least=(64, 0.6))
FAST_STATE, SLOW_STATE, LONG_STATE = map(shift.shift_state, (LATENCY_FAST, LATENCY_SLOW, GAPS))

OUTPUT_BUCKETS = 32  # half octaves of output tokens
INPUT_BUCKETS = 18  # octaves of input tokens
BUCKET_MEMORY = 2000.0
HOLD = 100  # events for which a spike, a burst or a slow pace counts as lasting
SPIKE_LEVEL = 6e-7
SPIKE_MEMORY = 3000.0
BURST_THRESHOLD, BURST_MEMORY = 10.3, 20_000.0
PACE_THRESHOLD, PACE_MEMORY = 5.15, 3000.0

_LATENCY, _COST = 0, 1  # rows of `residuals`
_FAST_LATENCY, _FAST_TOKENS, _FAST_COST, _FAST_PROMPT, _FAST_TTFT, _FAST_QUALITY = range(6)
_LONG_SCATTER, _LONG_GAP = range(2)
_SPIKE_LATENCY, _SPIKE_TTFT = range(2)
# Holds: how many more events evidence without an end of its own lasts.
_HOLD_SPIKE, _HOLD_PACE, _HOLD_BURST, _HOLD_TTFT = range(4)
# Added before a logarithm is taken.
LATENCY_OFFSET, TOKENS_OFFSET, COST_OFFSET, SECONDS_OFFSET = 1.0, 1.0, 1e-9, 1e-3

CLOCK_STATE = np.dtype(
    [
        ("seen", "<i8"),
        ("newest", "<i8"),  # event time, ms
        ("lasting", "<u4"),  # a bit per signal
        ("hold", "<i2", (4,)),
        ("latest", "<i8", (pace.EVENTS,)),  # event times of the last events, a ring
    ]
)


class ChannelTables(NamedTuple):
    """The state of all channels, one row per pair, side by side: what every event needs comes first."""

    clocks: NDArray[np.void]  # CLOCK_STATE[pairs]
    residuals: NDArray[np.void]  # RESIDUAL_STATE[pairs, 2]: latency, cost
    spikes: NDArray[np.void]  # SPIKE_STATE[pairs, 2]: latency, first token
    paces: NDArray[np.void]  # PACE_STATE[pairs]
    bursts: NDArray[np.void]  # BURST_STATE[pairs]
    output_buckets: NDArray[np.void]  # BUCKET_STATE[pairs, OUTPUT_BUCKETS]
    long: NDArray[np.void]  # LONG_STATE[pairs, 2]: scatter of latency, gap
    slow: NDArray[np.void]  # SLOW_STATE[pairs]: latency
    fast: NDArray[np.void]  # FAST_STATE[pairs, 6]: latency, tokens, cost, input tokens, first token, quality
    cost_buckets: NDArray[np.void]  # BUCKET_STATE[pairs, OUTPUT_BUCKETS * INPUT_BUCKETS]


def allocate(pairs: int) -> ChannelTables:
    """Empty channels for so many pairs. Memory is taken when a row is first written."""
    return ChannelTables(
        **side_by_side(
            pairs,
            {
                "clocks": (CLOCK_STATE, ()),
                "residuals": (residual.RESIDUAL_STATE, (2,)),
                "spikes": (spike.SPIKE_STATE, (2,)),
                "paces": (pace.PACE_STATE, ()),
                "bursts": (error_burst.BURST_STATE, ()),
                "output_buckets": (residual.BUCKET_STATE, (OUTPUT_BUCKETS,)),
                "long": (LONG_STATE, (2,)),
                "slow": (SLOW_STATE, ()),
                "fast": (FAST_STATE, (6,)),
                "cost_buckets": (residual.BUCKET_STATE, (OUTPUT_BUCKETS * INPUT_BUCKETS,)),
            },
        )
    )


def grown(tables: ChannelTables, pairs: int) -> ChannelTables:
    """The same channels with room for so many pairs."""
    size = len(tables.clocks)
    return tables if pairs <= size else ChannelTables(**extended(tables._asdict(), pairs, size))


@inlined
def _hold(clock: Record, place: int, fires: bool) -> bool:
    """Whether evidence that has no end of its own lasts: for HOLD events after it last fired."""
    clock.hold[place] = HOLD if fires else max(0, clock.hold[place] - 1)
    return bool(clock.hold[place] > 0)


@inlined
def _both(
    evidence: Evidence, clock: Record, rising: int, falling: int, state: Record, verdict: Verdict, explained: float
) -> None:
    """Add what a channel with signals of its own said in both directions."""
    expect(evidence, rising, verdict, explained, verdict.z > 1.0)
    expect(evidence, falling, verdict, explained, verdict.z < -1.0)
    keep(clock, rising, add_rise(evidence, rising, state, verdict, 8))
    keep(clock, falling, add_fall(evidence, falling, state, verdict, 8))


@inlined
def _observe_rate(tables: ChannelTables, evidence: Evidence, pair: int, event_ms: int, caution: Caution) -> None:
    """The rate of events, told by the gaps between them."""
    clock, usual = tables.clocks[pair], tables.paces[pair]
    if clock.seen == 0:
        clock.newest = event_ms
        for place in range(pace.EVENTS):
            clock.latest[place] = event_ms - 1000
    patience = shift.patience(clock.seen)
    gap = math.log(max(0, event_ms - clock.newest) / 1000.0 + SECONDS_OFFSET)
    state = tables.long[pair, _LONG_GAP]
    verdict = shift.update(state, gap, GAPS, patience * caution.rate)
    newest = max(clock.newest, event_ms)
    place = clock.seen % pace.EVENTS
    duration = math.log((newest - clock.latest[place]) / 1000.0 + SECONDS_OFFSET)
    clock.latest[place] = newest
    clock.newest = newest
    clock.seen += 1
    evidence.expected[RATE_SIGNAL], evidence.spread[RATE_SIGNAL] = usual.center, usual.spread
    evidence.deviates[RATE_SIGNAL], evidence.deviates[SURGE] = verdict.z > 1.0, verdict.z < -1.0
    slow = pace.update(usual, duration, PACE_MEMORY, PACE_THRESHOLD * patience * caution.pace)
    evidence.scores[RATE_SIGNAL, BY_SPIKE] = slow
    # Half a logarithm: a fourth of the usual rate is as grave as a doubled latency.
    evidence.effects[RATE_SIGNAL] = max(0.0, duration - usual.center) / 2.0
    evidence.effects[SURGE] = max(0.0, usual.center - duration) / 2.0
    is_held = _hold(clock, _HOLD_PACE, slow > 1.0)
    keep(clock, RATE_SIGNAL, add_rise(evidence, RATE_SIGNAL, state, verdict, 0) or is_held)
    keep(clock, SURGE, add_fall(evidence, SURGE, state, verdict, 0))


@compiled
def skip_gap(tables: ChannelTables, pair: int, gap_ms: int) -> None:
    """Leave a gap out of the rate of events that is told by other means: a silence that was."""
    clock = tables.clocks[pair]
    if clock.seen > 0:
        clock.newest += gap_ms
        for place in range(pace.EVENTS):
            clock.latest[place] += gap_ms


@inlined
def _observe_failure(tables: ChannelTables, evidence: Evidence, pair: int, failed: bool, caution: float) -> None:
    clock, state = tables.clocks[pair], tables.bursts[pair]
    threshold = BURST_THRESHOLD * shift.patience(state.seen) * caution
    burst = error_burst.update(state, failed, BURST_MEMORY, threshold)
    evidence.scores[ERROR_SIGNAL, BY_BURST] = burst
    evidence.deviates[ERROR_SIGNAL] = failed
    keep(clock, ERROR_SIGNAL, _hold(clock, _HOLD_BURST, burst > 1.0))
    if clock.lasting & np.uint32(1 << ERROR_SIGNAL):
        # As a factor, like the others: every tenth call that fails counts as 30 % more than usual.
        evidence.effects[ERROR_SIGNAL] = math.log(1.0 + 3.0 * state.recent)


@inlined
def _observe_spike(
    evidence: Evidence,
    clock: Record,
    signal: int,
    hold: int,
    state: Record,
    value: float,
    explained: float,
    caution: float,
) -> bool:
    """Add what spike says of one value; whether that lasts."""
    alone = spike.update(state, value, SPIKE_MEMORY, SPIKE_LEVEL)
    if alone > 0.0:
        alone /= shift.patience(state.seen) * caution
    evidence.scores[signal, BY_SPIKE] = alone
    if alone > 1.0:
        evidence.limits[signal] = explained + spike.limit(state, SPIKE_LEVEL)
    return bool(_hold(clock, hold, alone > 1.0))


@inlined
def _pace(state: Record) -> float:
    """The pace at which it is learned what tokens explain: slow while values fall.

    What became cheaper for an hour would make the usual price a runaway afterwards.
    """
    return shift.SLOW if state.age[DOWN] > 0 else 1.0


@inlined
def _settle(explained: Record, buckets: NDArray[np.void], state: Record, verdict: Verdict) -> None:
    """Once a fall is adopted let the tokens explain it: residuals are around zero again."""
    if verdict.drop_phase == shift.ADOPTED_LEVEL:
        level = state.mean - verdict.expected
        residual.move(explained, buckets, level)
        state.mean -= level
        state.recent -= level


@inlined
def _observe_latency(
    tables: ChannelTables, evidence: Evidence, pair: int, latency_ms: float, bucket: int, caution: Caution
) -> None:
    clock, value = tables.clocks[pair], math.log(latency_ms + LATENCY_OFFSET)
    fast, slow, scatter = tables.fast[pair, _FAST_LATENCY], tables.slow[pair], tables.long[pair, _LONG_SCATTER]
    explained, buckets, pace = tables.residuals[pair, _LATENCY], tables.output_buckets[pair], _pace(fast)
    left = residual.update(explained, buckets[bucket], value, BUCKET_MEMORY, pace)
    patience = shift.patience(fast.seen) * caution.latency
    verdict = shift.update(fast, left, LATENCY_FAST, patience)
    _settle(explained, buckets, fast, verdict)
    expect(evidence, LATENCY_SIGNAL, verdict, value - left, verdict.z > 1.0)
    expect(evidence, FASTER, verdict, value - left, verdict.z < -1.0)
    lasts = add_rise(evidence, LATENCY_SIGNAL, fast, verdict, 32)
    falls = add_fall(evidence, FASTER, fast, verdict, 32)
    verdict = shift.update(slow, left, LATENCY_SLOW, patience)
    lasts |= add_rise(evidence, LATENCY_SIGNAL, slow, verdict, 128)
    falls |= add_fall(evidence, FASTER, slow, verdict, 128)
    if not falls:  # residuals become larger then too, and that is no bad news
        verdict = shift.update(scatter, math.log(abs(left) + 0.02), LATENCY_SCATTER, patience)
        lasts |= add_rise(evidence, LATENCY_SIGNAL, scatter, verdict, 0)
    state = tables.spikes[pair, _SPIKE_LATENCY]
    lasts |= _observe_spike(
        evidence, clock, LATENCY_SIGNAL, _HOLD_SPIKE, state, left, value - left, caution.latency_spike
    )
    if evidence.scores[LATENCY_SIGNAL, BY_SPIKE] > 1.0:
        evidence.effects[LATENCY_SIGNAL] = max(evidence.effects[LATENCY_SIGNAL], left)
    keep(clock, LATENCY_SIGNAL, lasts)
    keep(clock, FASTER, falls)


@inlined
def _observe_first_token(
    tables: ChannelTables, evidence: Evidence, pair: int, ttft_ms: float, caution: Caution
) -> None:
    clock, value, state = tables.clocks[pair], math.log(ttft_ms + LATENCY_OFFSET), tables.fast[pair, _FAST_TTFT]
    verdict = shift.update(state, value, FIRST_TOKEN, shift.patience(state.seen) * caution.first_token)
    _both(evidence, clock, TTFT_SIGNAL, TTFT_FASTER, state, verdict, 0.0)
    if _observe_spike(
        evidence,
        clock,
        TTFT_SIGNAL,
        _HOLD_TTFT,
        tables.spikes[pair, _SPIKE_TTFT],
        value,
        0.0,
        caution.first_token_spike,
    ):
        keep(clock, TTFT_SIGNAL, True)
    if evidence.scores[TTFT_SIGNAL, BY_SPIKE] > 1.0:
        evidence.effects[TTFT_SIGNAL] = max(evidence.effects[TTFT_SIGNAL], value - verdict.expected)


@inlined
def _observe_quality(tables: ChannelTables, evidence: Evidence, pair: int, quality: float, caution: float) -> None:
    clock, state = tables.clocks[pair], tables.fast[pair, _FAST_QUALITY]
    verdict = shift.update(state, quality, QUALITIES, shift.patience(state.seen) * caution)
    expect(evidence, QUALITY_SIGNAL, verdict, 0.0, verdict.z < -1.0)
    lasts = add_fall(evidence, QUALITY_SIGNAL, state, verdict, 0)
    if lasts:
        drop = shift.effect(state, 8, DOWN) / max(abs(verdict.expected), shift.SMALLEST_SPREAD)
        evidence.effects[QUALITY_SIGNAL] = math.log1p(max(0.0, drop))
    keep(clock, QUALITY_SIGNAL, lasts)


@inlined
def _observe_cost(
    tables: ChannelTables, evidence: Evidence, pair: int, cost: float, bucket: int, caution: float
) -> None:
    value, state = math.log(cost + COST_OFFSET), tables.fast[pair, _FAST_COST]
    explained, buckets = tables.residuals[pair, _COST], tables.cost_buckets[pair]
    left = residual.update(explained, buckets[bucket], value, BUCKET_MEMORY, _pace(state))
    verdict = shift.update(state, left, COSTS, shift.patience(state.seen) * caution)
    _settle(explained, buckets, state, verdict)
    _both(evidence, tables.clocks[pair], COST_SIGNAL, CHEAPER, state, verdict, value - left)


@inlined
def _observe_tokens(
    tables: ChannelTables,
    evidence: Evidence,
    pair: int,
    row: int,
    rising: int,
    falling: int,
    value: float,
    caution: float,
) -> None:
    state = tables.fast[pair, row]
    verdict = shift.update(state, value, TOKENS, shift.patience(state.seen) * caution)
    _both(evidence, tables.clocks[pair], rising, falling, state, verdict, 0.0)


@inlined
def _is_usable(value: float) -> bool:
    """Whether a logarithm can be taken of a value."""
    return is_present(value) and value >= 0.0


@lean
def _observe_answer(
    tables: ChannelTables, evidence: Evidence, pair: int, values: NDArray[np.float64], caution: Caution
) -> None:
    """A call that did not fail: its times, tokens and cost."""
    output, given = values[COMPLETION_TOKENS], values[PROMPT_TOKENS]
    has_output, has_input = _is_usable(output), _is_usable(given)
    ln_output = math.log(output + TOKENS_OFFSET) if has_output else 0.0
    ln_input = math.log(given + TOKENS_OFFSET) if has_input else 0.0
    bucket = min(int(ln_output * (2.0 / math.log(2.0))), OUTPUT_BUCKETS - 1)
    both = bucket * INPUT_BUCKETS + min(int(ln_input * (1.0 / math.log(2.0))), INPUT_BUCKETS - 1)
    if _is_usable(values[LATENCY]):
        _observe_latency(tables, evidence, pair, values[LATENCY], bucket, caution)
    if has_output:
        _observe_tokens(tables, evidence, pair, _FAST_TOKENS, TOKENS_SIGNAL, SHORTER, ln_output, caution.tokens)
        if _is_usable(values[COST]):
            _observe_cost(tables, evidence, pair, values[COST], both, caution.cost)
    if has_input:
        _observe_tokens(
            tables, evidence, pair, _FAST_PROMPT, PROMPT_SIGNAL, PROMPT_SHORTER, ln_input, caution.input_tokens
        )
    if _is_usable(values[TTFT]):
        _observe_first_token(tables, evidence, pair, values[TTFT], caution)
    if is_present(values[QUALITY]):
        _observe_quality(tables, evidence, pair, values[QUALITY], caution.quality)


@lean
def observe(
    tables: ChannelTables,
    evidence: Evidence,
    pair: int,
    event_ms: int,
    failed: bool,
    values: NDArray[np.float64],
    caution: Caution,
) -> bool:
    """Take one event of a pair: `values` float64[METRICS], NaN where missing.

    Returns whether any signal lasts, or did until now: only then something is to be done about the evidence. A failed
    call says nothing about latency, tokens and cost, nor does an event without a metric about that: what lasted still
    does.
    """
    clock = tables.clocks[pair]
    lasted = clock.lasting
    clear(evidence)
    _observe_rate(tables, evidence, pair, event_ms, caution)
    _observe_failure(tables, evidence, pair, failed, caution.errors)
    if not failed:
        _observe_answer(tables, evidence, pair, values, caution)
    if lasted == 0 and clock.lasting == 0:
        return False
    for signal in range(SIGNALS):
        evidence.is_active[signal] = (clock.lasting >> np.uint32(signal)) & np.uint32(1)
    return True
