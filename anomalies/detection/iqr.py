"""IQR: how far a value lies outside the quartiles, in interquartile ranges.

    score = distance outside [q1, q3] / (multiplier * (q3 - q1))

Unit: none; 1.0 is the fence (default multiplier 1.5). On normal data 0.7 % of clean samples score above 1; on skewed
LLM metrics some 15 %. Source: Tukey, "Exploratory Data Analysis", 1977.

>>> round(score(35.0, q1=10.0, q3=20.0, median=15.0, multiplier=1.5), 3)
1.0
>>> score(12.0, q1=10.0, q3=20.0, median=15.0, multiplier=1.5)
0.0
"""

from __future__ import annotations

from anomalies.detection.spread import IQR_PER_STDDEV, stddev_floor
from baselines.stats.compiled import compiled


@compiled
def score(value: float, q1: float, q3: float, median: float, multiplier: float) -> float:
    """The score of one value; the quartiles and the median are those of its window, in its unit."""
    outside = max(q1 - value, value - q3, 0.0)
    return outside / (multiplier * max(q3 - q1, IQR_PER_STDDEV * stddev_floor(median)))


@compiled
def band(q1: float, q3: float, median: float, multiplier: float) -> tuple[float, float]:
    """The values between which the score stays below 1 (Tukey's fences)."""
    reach = multiplier * max(q3 - q1, IQR_PER_STDDEV * stddev_floor(median))
    return q1 - reach, q3 + reach
