"""The metrics of the baselines; each is defined here once."""

from prometheus_client import Counter, Gauge

BASELINE_UPDATES = Counter("sentinel_baseline_updates_total", "Events from which baselines were updated")
BASELINE_SAMPLES = Gauge(
    "sentinel_baseline_samples", "Samples held in the windows of all baselines", multiprocess_mode="livesum"
)
EVENTS_CAPPED = Counter(
    "sentinel_events_capped_total", "Events of pairs beyond detection.max_series, which share the series of __other__"
)
BASELINES_PERSISTED = Counter("sentinel_baselines_persisted_total", "Pieces of state copied to the database")
