"""Episodes in calibrated mode: evidence of the channels opens one, it lasts as long as the evidence does.

While a pair is young its channels are not warm yet; until then only a gross outlier opens an episode, told by the
classic detectors.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import channels as channel
from anomalies.detection import episodes, error_burst, policies, shift
from anomalies.detection.arrays import DOWN, NO_ROW, UP, Columns, Found, Rules, Signals, Tables
from anomalies.detection.channels import ChannelTables
from anomalies.detection.episodes import Outlook, Place
from anomalies.detection.evidence import (
    BY_BURST,
    BY_SHIFT,
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
)
from anomalies.detection.pace import EVENTS
from anomalies.detection.settings import ERROR_BURST, NOVELTY, SHIFT, SPIKE
from baselines.stats.compiled import compiled, inlined, lean
from baselines.stats.series import (
    COMPLETION_TOKENS,
    COST,
    ERROR_RATE,
    LATENCY,
    PROMPT_TOKENS,
    QUALITY,
    REQUEST_RATE,
    TTFT,
)
from baselines.stats.window import Record

# While the channels are not warm: how many times its own threshold a classic detector must score, and how many times
# the largest value of the window must be reached. A log-normal tail of any usual width hardly ever does.
EARLY = 7.0
EARLY_SAMPLES = 30  # that the window must have had at its last refresh
DOUBLED = 1.0  # relative deviation from which an anomaly is critical, once it was seen more than in passing
PASSING = 3  # occurrences
LARGEST_LOGARITHM = 600.0  # its exponential is finite

_METRICS = {
    LATENCY_SIGNAL: (LATENCY, UP),
    TOKENS_SIGNAL: (COMPLETION_TOKENS, UP),
    COST_SIGNAL: (COST, UP),
    RATE_SIGNAL: (REQUEST_RATE, DOWN),
    ERROR_SIGNAL: (ERROR_RATE, UP),
    TTFT_SIGNAL: (TTFT, UP),
    PROMPT_SIGNAL: (PROMPT_TOKENS, UP),
    QUALITY_SIGNAL: (QUALITY, DOWN),
    FASTER: (LATENCY, DOWN),
    SHORTER: (COMPLETION_TOKENS, DOWN),
    CHEAPER: (COST, DOWN),
    SURGE: (REQUEST_RATE, UP),
    TTFT_FASTER: (TTFT, DOWN),
    PROMPT_SHORTER: (PROMPT_TOKENS, DOWN),
}


@inlined
def is_gross(baseline: Record, value: float) -> bool:
    """Whether a value is an outlier by any standard: beyond all that a window, even a young one, has seen."""
    return bool(baseline.samples >= EARLY_SAMPLES and value >= EARLY * baseline.maximum)


def signals() -> Signals:
    """The metric and direction of each signal."""
    rows = [_METRICS[signal] for signal in range(SIGNALS)]
    return Signals(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))


@inlined
def caution_of(tables: Tables, pair: int) -> Caution:
    """The factors that the policies of a pair put on the thresholds of its channels."""
    return Caution(
        policies.threshold_of(tables, pair, LATENCY, SHIFT),
        policies.threshold_of(tables, pair, LATENCY, SPIKE),
        policies.threshold_of(tables, pair, COMPLETION_TOKENS, SHIFT),
        policies.threshold_of(tables, pair, COST, SHIFT),
        policies.threshold_of(tables, pair, REQUEST_RATE, SHIFT),
        policies.threshold_of(tables, pair, REQUEST_RATE, SPIKE),
        policies.threshold_of(tables, pair, ERROR_RATE, ERROR_BURST),
        policies.threshold_of(tables, pair, PROMPT_TOKENS, SHIFT),
        policies.threshold_of(tables, pair, TTFT, SHIFT),
        policies.threshold_of(tables, pair, TTFT, SPIKE),
        policies.threshold_of(tables, pair, QUALITY, SHIFT),
    )


@compiled
def severity_of(effect: float, min_deviation: float, occurrences: int) -> int:
    """Index into SEVERITIES, from the size of the deviation as a factor (1.3 is 30 % more than usual, or less)."""
    deviation = effect - 1.0
    if deviation < min_deviation:
        return 0
    return 2 if deviation >= DOUBLED and occurrences >= PASSING else 1


@compiled
def observed_value(channels: ChannelTables, signal: int, pair: int, values: NDArray[np.float64], metric: int) -> float:
    """What is shown of the sample: the event's own value, or the rate at this moment (per minute, or a share)."""
    if signal in (RATE_SIGNAL, SURGE):
        clock = channels.clocks[pair]
        oldest = clock.latest[clock.seen % EVENTS]
        return float(60_000.0 * EVENTS / max(1.0, float(clock.newest - oldest)))
    if signal == ERROR_SIGNAL:
        return float(channels.bursts[pair].recent)
    return float(values[metric])


@compiled
def _rate_of(ln_seconds: float) -> float:
    """Events per minute, if EVENTS of them take so long."""
    return 60.0 * EVENTS / max(math.exp(ln_seconds) - channel.SECONDS_OFFSET, channel.SECONDS_OFFSET)


@compiled
def _offset_of(metric: int) -> float:
    if metric == COST:
        return channel.COST_OFFSET
    return channel.LATENCY_OFFSET if metric in (LATENCY, TTFT) else channel.TOKENS_OFFSET


@compiled
def _band(
    channels: ChannelTables, evidence: Evidence, signal: int, pair: int, metric: int
) -> tuple[float, float, float]:
    """What was expected of the sample, and the band of what is usual, in the unit of the metric.

    Of a value of an event: given its tokens, and as wide as values are taken at their word (the clip of `shift`); where
    `spike` fires, up to what it would tell of alone. Of the rate: to the thresholds of `pace`. Of failures: up to the
    share that counts as a burst. A value within the band that is told of is one of many that add up.
    """
    if signal in (RATE_SIGNAL, SURGE):
        usual, reach = channels.paces[pair], channel.PACE_THRESHOLD * channels.paces[pair].spread
        return _rate_of(usual.center), _rate_of(usual.center + reach), _rate_of(usual.center - reach)
    if signal == ERROR_SIGNAL:
        state = channels.bursts[pair]
        return float(state.rate), 0.0, error_burst.limit(state)
    expected, reach = evidence.expected[signal], shift.CLIP * evidence.spread[signal]
    if metric == QUALITY:
        return float(expected), float(expected - reach), float(expected + reach)
    offset, upper = _offset_of(metric), expected + reach
    if evidence.scores[signal, BY_SPIKE] > 1.0:
        upper = evidence.limits[signal]
    return (
        math.exp(expected) - offset,
        max(0.0, math.exp(expected - reach) - offset),
        math.exp(min(upper, LARGEST_LOGARITHM)) - offset,
    )


@compiled
def outlook_of(tables: Tables, channels: ChannelTables, evidence: Evidence, signal: int, place: Place) -> Outlook:
    """What was expected of the sample that a signal is about: `_band`, and the baseline of the metric."""
    baseline = episodes.outlook_of(tables, place.pair, place.metric)
    expected, lower, upper = _band(channels, evidence, signal, place.pair, place.metric)
    return Outlook(baseline.mean, baseline.stddev, expected, lower, upper)


@lean
def _merge(scores: NDArray[np.float64], evidence: Evidence, signal: int) -> bool:
    """Put the evidence of a signal beside the classic scores; whether any of it reaches its threshold."""
    scores[SHIFT] = evidence.scores[signal, BY_SHIFT]
    scores[SPIKE] = evidence.scores[signal, BY_SPIKE]
    scores[ERROR_BURST] = evidence.scores[signal, BY_BURST]
    return bool(max(scores[SHIFT], scores[SPIKE], scores[ERROR_BURST]) > 1.0)


@lean
def apply(
    tables: Tables,
    rules: Rules,
    signals: Signals,
    channels: ChannelTables,
    evidence: Evidence,
    columns: Columns,
    event: int,
    scores: NDArray[np.float64],
    found: Found,
) -> None:
    """Open, extend and end the episodes of a pair by the evidence after one event; `scores` is room to work in."""
    pair = columns.pair[event]
    due = tables.pairs[pair].watermark + rules.quiet_ms
    for signal in range(SIGNALS):
        place = Place(pair, signals.metric[signal], signals.direction[signal])
        slot = episodes.slot_of(tables, place)
        if evidence.is_active[signal]:
            value = observed_value(channels, signal, pair, columns.values[event], place.metric)
            for detector in range(len(scores)):
                scores[detector] = 0.0
            if _merge(scores, evidence, signal) and not math.isnan(value):
                least = tables.policies[tables.policy_of[pair, place.metric]].min_deviation
                occurrences = 1 if slot == NO_ROW else tables.episodes[slot].occurrences + 1
                severity = severity_of(math.exp(evidence.effects[signal]), least, occurrences)
                moment = episodes.moment_of(columns, event)
                outlook = outlook_of(tables, channels, evidence, signal, place)
                episodes.flag(tables, found, place, scores, moment, value, severity, outlook, due)
            elif slot != NO_ROW:
                tables.episodes[slot].due = due
                tables.pairs[pair].next_due = min(tables.pairs[pair].next_due, due)
            slot = episodes.slot_of(tables, place)
            if slot != NO_ROW and evidence.deviates[signal] and signal != RATE_SIGNAL:
                episodes.hand_out(tables, found, slot, event)
        elif slot != NO_ROW and tables.episode_scores[slot, NOVELTY] == 0.0:  # else minutes tell when it ends
            tables.episodes[slot].is_adopted = 1 if evidence.is_adopted[signal] else 0
            episodes.end(tables, found, slot)
