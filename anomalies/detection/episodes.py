"""Episodes in classic mode: the first flagged sample of a series and direction opens one, quiet ends it."""

from __future__ import annotations

from numba import njit

from anomalies.detection.arrays import ENDED

WARNING_SCORE = 1.5
CRITICAL_SCORE = 3.0


@njit(cache=True)
def severity_of(score):
    """Index into SEVERITIES: below 1.5 info, below 3 warning, else critical."""
    if score >= CRITICAL_SCORE:
        return 2
    if score >= WARNING_SCORE:
        return 1
    return 0


@njit(cache=True)
def open_episode(episode, scores, series, band, offset, event_ms):
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
    scores[:] = 0.0


@njit(cache=True)
def extend(episode, episode_scores, scores, value, offset, event_ms, watermark):
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


@njit(cache=True)
def end(tables, found, series, direction):
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
