"""Episodes in calibrated mode: evidence of the channels opens one, it lasts as long as the evidence does.

While a pair is young its channels are not warm yet; until then only a gross outlier opens an episode, told by the
classic detectors.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import episodes, policies
from anomalies.detection.arrays import DOWN, NO_ROW, UP, Columns, Found, Rules, Signals, Tables
from anomalies.detection.channels import (
    BY_BURST,
    BY_SHIFT,
    BY_SPIKE,
    COST_SIGNAL,
    ERROR_SIGNAL,
    LATENCY_SIGNAL,
    RATE_SIGNAL,
    SIGNALS,
    TOKENS_SIGNAL,
    Caution,
    ChannelTables,
    Evidence,
)
from anomalies.detection.episodes import Place
from anomalies.detection.pace import EVENTS
from anomalies.detection.settings import ERROR_BURST, SHIFT, SPIKE
from baselines.stats.compiled import compiled, inlined
from baselines.stats.series import COMPLETION_TOKENS, COST, ERROR_RATE, LATENCY, REQUEST_RATE

# While the channels are not warm: how many times its own threshold a classic detector must score, and how many times
# the largest value of the window must be reached. A log-normal tail of any usual width hardly ever does.
EARLY = 4.0
DOUBLED = 1.0  # relative deviation from which an anomaly is critical, once it was seen more than in passing
PASSING = 3  # occurrences

_METRICS = {
    LATENCY_SIGNAL: (LATENCY, UP),
    TOKENS_SIGNAL: (COMPLETION_TOKENS, UP),
    COST_SIGNAL: (COST, UP),
    RATE_SIGNAL: (REQUEST_RATE, DOWN),
    ERROR_SIGNAL: (ERROR_RATE, UP),
}


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
    )


@compiled
def severity_of(effect: float, min_deviation: float, occurrences: int) -> int:
    """Index into SEVERITIES, from the size of the deviation as a factor (1.3 is 30 % more than usual)."""
    deviation = effect - 1.0
    if deviation < min_deviation:
        return 0
    return 2 if deviation >= DOUBLED and occurrences >= PASSING else 1


@compiled
def observed_value(channels: ChannelTables, signal: int, pair: int, values: NDArray[np.float64], metric: int) -> float:
    """What is shown of the sample: the event's own value, or the rate at this moment (per minute, or a share)."""
    if signal == RATE_SIGNAL:
        clock = channels.clocks[pair]
        oldest = clock.latest[clock.seen % EVENTS]
        return float(60_000.0 * EVENTS / max(1.0, float(clock.newest - oldest)))
    if signal == ERROR_SIGNAL:
        return float(channels.bursts[pair].recent)
    return float(values[metric])


@compiled
def _merge(scores: NDArray[np.float64], evidence: Evidence, signal: int) -> bool:
    """Put the evidence of a signal beside the classic scores; whether any of it reaches its threshold."""
    scores[SHIFT] = evidence.scores[signal, BY_SHIFT]
    scores[SPIKE] = evidence.scores[signal, BY_SPIKE]
    scores[ERROR_BURST] = evidence.scores[signal, BY_BURST]
    return bool(evidence.scores[signal].max() > 1.0)


@compiled
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
            scores[:] = 0.0
            value = observed_value(channels, signal, pair, columns.values[event], place.metric)
            if _merge(scores, evidence, signal) and not math.isnan(value):
                least = tables.policies[tables.policy_of[pair, place.metric]].min_deviation
                occurrences = 1 if slot == NO_ROW else tables.episodes[slot].occurrences + 1
                severity = severity_of(evidence.effects[signal], least, occurrences)
                moment, outlook = episodes.moment_of(columns, event), episodes.outlook_of(tables, pair, place.metric)
                episodes.flag(tables, found, place, scores, moment, value, severity, outlook, due)
            elif slot != NO_ROW:
                tables.episodes[slot].due = due
                tables.pairs[pair].next_due = min(tables.pairs[pair].next_due, due)
            slot = episodes.slot_of(tables, place)
            if slot != NO_ROW and evidence.deviates[signal] and signal != RATE_SIGNAL:
                episodes.hand_out(tables, found, slot, event)
        elif slot != NO_ROW:
            tables.episodes[slot].is_adopted = 1 if evidence.is_adopted[signal] else 0
            episodes.end(tables, found, slot)
