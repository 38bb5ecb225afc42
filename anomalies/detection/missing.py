"""What detectors take for missing: what is not a number, infinite, or so large that its square would be lost.

Such values neither score nor are learned, so that one of them cannot poison sums that live for thousands of samples.
"""

from __future__ import annotations

from baselines.stats.compiled import inlined

LARGEST = 1e15


@inlined
def is_missing(value: float) -> bool:
    """Whether a value is further from zero than LARGEST, or not a number."""
    return not abs(value) <= LARGEST
