"""The bands of the detectors that look at one value: folded into one comparison per sample."""

from __future__ import annotations

import math

from numba import njit

from anomalies.detection import iqr, mad, zscore
from anomalies.detection.settings import IQR, MAD, ZSCORE


@njit(cache=True)
def derive(band, series, parameters, watched):
    """Fold zscore, iqr and mad (`watched`: bool per detector) into `band` from the statistics of `series`.

    [lower, upper] is their intersection: outside, at least one fires. What is learned is clipped to their union, so
    that no sample pulls the baseline further than the most patient of them allows.
    """
    lower, upper, learn_lower, learn_upper = -math.inf, math.inf, math.inf, -math.inf
    for detector in (ZSCORE, IQR, MAD):
        if not watched[detector]:
            continue
        if detector == ZSCORE:
            low, high = zscore.band(series.mean, series.stddev, series.median, parameters[ZSCORE])
        elif detector == IQR:
            low, high = iqr.band(series.q1, series.q3, series.median, parameters[IQR])
        else:
            low, high = mad.band(series.median, series.mad, parameters[MAD])
        lower, upper = max(lower, low), min(upper, high)
        learn_lower, learn_upper = min(learn_lower, low), max(learn_upper, high)
    band.lower, band.upper = lower, upper
    if learn_lower > learn_upper:  # nothing watches this metric
        learn_lower, learn_upper = -math.inf, math.inf
    band.learn_lower, band.learn_upper = learn_lower, learn_upper


@njit(cache=True)
def score_value(scores, value, series, parameters, watched):
    """Fill the scores of zscore, iqr and mad (0 where not watched) for one value."""
    if watched[ZSCORE]:
        scores[ZSCORE] = zscore.score(value, series.mean, series.stddev, series.median, parameters[ZSCORE])
    if watched[IQR]:
        scores[IQR] = iqr.score(value, series.q1, series.q3, series.median, parameters[IQR])
    if watched[MAD]:
        scores[MAD] = mad.score(value, series.median, series.mad, parameters[MAD])
