"""MAD: the modified z-score, from the median and the median absolute deviation.

    score = 0.6745 * |x - median| / (threshold * MAD)

Unit: none; 1.0 is the threshold (default 3.5). 0.6745 makes MAD a standard deviation for normal data, of which 0.05 %
of clean samples score above 1; on the heavy tails of LLM latency some 7 %. Half of the window may be outliers before
it is misled. Source: Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993.

>>> round(score(100.0 + 3.5 / 0.6745 * 4.0, median=100.0, mad=4.0, threshold=3.5), 3)
1.0
"""

from __future__ import annotations

from anomalies.detection.spread import MAD_PER_STDDEV, stddev_floor
from baselines.stats.compiled import compiled

CONSTANT = 0.6745


@compiled
def score(value: float, median: float, mad: float, threshold: float) -> float:
    """The score of one value; the median and its absolute deviation are those of its window, in its unit."""
    return CONSTANT * abs(value - median) / (threshold * max(mad, MAD_PER_STDDEV * stddev_floor(median)))


@compiled
def band(median: float, mad: float, threshold: float) -> tuple[float, float]:
    """The values between which the score stays below 1."""
    half = threshold * max(mad, MAD_PER_STDDEV * stddev_floor(median)) / CONSTANT
    return median - half, median + half
