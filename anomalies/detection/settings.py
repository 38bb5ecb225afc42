"""What the detectors are told: their parameters, as plain values that a kernel and a state file can hold."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

from baselines.stats.series import EVENT_METRICS, METRICS

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
SENSITIVITY_FACTORS: dict[str, float] = {"low": 4 / 3, "medium": 1.0, "high": 5 / 6}
_DEFAULT_DEVIATIONS = {
    "latency_ms": 0.2,
    "ttft_ms": 0.2,
    "prompt_tokens": 0.3,
    "completion_tokens": 0.3,
    "total_tokens": 0.3,
    "cost_usd": 0.2,
    "quality_score": 0.1,
    "request_rate": 0.3,
    "error_rate": 0.1,
    "cost_per_minute": 0.2,
    "tokens_per_minute": 0.3,
    "user_request_rate": 0.3,
    "prompt_tokens_distribution": 0.3,
    "completion_tokens_distribution": 0.3,
}
FALSE_ALARMS = 10.0  # in 100 000 events, that the thresholds the detectors were tuned to keep below
CAUTION_SLOPE, CAUTION_RANGE = 13.5, (0.7, 1.4)
_POSITIVE = (
    "zscore_threshold",
    "iqr_multiplier",
    "mad_threshold",
    "cusum_threshold",
    "refresh_ms",
    "quiet_ms",
    "max_pairs",
    "false_alarms_per_100k",
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
    max_novelty_series: int = 100
    enabled: Collection[str] = CALIBRATED  # those of the calibrated mode that run
    false_alarms_per_100k: float = FALSE_ALARMS
    sensitivity: str = "medium"
    min_deviation: dict[str, float] = field(default_factory=lambda: dict(_DEFAULT_DEVIATIONS))

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"unknown mode {self.mode!r}; there are {', '.join(MODES)}")
        unknown = sorted(set(self.metrics) - set(CLASSIC))
        if unknown:
            raise ValueError(f"unknown detectors {unknown}; there are {', '.join(CLASSIC)}")
        for name, metrics in self.metrics.items():
            if strange := sorted(set(metrics) - set(EVENT_METRICS)):
                raise ValueError(f"{name} cannot watch {strange}; the metrics are {', '.join(EVENT_METRICS)}")
        if strange := sorted(set(self.enabled) - set(CALIBRATED)):
            raise ValueError(f"unknown detectors {strange}; there are {', '.join(CALIBRATED)}")
        if self.sensitivity not in SENSITIVITY_FACTORS:
            raise ValueError(f"unknown sensitivity {self.sensitivity!r}; there are {', '.join(SENSITIVITY_FACTORS)}")
        if strange := sorted(set(self.min_deviation) - set(METRICS)):
            raise ValueError(f"min_deviation names {strange}; the metrics are {', '.join(METRICS)}")
        if not 2 <= self.min_samples <= self.window:
            raise ValueError(f"min_samples must lie between 2 and the window of {self.window}, not {self.min_samples}")
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")
        for name in ("cusum_drift", "lateness_ms", "max_novelty_series"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)!r}")

    def runs(self, detector: str, metric: str) -> bool:
        """Whether a detector watches a metric."""
        return metric in self.metrics.get(detector, ()) or detector in self.enabled

    def threshold(self, detector: str) -> float:
        """At which value of its own the score of a classic detector is 1, before sensitivity."""
        thresholds = (self.zscore_threshold, self.iqr_multiplier, self.mad_threshold, self.cusum_threshold)
        return dict(zip(CLASSIC, thresholds, strict=True))[detector]

    @property
    def caution(self) -> float:
        """The factor on all thresholds of the calibrated detectors at which they ring at most so often.

        1 + ln(FALSE_ALARMS / false_alarms_per_100k) / CAUTION_SLOPE, within CAUTION_RANGE: a line above what was
        measured on streams made from recorded LLM traffic (`python -m bench.llm`, seed 1, ordinary and harsher load):

            factor                0.85   0.90   0.95   1.00   1.05   1.10   1.20
            false alarms in 1e5   33     11     8.0    4.0    1.7    1.1    0.6
            recall                0.97   0.95   0.94   0.88   0.87   0.82   0.78
        """
        wanted = 1.0 + math.log(FALSE_ALARMS / self.false_alarms_per_100k) / CAUTION_SLOPE
        return min(max(wanted, CAUTION_RANGE[0]), CAUTION_RANGE[1])
