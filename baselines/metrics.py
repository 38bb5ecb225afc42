"""The metrics of the baselines; each is defined here once."""

from prometheus_client import Counter, Gauge, Histogram

BASELINE_UPDATES = Counter("sentinel_baseline_updates_total", "Events from which baselines were updated")
BASELINE_SAMPLES = Gauge(
    "sentinel_baseline_samples", "Samples held in the windows of all baselines", multiprocess_mode="livesum"
)
PAIRS = Gauge(
    "sentinel_baseline_pairs", "Pairs of service and model that this process watches", multiprocess_mode="livesum"
)
FULLEST_PARTITION = Gauge(
    "sentinel_baseline_pairs_ratio",
    "Pairs of the fullest partition as a share of detection.max_series: 1 = new ones share __other__",
    multiprocess_mode="livemax",
)
EVENTS_CAPPED = Counter(
    "sentinel_events_capped_total", "Events of pairs beyond detection.max_series, which share the series of __other__"
)
BASELINES_PERSISTED = Counter("sentinel_baselines_persisted_total", "Pieces of state copied to the database")
BASELINE_PERSIST_ERRORS = Counter(
    "sentinel_baseline_persist_errors_total", "Times that states could not be copied to the database"
)
LAST_PERSIST = Gauge(
    "sentinel_last_persist_timestamp_seconds",
    "When all states were last copied to the database (unix time)",
    multiprocess_mode="mostrecent",
)
STATE_BYTES = Gauge(
    "sentinel_state_bytes", "Bytes of all states in Redis, as of the last copy", multiprocess_mode="mostrecent"
)
STATE_WRITES = Counter("sentinel_state_writes_total", "Writes of state that Redis took")
STATE_ERRORS = Counter(
    "sentinel_state_errors_total", "Calls for state that failed: unavailable, fenced, vanished", ["type"]
)
STATE_SECONDS = Histogram(
    "sentinel_redis_call_seconds",
    "How long Redis took for one call, by what was done with a state",
    ["operation"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
CACHE_HITS = Counter("sentinel_cache_hits_total", "Answers that were remembered", ["cache"])
CACHE_MISSES = Counter("sentinel_cache_misses_total", "Answers that had to be looked up", ["cache"])
CACHE_SIZE = Gauge("sentinel_cache_size", "Answers that are remembered now", ["cache"], multiprocess_mode="livesum")
