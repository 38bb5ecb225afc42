"""What ingestion counts. Names of services are labels of a bounded number only."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Info

OTHER = "__other__"
MAX_SERVICE_LABELS = 200

EVENTS_RECEIVED = Counter("sentinel_events_received_total", "Messages with telemetry taken from Kafka")
EVENTS_PROCESSED = Counter("sentinel_events_processed_total", "Events that went through the pipeline", ["service"])
INGESTION_ERRORS = Counter("sentinel_ingestion_errors_total", "Failures while telemetry was taken in", ["type"])
VALIDATION_FAILURES = Counter("sentinel_validation_failures_total", "Events refused by validation", ["code"])
EVENTS_REPAIRED = Counter(
    "sentinel_events_repaired_total",
    "Events accepted after a repair: clamped_latency, clamped_tokens, clamped_cost, future, total_corrected, …",
    ["mark"],
)
KAFKA_MESSAGES_CONSUMED = Counter("sentinel_kafka_messages_consumed_total", "Messages consumed from Kafka", ["topic"])
KAFKA_CONSUMPTION_ERRORS = Counter("sentinel_kafka_consumption_errors_total", "Errors while consuming", ["type"])
UNKEYED_EVENTS = Counter("sentinel_unkeyed_events_total", "Events whose Kafka key is not service|model")
DUPLICATE_EVENTS = Counter("sentinel_duplicate_events_total", "Events recognised as repeated and counted once")
EMBEDDINGS_SKIPPED = Counter(
    "sentinel_embeddings_skipped_total",
    "Embeddings that were not learned: of another dimension than the first one of their series, or without a direction",
)
DEAD_LETTERS = Counter("sentinel_dead_letters_total", "Messages written to the dead-letter topic", ["reason"])
DEAD_LETTERS_REPLAYED = Counter(
    "sentinel_dead_letters_replayed_total", "Dead letters that were to be replayed, by what became of them", ["outcome"]
)
OTLP_IGNORED = Counter(
    "sentinel_otlp_ignored_total", "Items of OTLP requests that are no LLM calls, or counted otherwise", ["signal"]
)
NORMALIZED_EVENTS = Counter(
    "sentinel_normalized_events_total", "Events republished under their key by the normalize role", ["topic"]
)
UNPRICED_TOKENS = Counter(
    "sentinel_unpriced_tokens_total", "Tokens of successful calls that nobody gave a price for, by model", ["model"]
)
COST_MISMATCHES = Counter(
    "sentinel_cost_mismatch_total",
    "Calls whose reported cost differs from the price table's by more than ingestion.pricing.mismatch_tolerance",
    ["model"],
)
PRICE_TABLE = Info("sentinel_price_table", "The price table in force, by digest")
SCRUB_FAILURES = Counter(
    "sentinel_scrub_failures_total", "Texts replaced as a whole because the search for private data failed", ["reason"]
)
HTTP_EVENTS = Counter("sentinel_http_events_total", "Events posted over HTTP by outcome", ["outcome"])


class BoundedLabel:
    """Values for a metric's label, of which only the first `limit` keep their name; the rest share one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def of(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._limit:
            return OTHER
        self._known.add(value)
        return value


model_label = BoundedLabel(MAX_SERVICE_LABELS)
service_label = BoundedLabel(MAX_SERVICE_LABELS)


def count_processed(service: str, events: int) -> None:
    """Count events of one service that went through the pipeline."""
    EVENTS_PROCESSED.labels(service_label.of(service)).inc(events)


def count_marks(marks: Iterable[str]) -> None:
    """Count the repairs of one event."""
    for mark in marks:
        EVENTS_REPAIRED.labels(mark).inc()
