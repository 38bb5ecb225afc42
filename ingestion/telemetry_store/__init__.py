"""Where single events and detections are kept: InfluxDB 3, or tables of the relational database."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from ingestion.telemetry_store.contract import (
    BadCursor,
    Page,
    StoreError,
    StoreUnavailable,
    Summary,
    SummaryQuery,
    Tally,
    TelemetryBatch,
    TelemetryQuery,
    TelemetryStore,
    UserTally,
    WriteRefused,
)

__all__ = [
    "BadCursor",
    "Page",
    "StoreError",
    "StoreUnavailable",
    "Summary",
    "SummaryQuery",
    "Tally",
    "TelemetryBatch",
    "TelemetryQuery",
    "TelemetryStore",
    "UserTally",
    "WriteRefused",
    "open_store",
    "shared_store",
]

# Imported when chosen: the client of InfluxDB brings Arrow and gRPC along.
_BACKENDS = {
    "influxdb3": "ingestion.telemetry_store.influxdb3.InfluxStore",
    "database": "ingestion.telemetry_store.database.DatabaseStore",
}


def open_store() -> TelemetryStore:
    """A store of its own for the caller, as `storage.backend` says; the caller closes it."""
    return _open(settings.SENTINEL.storage)


def shared_store() -> TelemetryStore:
    """The store that all requests of this process read from; it is safe to use from several threads."""
    return _shared(settings.SENTINEL.storage)


def _open(storage: Any) -> TelemetryStore:
    store: TelemetryStore = import_string(_BACKENDS[storage.backend])(storage)
    return store


_shared = cache(_open)
