"""The loop over the events of a partition: exact per event, whatever the cut into batches.

Everything here depends on the state, the events and the rules alone. No clock is read; refreshes, ends of minutes and
ends of episodes are decided by sample counts and by the pair's watermark.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import (
    absence,
    aggregates,
    bands,
    calibrated,
    channels,
    cusum,
    dimensions,
    episodes,
    lookahead,
    minutes,
    novel,
    shift,
    watches,
)
from anomalies.detection.arrays import DOWN, MOST_EPISODES, NEVER, NO_ROW, UP, Columns, Found, Rules, Signals, Tables
from anomalies.detection.channels import ChannelTables
from anomalies.detection.episodes import Outlook, Place
from anomalies.detection.evidence import Evidence
from anomalies.detection.novel import NoveltyTables
from anomalies.detection.settings import CUSUM
from anomalies.detection.watches import Watches
from baselines.stats import window
from baselines.stats.compiled import compiled, inlined, lean
from baselines.stats.window import Record


@compiled
def refresh(tables: Tables, series: int, policy: int, now_ms: int) -> None:
    """Renew the baseline of a series and what is derived from it."""
    window.refresh(tables.rings[series], tables.series[series], now_ms)
    bands.derive(tables.bands[series], tables.series[series], tables.policies[policy])


@compiled
def close_due(tables: Tables, rules: Rules, novelties: NoveltyTables, found: Found, pair: int, now_ms: int) -> None:
    """End every minute and episode of a pair that is due at the watermark `now_ms`, and say when the next one is."""
    next_due = NEVER
    for place in range(tables.open_minutes.shape[1]):
        slot = tables.open_minutes[pair, place]
        if slot == NO_ROW:
            continue
        if tables.minutes[slot].due <= now_ms:
            if rules.is_calibrated:
                novel.take(tables, novelties, found, tables.minutes[slot], rules.lateness_ms, now_ms)
                aggregates.teach(tables, rules, pair, tables.minutes[slot], now_ms)
            minutes.close(tables, found, pair, place)
        else:
            next_due = min(next_due, tables.minutes[slot].due)
    tables.pairs[pair].next_due = min(next_due, episodes.end_due(tables, found, pair, now_ms))


@inlined
def _cusum(state: Record, baseline: Record, value: float, threshold: float, drift: float) -> tuple[float, int]:
    """Score one value with CUSUM; returns the score and the direction it points to."""
    if cusum.is_outgrown(state, baseline.samples):
        cusum.start(state, baseline.mean, baseline.stddev, baseline.median, baseline.samples)
    score = cusum.update(state, value, threshold, drift)
    direction = UP if cusum.is_upward(state) else DOWN
    if score >= 1.0:
        cusum.start(state, baseline.mean, baseline.stddev, baseline.median, baseline.samples)
    return score, direction


@inlined
def _judge(
    scores: NDArray[np.float64],
    policy: Record,
    drift: float,
    baseline: Record,
    band: Record,
    state: Record,
    value: float,
) -> tuple[float, int]:
    """Score one value of one series against its baseline: fills `scores`, returns the best one and the direction."""
    strongest, direction = 0.0, UP if value >= baseline.median else DOWN
    is_outside = value <= band.lower or value >= band.upper
    threshold = policy.threshold[CUSUM]
    if is_outside or threshold < math.inf:
        for detector in range(len(scores)):
            scores[detector] = 0.0
    if is_outside:
        bands.score_value(scores, value, baseline, policy)
        for score in scores:
            strongest = max(strongest, score)
    if threshold < math.inf:
        score, trend = _cusum(state, baseline, value, threshold, drift)
        scores[CUSUM] = score
        if score > strongest:
            strongest, direction = score, trend
    return strongest, direction


@inlined
def _take_dimensions(tables: Tables, found: Found, pair: int, columns: Columns, event: int) -> None:
    """Hand an event out to whom it concerns, and learn what values of dimensions are usual."""
    state = tables.pairs[pair]
    if state.broad_count > 0:
        episodes.hand_out_to_all(tables, found, pair, event)
    if dimensions.is_chosen(columns.offset[event], state.open_count > 0):
        dimensions.learn(tables.backgrounds, pair, columns.dimensions[event], columns.offset[event])


@inlined
def _flag_value(
    tables: Tables,
    rules: Rules,
    columns: Columns,
    event: int,
    metric: int,
    direction: int,
    series: int,
    scores: NDArray[np.float64],
    best: float,
    found: Found,
) -> None:
    """Record that the classic detectors flag one value of an event."""
    pair, baseline, band = columns.pair[event], tables.series[series], tables.bands[series]
    place, moment = Place(pair, metric, direction), episodes.moment_of(columns, event)
    severity, due = episodes.severity_of(best), tables.pairs[pair].watermark + rules.quiet_ms
    outlook = Outlook(baseline.mean, baseline.stddev, baseline.median, band.lower, band.upper)
    value = columns.values[event, metric]
    episodes.flag(tables, found, place, scores, moment, value, severity, outlook, due)
    episodes.hand_out(tables, found, episodes.slot_of(tables, place), event)


@lean
def _take_values(
    tables: Tables,
    rules: Rules,
    columns: Columns,
    event: int,
    enough: float,
    scores: NDArray[np.float64],
    found: Found,
) -> None:
    """Let the classic detectors judge the values of an event, and the baselines learn them.

    A value is flagged if a score reaches `enough`; if that is infinite nothing is judged.
    """
    pair, most = columns.pair[event], tables.rings.shape[1]
    now_ms = tables.pairs[pair].watermark
    for metric in range(columns.values.shape[1]):
        value = columns.values[event, metric]
        if not minutes.is_present(value):
            continue
        series = tables.series_of[pair, metric]
        baseline, band, sums = tables.series[series], tables.bands[series], tables.cusum[series]
        learned, policy = value, tables.policy_of[pair, metric]
        if baseline.samples >= rules.min_samples:
            learned = min(max(value, band.learn_lower), band.learn_upper)
            if enough < np.inf:
                limits, drift = tables.policies[policy], rules.cusum_drift
                best, direction = _judge(scores, limits, drift, baseline, band, sums, value)
                if best >= enough and (not rules.is_calibrated or calibrated.is_gross(baseline, value)):
                    _flag_value(tables, rules, columns, event, metric, direction, series, scores, best, found)
        window.learn(tables.rings, series, baseline, learned)
        if window.is_refresh_due(baseline, now_ms, most, rules.min_samples, rules.refresh_ms, rules.is_calibrated):
            refresh(tables, series, policy, now_ms)


@lean
def process(
    tables: Tables,
    rules: Rules,
    signals: Signals,
    states: ChannelTables,
    evidence: Evidence,
    watched: Watches,
    clock: Record,
    novelties: NoveltyTables,
    columns: Columns,
    buckets: NDArray[np.int16],
    first: int,
    end: int,
    found: Found,
    scores: NDArray[np.float64],
) -> None:
    """Take the events [first, end) of a batch of one partition, in the order of their offsets.

    `buckets` are those of its values (`minutes.buckets_of`); `scores` is room to work in: float64[DETECTORS].
    """
    found.counts[:] = 0
    enough = 1.0
    is_scattered = len(tables.pairs) > lookahead.MANY_PAIRS
    for event in range(first, end):
        if is_scattered:
            lookahead.fetch_ahead(tables, states, watched, columns, buckets, event, end, rules.is_calibrated)
        pair, offset, event_ms = columns.pair[event], columns.offset[event], columns.event_ms[event]
        state = tables.pairs[pair]
        state.last_record = max(state.last_record, columns.record_ms[event])
        # One event from the future must not make all others late.
        state.watermark = max(state.watermark, min(event_ms, columns.record_ms[event]))
        if state.watermark >= state.next_due:
            close_due(tables, rules, novelties, found, pair, state.watermark)
        slot = minutes.slot_of(tables, found, pair, event_ms, offset, rules.lateness_ms)
        minutes.count(tables, slot, columns, buckets, event)
        if rules.is_calibrated:
            if absence.is_silent(tables, pair):
                channels.skip_gap(states, pair, absence.end(tables, clock, watched.absences[pair], pair, found))
            watches.observe(tables, rules, watched, clock, columns, event, scores, found)
            caution = calibrated.caution_of(tables, pair)
            failed, values = columns.failed[event], columns.values[event]
            is_telling = channels.observe(states, evidence, pair, event_ms, failed, values, caution)
            # Until the channels are warm the classic detectors stand in, with much wider thresholds.
            enough = calibrated.EARLY
            if states.clocks[pair].seen > shift.WARM:
                enough = np.inf
                if is_telling:
                    calibrated.apply(tables, rules, signals, states, evidence, columns, event, scores, found)
        if not columns.failed[event]:
            _take_values(tables, rules, columns, event, enough, scores, found)
        _take_dimensions(tables, found, pair, columns, event)


@compiled
def has_new_series(tables: Tables, columns: Columns) -> bool:
    """Whether an event measures something that has no series yet."""
    for event in range(len(columns.pair)):
        if columns.failed[event]:
            continue
        for metric in range(columns.values.shape[1]):
            is_new = tables.series_of[columns.pair[event], metric] == NO_ROW
            if is_new and minutes.is_present(columns.values[event, metric]):
                return True
    return False


@compiled
def advance(
    tables: Tables, rules: Rules, novelties: NoveltyTables, first: int, end: int, now_ms: int, found: Found
) -> None:
    """Let idle time of the pairs [first, end) pass up to the record time `now_ms`.

    What only a clock can tell is told as if by an event.
    """
    found.counts[:] = 0
    for pair in range(first, end):
        state = tables.pairs[pair]
        idle = now_ms - state.last_record
        if idle >= 0 and state.next_due != NEVER and state.watermark + idle >= state.next_due:
            close_due(tables, rules, novelties, found, pair, state.watermark + idle)


@compiled
def earliest_due(tables: Tables, pair_count: int) -> int:
    """The record time at which a tick would have an effect; NEVER if nothing is open."""
    earliest = NEVER
    for pair in range(pair_count):
        state = tables.pairs[pair]
        if state.next_due != NEVER:
            earliest = min(earliest, state.last_record + max(0, state.next_due - state.watermark))
    return int(earliest)


@compiled
def take_changed(tables: Tables, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The slots of the open episodes of these pairs that changed since they were last taken."""
    taken = np.empty(min(len(pairs) * MOST_EPISODES, len(tables.episodes)), np.int64)
    count = 0
    for pair in pairs:
        for metric in range(tables.open_episodes.shape[1]):
            for direction in range(tables.open_episodes.shape[2]):
                slot = tables.open_episodes[pair, metric, direction]
                if slot != NO_ROW and tables.episodes[slot].is_changed == 1:
                    tables.episodes[slot].is_changed = 0
                    taken[count] = slot
                    count += 1
    return taken[:count]
