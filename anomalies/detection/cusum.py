"""CUSUM: cumulated standardised deviations from a frozen reference, for small shifts that last.

    z  = (x - reference mean) / reference stddev
    S+ = max(0, S+ + z - drift),   S- = max(0, S- - z - drift)
    score = max(S+, S-) / threshold

Unit: none; 1.0 is the threshold (defaults: threshold 5, drift 0.5 standard deviations). The in-control average run
length of the defaults on normal data is some 930 samples (both sides, known reference); on raw LLM latency it rings on
some 2.5 % of clean samples. The reference is the baseline when the sums were last started; it stays frozen, so a slow
drift cannot carry it along, until the detector fires or the series has twice the samples the reference was made of.
Source: Page, "Continuous Inspection Schemes", Biometrika 41, 1954.

>>> import numpy as np
>>> state = np.zeros(1, CUSUM_STATE)
>>> start(state[0], 100.0, 10.0, 100.0, 50)
>>> [round(update(state[0], 120.0, 5.0, 0.5), 2) for _ in range(4)]
[0.3, 0.6, 0.9, 1.2]
"""

from __future__ import annotations

import numpy as np

from anomalies.detection.spread import stddev_floor
from baselines.stats.compiled import compiled, inlined
from baselines.stats.window import Record

CUSUM_STATE = np.dtype(
    [
        ("reference_mean", "<f8"),
        ("reference_stddev", "<f8"),
        ("reference_samples", "<i8"),  # samples the reference was made of; 0 = no reference yet
        ("upper_sum", "<f8"),
        ("lower_sum", "<f8"),
    ]
)


@compiled
def start(state: Record, mean: float, stddev: float, median: float, samples: int) -> None:
    """Freeze a reference and start both sums anew."""
    state.reference_mean = mean
    state.reference_stddev = max(stddev, stddev_floor(median))
    state.reference_samples = samples
    state.upper_sum = 0.0
    state.lower_sum = 0.0


@inlined
def is_outgrown(state: Record, samples: int) -> bool:
    """Whether the baseline now rests on at least twice the samples of the reference."""
    return bool(samples >= 2 * state.reference_samples)


@inlined
def update(state: Record, value: float, threshold: float, drift: float) -> float:
    """Take one value; returns the score. The caller starts the sums anew after a score of 1 or more."""
    z = (value - state.reference_mean) / state.reference_stddev
    state.upper_sum = max(0.0, state.upper_sum + z - drift)
    state.lower_sum = max(0.0, state.lower_sum - z - drift)
    return float(max(state.upper_sum, state.lower_sum) / threshold)


@inlined
def is_upward(state: Record) -> bool:
    """Whether the stronger sum is the upper one."""
    return bool(state.upper_sum >= state.lower_sum)
