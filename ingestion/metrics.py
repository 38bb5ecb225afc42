"""What ingestion counts. Names of services are labels of a bounded number only."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram, Info

if TYPE_CHECKING:
    from ingestion.formats.event import Event

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
BATCH_MESSAGES = Histogram(
    "sentinel_batch_messages",
    "Messages that a role took from Kafka at once, of one partition",
    ["role"],
    buckets=(1, 5, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000),
)
STAGE_SECONDS = Histogram(
    "sentinel_stage_seconds",
    "How long one stage took: decode and score a batch; produce, database, state of a checkpoint; store a load",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
DETECTION_LATENCY = Histogram(
    "sentinel_detection_latency_seconds",
    "How long one batch of a partition took from its messages to its verdicts",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
DETECTION_ERRORS = Counter("sentinel_detection_errors_total", "Failures while events were scored", ["type"])
DETECTIONS = Counter(
    "sentinel_detections_total", "Flagged samples, by leading detector and severity", ["detector", "severity"]
)
KAFKA_LAG = Gauge(
    "sentinel_kafka_consumer_lag",
    "Messages of a partition that a group has not read yet, as of its last look",
    ["group", "topic", "partition"],
    multiprocess_mode="liveall",
)
KAFKA_PARTITIONS = Gauge(
    "sentinel_kafka_assigned_partitions",
    "Partitions that this consumer owns",
    ["group"],
    multiprocess_mode="livesum",
)
KAFKA_REBALANCES = Counter(
    "sentinel_kafka_rebalances_total", "Partitions that were assigned, revoked or lost", ["group", "event"]
)
KAFKA_PAUSED = Gauge(
    "sentinel_kafka_consumer_paused",
    "1 while a consumer fetches nothing because its work cannot be written fast enough",
    ["group"],
    multiprocess_mode="livemax",
)
LAST_READ = Gauge(
    "sentinel_last_message_timestamp_seconds",
    "When a role last took messages from Kafka (unix time)",
    ["role"],
    multiprocess_mode="mostrecent",
)
UNWRITTEN_EVENTS = Gauge(
    "sentinel_unwritten_events",
    "Events that were taken from Kafka and not handed to the writer yet",
    ["role"],
    multiprocess_mode="livesum",
)
WRITER_QUEUE = Gauge(
    "sentinel_writer_queue_depth",
    "Pieces of work that wait for a writer or are being written",
    ["writer"],
    multiprocess_mode="livesum",
)
WRITER_TROUBLE = Gauge(
    "sentinel_writer_retrying",
    "1 while a writer repeats what something else does not take",
    ["writer"],
    multiprocess_mode="livemax",
)
CHECKPOINTS = Counter("sentinel_checkpoints_total", "Checkpoints that became durable")
CHECKPOINT_SECONDS = Histogram(
    "sentinel_checkpoint_seconds",
    "How long it took to make one checkpoint durable, with all retries",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
LAST_CHECKPOINT = Gauge(
    "sentinel_last_checkpoint_timestamp_seconds",
    "When the latest checkpoint became durable (unix time)",
    multiprocess_mode="mostrecent",
)
PARTITIONS_FENCED = Counter(
    "sentinel_partitions_fenced_total", "Partitions whose state was found to be written by another consumer"
)
STORAGE_WRITES = Counter("sentinel_storage_writes_total", "Writes that the telemetry store took", ["table"])
STORAGE_ROWS = Counter("sentinel_storage_rows_total", "Rows that the telemetry store took", ["table"])
STORAGE_ERRORS = Counter("sentinel_storage_errors_total", "Writes that the telemetry store did not take", ["table"])
STORAGE_REFUSED = Counter(
    "sentinel_storage_refused_rows_total", "Rows that the telemetry store will never take", ["table"]
)
STORAGE_SECONDS = Histogram(
    "sentinel_storage_write_seconds",
    "How long one write to the telemetry store took, whatever came of it",
    ["table"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
LAST_STORED = Gauge(
    "sentinel_last_storage_write_timestamp_seconds",
    "When the telemetry store last took a write (unix time)",
    multiprocess_mode="mostrecent",
)
COST = Counter("sentinel_cost_usd_total", "Dollars of the calls that were stored", ["model"])
TOKENS = Counter("sentinel_tokens_total", "Tokens of the calls that were stored", ["model"])
CALLS = Counter("sentinel_calls_total", "Calls that were stored, by whether they failed", ["outcome"])
ROLE_READY = Gauge(
    "sentinel_role_ready",
    "1 while a role of this process is a member of its group",
    ["role"],
    multiprocess_mode="livemin",
)
ROLE_FAILURES = Counter("sentinel_role_failures_total", "Times that a role could not go on", ["role"])


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


def count_events(events: Sequence[Event]) -> None:
    """Count events that went through the pipeline, by service, and the repairs they needed."""
    for service, number in Counted(event.service for event in events).items():
        EVENTS_PROCESSED.labels(service_label.of(service)).inc(number)
    count_marks(mark for event in events for mark in event.marks)


def note_batch(role: str, messages: int) -> None:
    """Note that a role took a batch from Kafka now."""
    BATCH_MESSAGES.labels(role).observe(messages)
    LAST_READ.labels(role).set_to_current_time()


def count_stored(table: str, rows: int, refused: int) -> None:
    """Count one write that the telemetry store took, except for the rows it refused."""
    STORAGE_WRITES.labels(table).inc()
    STORAGE_ROWS.labels(table).inc(rows)
    STORAGE_REFUSED.labels(table).inc(refused)
    LAST_STORED.set_to_current_time()


def count_marks(marks: Iterable[str]) -> None:
    """Count the repairs of one event."""
    for mark in marks:
        EVENTS_REPAIRED.labels(mark).inc()
