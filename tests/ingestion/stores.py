"""The telemetry stores under test, each over a server or database of its own, and rows to fill them with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
from django.db import connections
from django.db.utils import load_backend

from ingestion.formats.event import Event
from ingestion.models import Detection, TelemetryEvent
from ingestion.telemetry_store import TelemetryBatch
from ingestion.telemetry_store.contract import nanoseconds
from sentinel_site.config.storage import StorageConfig
from tests.support.influxdb3_double import InfluxDouble

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOPIC_ID = UUID("7a6f0d5e-2b43-4c1d-9d5e-6f0f3b1c2a10")
TOKEN = "test-token"


def storage(double: InfluxDouble, days: int = 3650, **influxdb: Any) -> StorageConfig:
    """The configuration of a store over the double that keeps everything for `days`: NOON is long ago."""
    section = {"url": double.url, "token": TOKEN, "timeout_secs": 5} | influxdb
    kept = {"telemetry": days, "detections": days}
    return StorageConfig.model_validate({"backend": "influxdb3", "influxdb": section, "retention": kept})


def event(at: datetime = NOON, **fields: Any) -> Event:
    """A call of chat-api to gpt-4 that went well, but for what is said."""
    usual = {"latency_ms": 120.0, "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    names = {"service": "chat-api", "model": "gpt-4"}
    return Event(timestamp_ns=nanoseconds(at), **(names | usual | fields))


def batch(*events: Event, first: int = 0, partition: int = 0) -> TelemetryBatch:
    """The events at consecutive offsets."""
    offsets = list(range(first, first + len(events)))
    return TelemetryBatch("llm.telemetry", TOPIC_ID, partition, offsets, events)


def detection(at: datetime = NOON, offset: int = 0, **fields: Any) -> dict[str, Any]:
    """A message of the detections topic."""
    usual = {
        "anomaly_id": "0b0d6f0e-58a3-4a3e-8d2d-7f8f0d3f5a11",
        "event_id": "e-1",
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "service": "chat-api",
        "model": "gpt-4",
        "metric": "latency_ms",
        "direction": "up",
        "detector": "zscore",
        "detectors": {"zscore": 8.1, "mad": 7.0},
        "severity": "critical",
        "value": 1500.0,
        "expected": 120.0,
        "lower": 60.0,
        "upper": 180.0,
        "score": 8.1,
        "topic_id": str(TOPIC_ID),
        "partition": 0,
        "offset": offset,
    }
    return usual | fields


def day(hours: float = 24) -> dict[str, datetime]:
    """A range around noon."""
    return {"start": NOON - timedelta(hours=hours / 2), "end": NOON + timedelta(hours=hours / 2)}


@contextmanager
def database(alias: str, settings: dict[str, Any]) -> Iterator[str]:
    """A connection of Django's with nothing but the two tables of the store."""
    usual = dict(connections["default"].settings_dict)
    connections.settings[alias] = usual | {"USER": "", "PASSWORD": "", "HOST": "", "PORT": ""} | settings
    connection = load_backend(settings["ENGINE"]).DatabaseWrapper(connections.settings[alias], alias)
    connections[alias] = connection
    try:
        with connection.schema_editor() as editor:
            for model in (TelemetryEvent, Detection):
                editor.create_model(model)
        yield alias
    finally:
        connection.close()
        del connections[alias], connections.settings[alias]


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    settings = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "store.sqlite3"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"},
    }
    with database("store_sqlite", settings) as alias:
        yield alias


@contextmanager
def postgres(url: str) -> Iterator[str]:
    """A new database on the server, dropped afterwards."""
    name = f"store_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        parts = urlsplit(url)
        settings = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": parts.username or "",
            "PASSWORD": parts.password or "",
            "HOST": parts.hostname or "",
            "PORT": str(parts.port or ""),
            "OPTIONS": {},
        }
        try:
            with database("store_postgres", settings) as alias:
                yield alias
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
