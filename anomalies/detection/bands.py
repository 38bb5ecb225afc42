"""The bands of the detectors that look at one value: folded into one comparison per sample."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import iqr, mad, zscore
from anomalies.detection.settings import IQR, MAD, ZSCORE
from baselines.stats.compiled import compiled, inlined
from baselines.stats.window import Record

# Rounding may put a value whose score is 1 just inside the band. The band is narrower by a hair; the score decides.
ROUNDING = 1e-12


@compiled
def derive(
    band: Record, series: Record, parameters: NDArray[np.float64], watched: NDArray[np.bool_], metric: int
) -> None:
    """Fold those of zscore, iqr and mad that watch the metric into `band`, from the statistics of `series`.

    [lower, upper] is their intersection: outside, at least one fires. What is learned is clipped to their union, so
    that no sample pulls the baseline further than the most patient of them allows.
    """
    lower, upper, learn_lower, learn_upper = -math.inf, math.inf, math.inf, -math.inf
    for detector in (ZSCORE, IQR, MAD):
        if not watched[detector, metric]:
            continue
        if detector == ZSCORE:
            low, high = zscore.band(series.mean, series.stddev, series.median, parameters[ZSCORE])
        elif detector == IQR:
            low, high = iqr.band(series.q1, series.q3, series.median, parameters[IQR])
        else:
            low, high = mad.band(series.median, series.mad, parameters[MAD])
        lower, upper = max(lower, low), min(upper, high)
        learn_lower, learn_upper = min(learn_lower, low), max(learn_upper, high)
    margin = ROUNDING * (upper - lower) if upper < math.inf else 0.0
    band.lower, band.upper = lower + margin, upper - margin
    if learn_lower > learn_upper:  # nothing watches this metric
        learn_lower, learn_upper = -math.inf, math.inf
    band.learn_lower, band.learn_upper = learn_lower, learn_upper


@inlined
def score_value(
    scores: NDArray[np.float64],
    value: float,
    series: Record,
    parameters: NDArray[np.float64],
    watched: NDArray[np.bool_],
    metric: int,
) -> None:
    """Fill the scores of zscore, iqr and mad (0 where not watched) for one value."""
    if watched[ZSCORE, metric]:
        scores[ZSCORE] = zscore.score(value, series.mean, series.stddev, series.median, parameters[ZSCORE])
    if watched[IQR, metric]:
        scores[IQR] = iqr.score(value, series.q1, series.q3, series.median, parameters[IQR])
    if watched[MAD, metric]:
        scores[MAD] = mad.score(value, series.median, series.mad, parameters[MAD])
