"""Section `detection`: detectors, baselines, episodes."""

from typing import Annotated, Literal

from anomalies.detection.settings import FALSE_ALARMS, SENSITIVITY_FACTORS
from sentinel_site.config.base import (
    UNIQUE,
    Count,
    CountOrZero,
    Positive,
    PositiveOrZero,
    Seconds,
    SecondsOrZero,
    Section,
)

DetectionMode = Literal["classic", "calibrated"]
DetectorName = Literal["zscore", "iqr", "mad", "cusum", "shift", "spike", "error_burst", "novelty", "silence", "drift"]
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

CLASSIC: tuple[DetectorName, ...] = ("zscore", "iqr", "mad", "cusum")
CALIBRATED: tuple[DetectorName, ...] = ("shift", "spike", "error_burst", "novelty", "silence", "drift")


class BaselineConfig(Section):
    window_size: Count = 1000
    """Latest samples of a series from which its baseline is computed."""
    min_samples: Count = 10
    """Samples a series needs before anything is detected in it."""
    update_interval_secs: Seconds = 60.0
    """Seconds of event time between two refreshes of a baseline; ten times that while little of its window is new."""
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


class DeviationConfig(Section):
    """Fractions of the usual value: 0.2 is 20 %."""

    latency_ms: PositiveOrZero = 0.2
    """Fraction of the usual latency below which a departure stays info."""
    ttft_ms: PositiveOrZero = 0.2
    """Fraction of the usual time to the first token below which a departure stays info."""
    prompt_tokens: PositiveOrZero = 0.3
    """Fraction of the usual prompt tokens below which a departure stays info."""
    completion_tokens: PositiveOrZero = 0.3
    """Fraction of the usual completion tokens below which a departure stays info."""
    total_tokens: PositiveOrZero = 0.3
    """Fraction of the usual tokens below which a departure stays info."""
    cost_usd: PositiveOrZero = 0.2
    """Fraction of the usual cost of a call below which a departure stays info."""
    quality_score: PositiveOrZero = 0.1
    """Fraction of the usual quality below which a departure stays info."""
    request_rate: PositiveOrZero = 0.3
    """Fraction of the usual rate of calls below which a departure stays info."""
    error_rate: PositiveOrZero = 0.1
    """Size below which a rise of the share of failed calls stays info: three times the share that fails now."""
    cost_per_minute: PositiveOrZero = 0.2
    """Fraction of the usual cost of a minute below which a departure stays info."""
    tokens_per_minute: PositiveOrZero = 0.3
    """Fraction of the usual tokens of a minute below which a departure stays info."""
    user_request_rate: PositiveOrZero = 0.3
    """Fraction of a user's usual rate of calls below which a departure stays info."""
    prompt_tokens_distribution: PositiveOrZero = 0.3
    """Fraction by which some decile of the prompt tokens must change for drift to be more than info."""
    completion_tokens_distribution: PositiveOrZero = 0.3
    """Fraction by which some decile of the completion tokens must change for drift to be more than info."""


class DetectionConfig(Section):
    mode: DetectionMode = "calibrated"
    """calibrated: only what is improbable opens an episode; classic: every score of 1 or more of the four detectors."""
    enabled_detectors: Detectors = CLASSIC + CALIBRATED
    """Detectors that run; where the list names none of the last six, which are of the calibrated mode, all six do."""
    false_alarms_per_100k: Positive = FALSE_ALARMS
    """False alarms in 100 000 events of one pair to stay below; all thresholds of the calibrated mode follow."""
    sensitivity: Sensitivity = "medium"
    """Multiplies the threshold of every detector: low by 4/3, medium by 1, high by 5/6."""
    min_deviation: DeviationConfig = DeviationConfig()
    baseline: BaselineConfig = BaselineConfig()
    zscore: ZscoreConfig = ZscoreConfig()
    iqr: IqrConfig = IqrConfig()
    mad: MadConfig = MadConfig()
    cusum: CusumConfig = CusumConfig()
    max_series: Count = 20_000
    """(service, model) pairs per partition of the topic; new ones beyond it share the pair __other__."""
    max_novelty_series: CountOrZero = 100
    """Series per partition of the topic, four of each of the busiest pairs, that novelty watches: 208 kB each."""
    quiet_seconds: Seconds = 60.0
    """Seconds of event time without a flagged sample after which an episode ends."""
    minute_lateness_seconds: SecondsOrZero = 30.0
    """Seconds of event time a minute stays open for late events."""

    def metrics_of(self, detector: DetectorName) -> tuple[Metric, ...]:
        """The metrics a detector of the classic mode watches; none when it is not enabled."""
        if detector not in self.enabled_detectors or detector not in CLASSIC:
            return ()
        metrics: tuple[Metric, ...] = getattr(self, detector).metrics
        return metrics

    @property
    def calibrated_detectors(self) -> tuple[DetectorName, ...]:
        """Those of the calibrated mode that run. A list from before there were any means no harm to them."""
        named = tuple(name for name in CALIBRATED if name in self.enabled_detectors)
        return named or CALIBRATED
