"""The smallest spread a detector believes in.

The window of a constant series has no spread at all, and dividing by it would make an anomaly of the first value that
differs in its last digit. So every detector takes at least the spread that a normal distribution with a standard
deviation of 1 % of the median would show: a real step of a constant series still fires, rounding does not.
"""

from __future__ import annotations

from baselines.stats.compiled import compiled

RELATIVE_STDDEV = 0.01
ABSOLUTE_STDDEV = 1e-12
# Of a normal distribution, in standard deviations.
MAD_PER_STDDEV = 0.6744897501960817
IQR_PER_STDDEV = 1.3489795003921634


@compiled
def stddev_floor(median: float) -> float:
    """The smallest standard deviation believed of a series with this median, in its unit."""
    return max(RELATIVE_STDDEV * abs(median), ABSOLUTE_STDDEV)
