"""What is the relational store's alone, and how a store is chosen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from ingestion.models import TelemetryEvent
from ingestion.telemetry_store import StoreUnavailable, TelemetryQuery, open_store, shared_store
from ingestion.telemetry_store.database import DatabaseStore
from ingestion.telemetry_store.influxdb3 import InfluxStore
from tests.ingestion.stores import batch, day, event, postgres, sqlite, storage
from tests.support.influxdb3_double import InfluxDouble
from tests.support.services import require

ALL = TelemetryQuery(**day())


@pytest.fixture
def alias(tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    with django_db_blocker.unblock(), sqlite(tmp_path) as alias:
        yield alias


def test_a_text_longer_than_its_column_is_cut_and_the_row_kept(alias: str) -> None:
    store = DatabaseStore(using=alias)
    assert store.write_telemetry(batch(event(finish_reason="x" * 1000, trace_id="y" * 64))) == []
    (row,) = store.telemetry(ALL).rows
    assert (row["finish_reason"], row["trace_id"]) == ("x" * 64, "y" * 64)


def test_a_busy_database_is_unavailable_and_the_next_try_stores_the_rows(alias: str) -> None:
    store = DatabaseStore(using=alias)
    store.ping()
    connections[alias].connection.execute("PRAGMA busy_timeout=1")
    with closing(sqlite3.connect(connections[alias].settings_dict["NAME"])) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            store.write_telemetry(batch(event()))
    assert store.write_telemetry(batch(event())) == []
    assert len(store.telemetry(ALL).rows) == 1


def test_a_database_that_was_away_is_used_again(django_db_blocker: Any) -> None:
    with django_db_blocker.unblock(), postgres(require("postgres")) as alias:
        store = DatabaseStore(using=alias)
        store.write_telemetry(batch(event()))
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (backend,) = cursor.fetchone()
        with closing(connections[alias].copy(alias)) as other, other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
        with pytest.raises(StoreUnavailable):
            store.write_telemetry(batch(event(), first=1))
        assert store.write_telemetry(batch(event(), first=1)) == []
        assert len(store.telemetry(ALL).rows) == 2


def test_a_database_that_is_not_there_is_unavailable(alias: str) -> None:
    connections[alias].close()
    connections[alias].settings_dict["NAME"] = "/nonexistent/store.sqlite3"
    store = DatabaseStore(using=alias)
    for attempt in (store.ping, lambda: store.write_telemetry(batch(event())), lambda: store.telemetry(ALL)):
        with pytest.raises(StoreUnavailable):
            attempt()


def test_rows_half_of_which_are_known_are_copied_once(django_db_blocker: Any) -> None:
    with django_db_blocker.unblock(), postgres(require("postgres")) as alias:
        store = DatabaseStore(using=alias)
        store.write_telemetry(batch(*(event() for _ in range(10))))
        assert store.write_telemetry(batch(*(event() for _ in range(10)), first=5)) == []
        assert sorted(TelemetryEvent.objects.using(alias).values_list("offset", flat=True)) == list(range(15))


def test_the_configuration_chooses_the_store(settings: Any) -> None:
    assert isinstance(open_store(), DatabaseStore)
    with InfluxDouble() as double:
        settings.SENTINEL = settings.SENTINEL.model_copy(update={"storage": storage(double)})
        store = open_store()
        assert isinstance(store, InfluxStore)
        store.ping()
        store.close()
        assert shared_store() is shared_store()
