"""Episodes: the first flagged sample of a series and direction opens one, further ones extend it, quiet ends it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.arrays import DETECTIONS, ENDED, Columns, Found, Rules, Tables
from baselines.stats.compiled import compiled, inlined
from baselines.stats.window import Record

WARNING_SCORE = 1.5
CRITICAL_SCORE = 3.0


@compiled
def severity_of(score: float) -> int:
    """Index into SEVERITIES: below 1.5 info, below 3 warning, else critical."""
    if score >= CRITICAL_SCORE:
        return 2
    if score >= WARNING_SCORE:
        return 1
    return 0


@inlined
def open_episode(
    episode: Record, scores: NDArray[np.float64], series: Record, band: Record, offset: int, event_ms: int
) -> None:
    """Begin an episode with what the baseline says at this moment."""
    episode.first_offset = offset
    episode.first_seen = event_ms
    episode.last_seen = event_ms
    episode.occurrences = 0
    episode.score = 0.0
    known = series.samples > 0
    episode.mean = series.mean if known else np.nan
    episode.stddev = series.stddev if known else np.nan
    episode.median = series.median if known else np.nan
    episode.lower = band.lower
    episode.upper = band.upper
    episode.severity = 0
    episode.is_open = 1
    episode.is_adopted = 0
    scores[:] = 0.0


@inlined
def extend(
    episode: Record,
    episode_scores: NDArray[np.float64],
    scores: NDArray[np.float64],
    value: float,
    offset: int,
    event_ms: int,
    watermark: int,
) -> None:
    """Add a flagged sample; the strongest one is the peak and decides detector and severity."""
    episode.last_offset = offset
    episode.last_seen = max(episode.last_seen, event_ms)
    episode.flagged_at = watermark
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
    rules: Rules,
    found: Found,
    place: tuple[int, int, int],
    scores: NDArray[np.float64],
    columns: Columns,
    event: int,
    value: float,
    severity: int,
) -> None:
    """Record a flagged sample: in its episode, opened if need be, and as a detection.

    `place` is the pair, the series and the direction; `scores` one number per detector.
    """
    pair, series, direction = place
    offset, event_ms, watermark = columns.offset[event], columns.event_ms[event], tables.pairs[pair].watermark
    baseline, band = tables.series[series], tables.bands[series]
    episode, best = tables.episodes[series, direction], tables.episode_scores[series, direction]
    if episode.is_open == 0:
        open_episode(episode, best, baseline, band, offset, event_ms)
    extend(episode, best, scores, value, offset, event_ms, watermark)
    episode.severity = max(episode.severity, severity)
    tables.pairs[pair].next_due = min(tables.pairs[pair].next_due, watermark + rules.quiet_ms)
    row = found.counts[DETECTIONS]
    detection = found.detections[row]
    detection.event, detection.offset, detection.event_ms = event, offset, event_ms
    detection.series, detection.direction = series, direction
    detection.detector = np.argmax(scores)
    detection.score = scores[detection.detector]
    detection.severity = severity
    detection.first_offset = episode.first_offset
    detection.value = value
    detection.expected = baseline.median if baseline.samples > 0 else np.nan
    detection.lower, detection.upper = band.lower, band.upper
    found.detection_scores[row] = scores
    found.counts[DETECTIONS] += 1


@compiled
def end(tables: Tables, found: Found, series: int, direction: int) -> None:
    """Close an episode and hand it out as it was at its end."""
    episode = tables.episodes[series, direction]
    episode.is_open = 0
    row = found.counts[ENDED]
    found.ended[row] = episode
    found.ended_scores[row] = tables.episode_scores[series, direction]
    found.ended_rows[row, 0] = series
    found.ended_rows[row, 1] = direction
    found.counts[ENDED] += 1
    episode.is_changed = 0
