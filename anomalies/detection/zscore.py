"""Z-score: how many standard deviations a value lies from the mean of its window.

    score = |x - mean| / (threshold * stddev)

Unit: none; 1.0 is the threshold (default 3 standard deviations; sensitivity low 4, high 2.5). On normal data 0.27 % of
clean samples score above 1; on the heavy tails of LLM latency some 5 %. Source: Shewhart, "Economic Control of
Quality of Manufactured Product", 1931.

>>> round(score(130.0, mean=100.0, stddev=10.0, median=100.0, threshold=3.0), 3)
1.0
"""

from __future__ import annotations

from anomalies.detection.spread import stddev_floor
from baselines.stats.compiled import compiled


@compiled
def score(value: float, mean: float, stddev: float, median: float, threshold: float) -> float:
    """The score of one value; the mean, standard deviation and median are those of its window, in its unit."""
    return abs(value - mean) / (threshold * max(stddev, stddev_floor(median)))


@compiled
def band(mean: float, stddev: float, median: float, threshold: float) -> tuple[float, float]:
    """The values between which the score stays below 1."""
    half = threshold * max(stddev, stddev_floor(median))
    return mean - half, mean + half
