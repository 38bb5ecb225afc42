"""Writing telemetry and detections to the telemetry store: each accepted event once, the rest to dead letters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import msgspec
import structlog
from confluent_kafka import KafkaException, TopicPartition
from django.db import close_old_connections

from ingestion import failpoints, metrics
from ingestion.costs import count_calls
from ingestion.dead_letters import Record, dead_letter, headers
from ingestion.formats import native
from ingestion.formats.validation import Rejection
from ingestion.kafka import KeyedProducer, NotDelivered
from ingestion.membership import committable
from ingestion.sources import Load
from ingestion.telemetry_store import StoreUnavailable, TelemetryBatch, TelemetryStore, WriteRefused
from ingestion.writing import FIRST_DELAY, WritingThread

log = structlog.get_logger(__name__)

QUEUED = 4
ACK_SECONDS = 30.0
REFUSED = "refused_by_store"


class StoreWriter(WritingThread[list[Load]]):
    """Writes loads in order; what is not stored in time is read from Kafka again."""

    longest_delay = 10.0

    def __init__(self, kafka: Any, store: TelemetryStore, commit: Callable[[list[TopicPartition]], None]) -> None:
        super().__init__("store-writer", QUEUED)
        self._kafka = kafka
        self._store = store
        self._commit = commit
        self._producer = KeyedProducer(kafka)

    def stop(self, deadline: float) -> None:
        super().stop(deadline)
        self._producer.close(1.0)
        self._store.close()

    def write(self, loads: list[Load]) -> None:
        for load in loads:
            self._write(load)
        failpoints.reach("write")
        self._commit([committable(load.source.name, load.next_offset) for load in loads])

    def _write(self, load: Load) -> None:
        source = load.source
        if load.events:
            batch = TelemetryBatch(*astuple(source.name), load.offsets, load.events)
            refused = self._persistently("telemetry", len(load.events), lambda: self._store.write_telemetry(batch))
            count_calls(load.events)
            self._refuse([(self._record(load, row), row.reason) for row in refused])
        if load.detections:
            rows = load.detections
            refused = self._persistently("detections", len(rows), lambda: self._store.write_detections(rows))
            self._refuse([(self._detection_record(load, row), row.reason) for row in refused])

    def _persistently(self, table: str, rows: int, write: Callable[[], list[WriteRefused]]) -> list[WriteRefused]:
        delay = FIRST_DELAY
        while True:
            try:
                close_old_connections()
                with metrics.STORAGE_SECONDS.labels(table).time():
                    refused = write()
            except StoreUnavailable as error:
                metrics.STORAGE_ERRORS.labels(table).inc()
                self.trouble = f"telemetry store: {error}"
                metrics.INGESTION_ERRORS.labels("store").inc()
                wait = min(error.retry_after or delay, self.longest_delay)
                log.warning("store_unavailable", error=str(error), retry_in=wait)
            else:
                self.trouble = None
                metrics.count_stored(table, rows - len(refused), len(refused))
                return refused
            self.pause(wait)
            delay = min(2 * delay, self.longest_delay)

    def _record(self, load: Load, row: WriteRefused) -> Record:
        source, event = load.source, load.events[row.index]
        return Record(source.name.topic, source.name.partition, load.offsets[row.index], None, native.encode(event))

    def _detection_record(self, load: Load, row: WriteRefused) -> Record:
        source, detection = load.source, load.detections[row.index]
        return Record(
            source.name.topic, source.name.partition, load.next_offset - 1, None, msgspec.json.encode(detection)
        )

    def _refuse(self, rows: list[tuple[Record, str]]) -> None:
        """Rows the store will never take go to the dead letters before their offset is committed."""
        while rows:
            batch = self._producer.batch()
            for record, reason in rows:
                rejection = Rejection(REFUSED, "", reason)
                batch.send(self._kafka.dead_letter_topic, dead_letter(record, rejection), None, headers(rejection))
            try:
                batch.wait(ACK_SECONDS)
                return
            except (NotDelivered, KafkaException, BufferError) as error:
                self.trouble = f"kafka: {error}"
                self.pause(1.0)
