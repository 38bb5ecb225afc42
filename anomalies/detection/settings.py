"""What the detectors are told: their parameters, as plain values that a kernel and a state file can hold."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from baselines.stats.series import EVENT_METRICS, METRIC_INDEX, METRICS

# Those of the classic mode look at raw values; each watches the metrics it is told to.
CLASSIC: tuple[str, ...] = ("zscore", "iqr", "mad", "cusum")
# Those of the calibrated mode know what they look at (anomalies.detection.channels).
CALIBRATED: tuple[str, ...] = ("shift", "spike", "error_burst", "novelty", "silence", "drift")
# The order is that of the score columns, and part of the stored state: only append.
DETECTORS: tuple[str, ...] = CLASSIC + CALIBRATED
ZSCORE, IQR, MAD, CUSUM, SHIFT, SPIKE, ERROR_BURST, NOVELTY, SILENCE, DRIFT = range(len(DETECTORS))
MODES: tuple[str, ...] = ("classic", "calibrated")

_DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    "zscore": ("latency_ms", "total_tokens", "cost_usd"),
    "iqr": ("latency_ms", "total_tokens"),
    "mad": ("latency_ms",),
    "cusum": ("latency_ms",),
}
_POSITIVE = (
    "zscore_threshold",
    "iqr_multiplier",
    "mad_threshold",
    "cusum_threshold",
    "refresh_ms",
    "quiet_ms",
    "max_pairs",
)


@dataclass(frozen=True)
class DetectionSettings:
    """Parameters of the engine. Times are milliseconds of event time; thresholds are those at which a score is 1."""

    zscore_threshold: float = 3.0
    iqr_multiplier: float = 1.5
    mad_threshold: float = 3.5
    cusum_threshold: float = 5.0
    cusum_drift: float = 0.5
    mode: str = "classic"
    metrics: dict[str, Collection[str]] = field(default_factory=lambda: dict(_DEFAULT_METRICS))
    window: int = 1000
    min_samples: int = 10
    refresh_ms: int = 60_000
    quiet_ms: int = 60_000
    lateness_ms: int = 30_000
    max_pairs: int = 20_000

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"unknown mode {self.mode!r}; there are {', '.join(MODES)}")
        unknown = sorted(set(self.metrics) - set(CLASSIC))
        if unknown:
            raise ValueError(f"unknown detectors {unknown}; there are {', '.join(CLASSIC)}")
        for name, metrics in self.metrics.items():
            if strange := sorted(set(metrics) - set(EVENT_METRICS)):
                raise ValueError(f"{name} cannot watch {strange}; the metrics are {', '.join(EVENT_METRICS)}")
        if not 2 <= self.min_samples <= self.window:
            raise ValueError(f"min_samples must lie between 2 and the window of {self.window}, not {self.min_samples}")
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")
        for name in ("cusum_drift", "lateness_ms"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)!r}")

    def watched(self) -> NDArray[np.bool_]:
        """Which detector watches which metric: bool[len(DETECTORS), len(METRICS)]."""
        table = np.zeros((len(DETECTORS), len(METRICS)), np.bool_)
        for name, metrics in self.metrics.items():
            for metric in metrics:
                table[DETECTORS.index(name), METRIC_INDEX[metric]] = True
        return table

    def parameters(self) -> NDArray[np.float64]:
        """The parameters as the kernels take them: threshold per detector, then the drift of CUSUM."""
        return np.array(
            [self.zscore_threshold, self.iqr_multiplier, self.mad_threshold, self.cusum_threshold, self.cusum_drift]
        )
