"""Telemetry read back from its store, oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from ingestion.formats.event import Event
from ingestion.telemetry_store import TelemetryQuery, TelemetryStore
from ingestion.telemetry_store.contract import nanoseconds

# Stores tell the newest first, so a slice has to be held before its oldest event is known: some minutes of even a
# busy installation fit into memory.
SLICE = timedelta(minutes=5)
PAGE = 5000


class StoredTelemetry:
    """The events of [start, end) in the order of their times; `position` and `size` are seconds of that range."""

    def __init__(self, store: TelemetryStore, start: datetime, end: datetime) -> None:
        self._store, self._start, self._end = store, start, end
        self.position = 0.0
        self.size = (end - start).total_seconds()

    def events(self) -> Iterator[Event]:
        """Raises StoreUnavailable."""
        start = self._start
        while start < self._end:
            end = min(start + SLICE, self._end)
            yield from reversed([_event(row) for row in self._newest_first(start, end)])
            self.position = (end - self._start).total_seconds()
            start = end

    def _newest_first(self, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = self._store.telemetry(TelemetryQuery(start, end, limit=PAGE, cursor=cursor))
            yield from page.rows
            if page.next is None:
                return
            cursor = page.next


def _event(row: dict[str, Any]) -> Event:
    numbers = ("latency_ms", "prompt_tokens", "completion_tokens", "total_tokens", "cost_usd", "ttft_ms")
    texts = ("service", "model", "finish_reason", "user_id", "session_id", "trace_id", "span_id")
    return Event(
        timestamp_ns=nanoseconds(row["timestamp"]),
        event_id=row["event_id"] or None,
        cost_source=row["cost_source"] or "unpriced",
        error=bool(row["error"]),
        errors=row["errors"],
        metadata=row["metadata"],
        **{name: row[name] for name in (*numbers, *texts)},
    )
