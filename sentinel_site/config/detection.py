"""Section `detection`: detectors, baselines, episodes."""

from typing import Annotated, Literal

from sentinel_site.config.base import UNIQUE, Count, Positive, PositiveOrZero, Seconds, SecondsOrZero, Section

DetectionMode = Literal["classic", "calibrated"]
DetectorName = Literal["zscore", "iqr", "mad", "cusum"]
Sensitivity = Literal["low", "medium", "high"]
Metric = Literal[
    "latency_ms",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cost_usd",
    "ttft_ms",
    "quality_score",
]
Metrics = Annotated[tuple[Metric, ...], UNIQUE]
Detectors = Annotated[tuple[DetectorName, ...], UNIQUE]

SENSITIVITY_FACTORS: dict[Sensitivity, float] = {"low": 4 / 3, "medium": 1.0, "high": 5 / 6}


class BaselineConfig(Section):
    window_size: Count = 1000
    """Latest samples of a series from which its baseline is computed."""
    min_samples: Count = 10
    """Samples a series needs before anything is detected in it."""
    update_interval_secs: Seconds = 60.0
    """Seconds of event time between two refreshes of a baseline."""
    enable_persistence: bool = True
    """Whether changed baselines are also kept in the relational database, for a start without Redis."""
    persist_interval_secs: Seconds = 60.0
    """Seconds between two rounds of that."""


class ZscoreConfig(Section):
    threshold: Positive = 3.0
    """Standard deviations from the mean at which the score is 1, before sensitivity."""
    sensitivity: Sensitivity = "medium"
    """Multiplies the threshold: low by 4/3, medium by 1, high by 5/6."""
    metrics: Metrics = ("latency_ms", "total_tokens", "cost_usd")
    """Metrics it watches."""

    @property
    def effective_threshold(self) -> float:
        """Standard deviations after sensitivity (4.0, 3.0 and 2.5 for the default threshold)."""
        return self.threshold * SENSITIVITY_FACTORS[self.sensitivity]


class IqrConfig(Section):
    multiplier: Positive = 1.5
    """Interquartile ranges outside the quartiles at which the score is 1."""
    metrics: Metrics = ("latency_ms", "total_tokens")
    """Metrics it watches."""


class MadConfig(Section):
    threshold: Positive = 3.5
    """Modified z-score (0.6745 |x - median| / MAD) at which the score is 1."""
    metrics: Metrics = ("latency_ms",)
    """Metrics it watches."""


class CusumConfig(Section):
    threshold: Positive = 5.0
    """Cumulated standard deviations at which the score is 1."""
    drift: PositiveOrZero = 0.5
    """Standard deviations per sample that are forgiven."""
    metrics: Metrics = ("latency_ms",)
    """Metrics it watches."""


class DetectionConfig(Section):
    mode: DetectionMode = "classic"
    """classic: every score of 1 or more of the four detectors opens an episode; calibrated: only what is improbable."""
    enabled_detectors: Detectors = ("zscore", "iqr", "mad", "cusum")
    """Detectors that run."""
    baseline: BaselineConfig = BaselineConfig()
    zscore: ZscoreConfig = ZscoreConfig()
    iqr: IqrConfig = IqrConfig()
    mad: MadConfig = MadConfig()
    cusum: CusumConfig = CusumConfig()
    max_series: Count = 20_000
    """(service, model) pairs per consumer; new ones beyond it share the pair __other__."""
    quiet_seconds: Seconds = 60.0
    """Seconds of event time without a flagged sample after which an episode ends."""
    minute_lateness_seconds: SecondsOrZero = 30.0
    """Seconds of event time a minute stays open for late events."""

    def metrics_of(self, detector: DetectorName) -> tuple[Metric, ...]:
        """The metrics a detector watches; none when it is not enabled."""
        if detector not in self.enabled_detectors:
            return ()
        metrics: tuple[Metric, ...] = getattr(self, detector).metrics
        return metrics
