"""Episodes: the first flagged sample of a metric and direction opens one, further ones extend it, quiet ends it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import policies
from anomalies.detection.arrays import (
    DETECTIONS,
    DEVIANTS,
    ENDED,
    MOST_DEVIANTS,
    NO_ROW,
    OPENED,
    UNTOLD,
    Columns,
    Found,
    Tables,
)
from baselines.stats.compiled import compiled, inlined
from baselines.stats.series import (
    COST_RATE,
    EMBEDDING,
    EVENT_METRICS,
    FINISH_REASON,
    INPUT_DRIFT,
    MINUTE_METRICS,
    OUTPUT_DRIFT,
    REQUEST_RATE,
    TOKEN_RATE,
)
from baselines.stats.window import Record

WARNING_SCORE = 1.5
CRITICAL_SCORE = 3.0
NO_EVENT = -1  # in place of a row of the batch, where time or a closed minute tells

# About all events of their time rather than single ones.
_OF_ALL_EVENTS = (REQUEST_RATE, COST_RATE, TOKEN_RATE, INPUT_DRIFT, OUTPUT_DRIFT, FINISH_REASON, EMBEDDING)
_EVENT_METRICS, _WINDOWED_METRICS = len(EVENT_METRICS), len(EVENT_METRICS + MINUTE_METRICS)


class Place(NamedTuple):
    """What an episode is about: the row of a pair, a metric, UP or DOWN."""

    pair: int
    metric: int
    direction: int


class Moment(NamedTuple):
    """Where and when a sample was flagged: its row in the batch (or NO_EVENT), its offset, its event time."""

    event: int
    offset: int
    event_ms: int


class Outlook(NamedTuple):
    """What was expected of a sample, in the unit of the metric; NaN (and no band) where that is not known."""

    mean: float
    stddev: float
    median: float
    lower: float
    upper: float


@inlined
def moment_of(columns: Columns, event: int) -> Moment:
    """The moment of an event of the batch."""
    return Moment(event, columns.offset[event], columns.event_ms[event])


@compiled
def outlook_of(tables: Tables, pair: int, metric: int) -> Outlook:
    """What the baseline of a metric leads to expect; nothing where it has none yet, or no window at all."""
    if metric < _EVENT_METRICS:
        row = tables.series_of[pair, metric]
        if row != NO_ROW and tables.series[row].samples > 0:
            series, band = tables.series[row], tables.bands[row]
            return Outlook(series.mean, series.stddev, series.median, band.lower, band.upper)
    elif metric < _WINDOWED_METRICS:
        aggregate = tables.aggregates[pair, metric - _EVENT_METRICS]
        if aggregate.samples > 0:
            return Outlook(aggregate.mean, aggregate.stddev, aggregate.median, -math.inf, math.inf)
    return Outlook(math.nan, math.nan, math.nan, -math.inf, math.inf)


@compiled
def severity_of(score: float) -> int:
    """Index into SEVERITIES: below 1.5 info, below 3 warning, else critical."""
    if score >= CRITICAL_SCORE:
        return 2
    if score >= WARNING_SCORE:
        return 1
    return 0


@inlined
def is_small(tables: Tables, pair: int, metric: int, deviation: float) -> bool:
    """Whether a relative deviation (1.0: twice the usual, or half of it) is to stay info, by the policy of its series.

    That a deviation is improbable does not make it important.
    """
    return bool(deviation < tables.policies[tables.policy_of[pair, metric]].min_deviation)


@inlined
def slot_of(tables: Tables, place: Place) -> int:
    """The slot of the open episode there; NO_ROW if none is open."""
    return int(tables.open_episodes[place.pair, place.metric, place.direction])


@compiled
def _open(tables: Tables, found: Found, place: Place, moment: Moment, outlook: Outlook) -> int:
    """Begin an episode with what is expected, and which traffic is usual, at this moment; returns its slot."""
    tables.free_episode_count[0] -= 1
    slot = tables.free_episodes[tables.free_episode_count[0]]
    tables.open_episodes[place.pair, place.metric, place.direction] = slot
    episode = tables.episodes[slot]
    episode.pair, episode.metric, episode.direction = place.pair, place.metric, place.direction
    episode.first_offset = moment.offset
    episode.first_seen = moment.event_ms
    episode.last_seen = moment.event_ms
    episode.occurrences = 0
    episode.score = 0.0
    episode.mean, episode.stddev, episode.median = outlook.mean, outlook.stddev, outlook.median
    episode.lower, episode.upper = outlook.lower, outlook.upper
    episode.severity = 0
    episode.is_adopted = 0
    episode.handed_out = 0
    tables.episode_scores[slot] = 0.0
    count_open(tables.pairs[place.pair], place.metric, 1)
    row = found.counts[OPENED]
    _mention(found.opened[row], episode, moment.event)
    found.backgrounds[row] = tables.backgrounds[place.pair]
    found.counts[OPENED] += 1
    return int(slot)


@compiled
def count_open(pair: Record, metric: int, step: int) -> None:
    """Count an episode of a pair (its PAIR record) that opened (step 1) or ended (-1)."""
    pair.open_count += step
    if metric in _OF_ALL_EVENTS:
        pair.broad_count += step


@inlined
def _mention(mention: Record, episode: Record, event: int) -> None:
    mention.event, mention.first_offset = event, episode.first_offset
    mention.pair, mention.metric, mention.direction = episode.pair, episode.metric, episode.direction


@compiled
def hand_out(tables: Tables, found: Found, slot: int, event: int) -> None:
    """Hand out an event that deviates in the way the open episode in this slot tells of: the first MOST_DEVIANTS.

    Nothing where there is none, NO_ROW: the policy of the series did not admit it.
    """
    if slot == NO_ROW:
        return
    episode = tables.episodes[slot]
    if episode.handed_out < MOST_DEVIANTS:
        episode.handed_out += 1
        _mention(found.deviants[found.counts[DEVIANTS]], episode, event)
        found.counts[DEVIANTS] += 1


@inlined
def _extend(
    episode: Record, episode_scores: NDArray[np.float64], scores: NDArray[np.float64], value: float, moment: Moment
) -> None:
    """Add a flagged sample; the strongest one is the peak and decides detector and severity."""
    episode.last_offset = moment.offset
    episode.last_seen = max(episode.last_seen, moment.event_ms)
    episode.occurrences += 1
    episode.is_changed = 1
    strongest = 0
    for detector in range(len(scores)):
        episode_scores[detector] = max(episode_scores[detector], scores[detector])
        if scores[detector] > scores[strongest]:
            strongest = detector
    if scores[strongest] > episode.score:
        episode.score = scores[strongest]
        episode.value = value
        episode.detector = strongest


@compiled
def flag(
    tables: Tables,
    found: Found,
    place: Place,
    scores: NDArray[np.float64],
    moment: Moment,
    value: float,
    severity: int,
    outlook: Outlook,
    due: int,
) -> None:
    """Record a flagged sample: in its episode, opened if need be, and as a detection if it is an event.

    `scores` has one number per detector; `due` is the watermark at which the episode ends unless flagged again. What
    the policy of the series does not admit is passed over, and no severity exceeds its ceiling.
    """
    ceiling = policies.ceiling_of(tables, place.pair, place.metric, place.direction)
    if ceiling == UNTOLD:
        return
    severity = min(severity, ceiling)
    slot = tables.open_episodes[place.pair, place.metric, place.direction]
    if slot == NO_ROW:
        slot = _open(tables, found, place, moment, outlook)
    episode = tables.episodes[slot]
    _extend(episode, tables.episode_scores[slot], scores, value, moment)
    episode.severity = max(episode.severity, severity)
    episode.due = due
    tables.pairs[place.pair].next_due = min(tables.pairs[place.pair].next_due, due)
    if moment.event == NO_EVENT:
        return
    row = found.counts[DETECTIONS]
    detection = found.detections[row]
    detection.event, detection.offset, detection.event_ms = moment.event, moment.offset, moment.event_ms
    detection.pair, detection.metric, detection.direction = place.pair, place.metric, place.direction
    detection.detector = np.argmax(scores)
    detection.score = scores[detection.detector]
    detection.severity = severity
    detection.first_offset = episode.first_offset
    detection.value = value
    detection.expected, detection.lower, detection.upper = outlook.median, outlook.lower, outlook.upper
    found.detection_scores[row] = scores
    found.counts[DETECTIONS] += 1


@compiled
def hand_out_to_all(tables: Tables, found: Found, pair: int, event: int) -> None:
    """Hand out an event to the open episodes of its pair that are about traffic as a whole."""
    for metric in _OF_ALL_EVENTS:
        for direction in range(tables.open_episodes.shape[2]):
            slot = tables.open_episodes[pair, metric, direction]
            if slot != NO_ROW:
                hand_out(tables, found, slot, event)


@compiled
def end(tables: Tables, found: Found, slot: int) -> None:
    """Close an episode, hand it out as it was at its end, and give its slot back."""
    episode = tables.episodes[slot]
    tables.open_episodes[episode.pair, episode.metric, episode.direction] = NO_ROW
    count_open(tables.pairs[episode.pair], episode.metric, -1)
    row = found.counts[ENDED]
    found.ended[row] = episode
    found.ended_scores[row] = tables.episode_scores[slot]
    found.counts[ENDED] += 1
    tables.free_episodes[tables.free_episode_count[0]] = slot
    tables.free_episode_count[0] += 1


@compiled
def end_due(tables: Tables, found: Found, pair: int, now_ms: int) -> int:
    """End the episodes of a pair that are due at the watermark `now_ms`; returns when the next one is due."""
    next_due = np.iinfo(np.int64).max
    for metric in range(tables.open_episodes.shape[1]):
        for direction in range(tables.open_episodes.shape[2]):
            slot = tables.open_episodes[pair, metric, direction]
            if slot == NO_ROW:
                continue
            if tables.episodes[slot].due <= now_ms:
                end(tables, found, slot)
            else:
                next_due = min(next_due, tables.episodes[slot].due)
    return int(next_due)
