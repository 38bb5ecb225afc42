"""The loop over the events of a partition: exact per event, whatever the cut into batches.

Everything here depends on the state, the events and the rules alone. No clock is read; refreshes, ends of minutes and
ends of episodes are decided by sample counts and by the pair's watermark.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from anomalies.detection import bands, cusum, episodes, minutes
from anomalies.detection.arrays import DETECTIONS, DOWN, NEVER, NO_ROW, UP
from anomalies.detection.settings import CUSUM, DETECTORS
from baselines.stats import window


@njit(cache=True)
def close_due(tables, rules, found, pair, now_ms):
    """End every minute and episode of a pair that is due at the watermark `now_ms`, and say when the next one is."""
    next_due = NEVER
    for place in range(tables.open_minutes.shape[1]):
        slot = tables.open_minutes[pair, place]
        if slot == NO_ROW:
            continue
        if tables.minutes[slot].due <= now_ms:
            minutes.close(tables, found, pair, place)
        else:
            next_due = min(next_due, tables.minutes[slot].due)
    for metric in range(tables.series_of.shape[1]):
        series = tables.series_of[pair, metric]
        if series == NO_ROW:
            continue
        for direction in range(2):
            episode = tables.episodes[series, direction]
            if episode.is_open == 0:
                continue
            due = episode.flagged_at + rules.quiet_ms
            if due <= now_ms:
                episodes.end(tables, found, series, direction)
            else:
                next_due = min(next_due, due)
    tables.pairs[pair].next_due = next_due


@njit(cache=True)
def refresh(tables, rules, series, metric, now_ms):
    """Renew the baseline of a series and what is derived from it."""
    window.refresh(tables.rings[series], tables.series[series], now_ms)
    bands.derive(tables.bands[series], tables.series[series], rules.parameters, rules.watched[:, metric])


@njit(cache=True)
def _cusum(tables, rules, series, value, scores):
    """Score one value with CUSUM; returns the direction it points to."""
    state, baseline = tables.cusum[series], tables.series[series]
    if cusum.is_outgrown(state, baseline.samples):
        cusum.start(state, baseline.mean, baseline.stddev, baseline.median, baseline.samples)
    scores[CUSUM] = cusum.update(state, value, rules.parameters[CUSUM], rules.parameters[CUSUM + 1])
    direction = UP if cusum.is_upward(state) else DOWN
    if scores[CUSUM] >= 1.0:
        cusum.start(state, baseline.mean, baseline.stddev, baseline.median, baseline.samples)
    return direction


@njit(cache=True)
def _flag(tables, rules, found, pair, series, direction, scores, event, offset, event_ms, value):
    """Record a flagged sample: in its episode, and as a detection."""
    baseline, band = tables.series[series], tables.bands[series]
    episode = tables.episodes[series, direction]
    episode_scores = tables.episode_scores[series, direction]
    if episode.is_open == 0:
        episodes.open_episode(episode, episode_scores, baseline, band, offset, event_ms)
    watermark = tables.pairs[pair].watermark
    episodes.extend(episode, episode_scores, scores, value, offset, event_ms, watermark)
    tables.pairs[pair].next_due = min(tables.pairs[pair].next_due, watermark + rules.quiet_ms)
    row = found.counts[DETECTIONS]
    detection = found.detections[row]
    detection.event, detection.offset, detection.event_ms = event, offset, event_ms
    detection.series, detection.direction = series, direction
    detection.detector = np.argmax(scores)
    detection.score = scores[detection.detector]
    detection.severity = episodes.severity_of(detection.score)
    detection.ordinal, detection.first_offset = episode.occurrences, episode.first_offset
    detection.value, detection.expected = value, baseline.median
    detection.lower, detection.upper = band.lower, band.upper
    found.detection_scores[row] = scores
    found.counts[DETECTIONS] += 1


@njit(cache=True)
def score_sample(tables, rules, found, scores, pair, metric, event, offset, event_ms, value):
    """Score one value of one series against its baseline, then teach it to the baseline."""
    series = tables.series_of[pair, metric]
    baseline, band = tables.series[series], tables.bands[series]
    learned = value
    if baseline.samples > 0:
        watched = rules.watched[:, metric]
        scores[:] = 0.0
        direction = UP if value >= baseline.median else DOWN
        outside = value <= band.lower or value >= band.upper
        if outside:
            bands.score_value(scores, value, baseline, rules.parameters, watched)
            outside = scores.max() >= 1.0
        if watched[CUSUM]:
            trend = _cusum(tables, rules, series, value, scores)
            if not outside:
                direction = trend
        if outside or scores[CUSUM] >= 1.0:
            _flag(tables, rules, found, pair, series, direction, scores, event, offset, event_ms, value)
        learned = min(max(value, band.learn_lower), band.learn_upper)
    window.learn(tables.rings[series], baseline, learned)
    now_ms = tables.pairs[pair].watermark
    if window.is_refresh_due(baseline, now_ms, tables.rings.shape[1], rules.min_samples, rules.refresh_ms):
        refresh(tables, rules, series, metric, now_ms)


@njit(cache=True)
def process(tables, rules, columns, found):
    """Take a batch of events of one partition, in the order of their offsets."""
    scores = np.zeros(len(DETECTORS))
    for event in range(len(columns.pair)):
        pair, offset, event_ms = columns.pair[event], columns.offset[event], columns.event_ms[event]
        state = tables.pairs[pair]
        state.last_record = max(state.last_record, columns.record_ms[event])
        # One event from the future must not make all others late.
        state.watermark = max(state.watermark, min(event_ms, columns.record_ms[event]))
        if state.watermark >= state.next_due:
            close_due(tables, rules, found, pair, state.watermark)
        slot = minutes.slot_of(tables, found, pair, event_ms, offset, rules.lateness_ms)
        values = columns.values[event]
        minutes.count(tables.minutes[slot], tables.sketches[slot], offset, columns.failed[event], values)
        if columns.failed[event]:
            continue
        for metric in range(len(values)):
            if not math.isnan(values[metric]):
                score_sample(tables, rules, found, scores, pair, metric, event, offset, event_ms, values[metric])


@njit(cache=True)
def advance(tables, rules, pair_count, now_ms, found):
    """Let idle time pass up to the record time `now_ms`: what only a clock can tell, told as if by an event."""
    for pair in range(pair_count):
        state = tables.pairs[pair]
        idle = now_ms - state.last_record
        if idle > 0 and state.next_due != NEVER and state.watermark + idle >= state.next_due:
            close_due(tables, rules, found, pair, state.watermark + idle)


@njit(cache=True)
def earliest_due(tables, pair_count):
    """The record time at which a tick would have an effect; NEVER if nothing is open."""
    earliest = NEVER
    for pair in range(pair_count):
        state = tables.pairs[pair]
        if state.next_due != NEVER:
            earliest = min(earliest, state.last_record + (state.next_due - state.watermark))
    return earliest
