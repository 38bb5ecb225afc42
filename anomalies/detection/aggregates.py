"""Aggregates of closed minutes: requests, share of errors, US dollars and tokens per minute, and their baselines."""

from __future__ import annotations

from anomalies.detection import episodes
from anomalies.detection.arrays import DOWN, NO_ROW, UP, Rules, Tables
from anomalies.detection.episodes import Place
from anomalies.detection.minutes import MINUTE_MS
from baselines.stats import window
from baselines.stats.compiled import compiled
from baselines.stats.series import COST_RATE, ERROR_RATE, EVENT_METRICS, MINUTE_METRICS, REQUEST_RATE
from baselines.stats.window import Record

FIRST = len(EVENT_METRICS)  # the number of the first of these metrics


@compiled
def value_of(minute: Record, metric: int) -> float:
    """What a minute measures of one of MINUTE_METRICS."""
    if metric == REQUEST_RATE:
        return float(minute.count)
    if metric == ERROR_RATE:
        return float(minute.errors / minute.count)
    if metric == COST_RATE:
        return float(minute.cost_usd)
    return float(minute.total_tokens)


@compiled
def teach(tables: Tables, rules: Rules, pair: int, minute: Record, now_ms: int) -> None:
    """Teach the baselines of a pair by a minute that closes in its time.

    One that late events reopened has too few events, one within an episode is no part of what is normal.
    """
    if minute.due != minute.minute + MINUTE_MS + rules.lateness_ms:
        return
    rings = tables.aggregate_rings[pair]
    for row in range(len(MINUTE_METRICS)):
        metric = FIRST + row
        is_odd = episodes.slot_of(tables, Place(pair, metric, UP)) != NO_ROW
        if is_odd or episodes.slot_of(tables, Place(pair, metric, DOWN)) != NO_ROW:
            continue
        baseline = tables.aggregates[pair, row]
        window.learn(rings, row, baseline, value_of(minute, metric))
        if window.is_refresh_due(baseline, now_ms, rings.shape[1], rules.min_samples, rules.refresh_ms, True):
            window.refresh(rings[row], baseline, now_ms)
