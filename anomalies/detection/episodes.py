"""Episodes in classic mode: the first flagged sample of a series and direction opens one, quiet ends it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.arrays import ENDED, Found, Tables
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
    episode.mean = series.mean
    episode.stddev = series.stddev
    episode.median = series.median
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
        episode.severity = severity_of(episode.score)


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
