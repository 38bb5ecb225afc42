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
def derive(band: Record, series: Record, policy: Record) -> None:
    """Fold those of zscore, iqr and mad that run under `policy` into `band`, from the statistics of `series`.

    [lower, upper] is their intersection: outside, at least one fires. What is learned is clipped to their union, so
    that no sample pulls the baseline further than the most patient of them allows.
    """
    lower, upper, learn_lower, learn_upper = -math.inf, math.inf, math.inf, -math.inf
    for detector in (ZSCORE, IQR, MAD):
        threshold = policy.threshold[detector]
        if threshold == math.inf:
            continue
        if detector == ZSCORE:
            low, high = zscore.band(series.mean, series.stddev, series.median, threshold)
        elif detector == IQR:
            low, high = iqr.band(series.q1, series.q3, series.median, threshold)
        else:
            low, high = mad.band(series.median, series.mad, threshold)
        lower, upper = max(lower, low), min(upper, high)
        learn_lower, learn_upper = min(learn_lower, low), max(learn_upper, high)
    margin = ROUNDING * (upper - lower) if upper < math.inf else 0.0
    band.lower, band.upper = lower + margin, upper - margin
    if learn_lower > learn_upper:  # nothing watches this metric
        learn_lower, learn_upper = -math.inf, math.inf
    band.learn_lower, band.learn_upper = learn_lower, learn_upper


@inlined
def score_value(scores: NDArray[np.float64], value: float, series: Record, policy: Record) -> None:
    """Fill the scores of zscore, iqr and mad (0 where they do not run) for one value."""
    if policy.threshold[ZSCORE] < math.inf:
        scores[ZSCORE] = zscore.score(value, series.mean, series.stddev, series.median, policy.threshold[ZSCORE])
    if policy.threshold[IQR] < math.inf:
        scores[IQR] = iqr.score(value, series.q1, series.q3, series.median, policy.threshold[IQR])
    if policy.threshold[MAD] < math.inf:
        scores[MAD] = mad.score(value, series.median, series.mad, policy.threshold[MAD])
