"""Hours are the sums of their minutes, exactly: whatever comes late, however often, and after the minutes are gone."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.apps import apps
from django.db import connection, transaction

from anomalies.detection.verdicts import Minute
from anomalies.record import record_minutes
from baselines import rollup
from baselines.models import DueHour, TelemetryHour, TelemetryMinute
from baselines.stats.series import Pair
from baselines.stats.sketch import SHAPE, decode, encode, merge
from tests.support import catalogue
from tests.support.catalogue import NOON

pytestmark = pytest.mark.django_db

LATER = NOON + timedelta(days=2)
MINUTE = timedelta(minutes=1)
SUMS = (*rollup.COUNTS, "cost_usd")


def minute(at: datetime = NOON, offset: int = 0, seed: int | None = None, **values: Any) -> TelemetryMinute:
    """A minute with numbers of its own."""
    random = np.random.default_rng(offset if seed is None else seed)
    counts = random.integers(0, 5, SHAPE).astype(np.uint32)
    numbers = {name: int(random.integers(1, 1000)) for name in rollup.COUNTS} | {"cost_usd": float(random.random())}
    return catalogue.minute(at=at, **{"first_offset": offset, "sketches": encode(counts)} | numbers | values)


def minutes(count: int = 60, at: datetime = NOON, **values: Any) -> None:
    for number in range(count):
        minute(at + number * MINUTE, offset=number, **values)


def expected(rows: list[TelemetryMinute]) -> tuple[dict[str, Any], np.ndarray]:
    sums = {name: sum(getattr(row, name) for row in rows) for name in rollup.COUNTS}
    return sums | {"cost_usd": math.fsum(row.cost_usd for row in rows)}, merge(bytes(row.sketches) for row in rows)


def found(**which: Any) -> tuple[dict[str, Any], np.ndarray]:
    hour = TelemetryHour.objects.get(**which)
    return {name: getattr(hour, name) for name in SUMS}, decode(bytes(hour.sketches))


def assert_sums(rows: list[TelemetryMinute], **which: Any) -> None:
    (sums, sketches), (wanted, merged) = found(**which), expected(rows)
    assert sums == pytest.approx(wanted, rel=1e-12)
    assert np.array_equal(sketches, merged)


def test_an_hour_is_the_sum_of_the_minutes_of_all_partitions() -> None:
    minutes()
    minutes(at=NOON + 3 * MINUTE, partition=1, count=20)
    minute(NOON + 60 * MINUTE, offset=77)  # of the next hour
    minute(NOON, offset=3, service="other")
    assert rollup.roll_up(LATER) == 3
    of_hour = TelemetryMinute.objects.filter(minute__lt=NOON + 60 * MINUTE, service="chat-api")
    assert_sums(list(of_hour), hour=NOON, service="chat-api")
    assert rollup.roll_up(LATER) == 0


def test_adding_up_again_changes_nothing() -> None:
    minutes()
    rollup.roll_up(LATER)
    before = list(TelemetryHour.objects.values())
    rollup.mark_due(TelemetryMinute.objects.all())
    assert rollup.roll_up(LATER) == 1
    assert list(TelemetryHour.objects.values()) == before


def test_a_late_minute_has_its_hour_added_up_anew() -> None:
    minutes()
    rollup.roll_up(LATER)
    minute(NOON + 5 * MINUTE, offset=1000)
    rollup.roll_up(LATER)
    assert_sums(list(TelemetryMinute.objects.all()), hour=NOON)


@pytest.mark.parametrize(("now", "hours"), [(timedelta(minutes=61), 0), (timedelta(minutes=62), 1)])
def test_an_hour_is_added_up_once_it_has_ended_and_settled(now: timedelta, hours: int) -> None:
    minutes()
    assert rollup.roll_up(NOON + now) == hours


def test_what_the_pipeline_writes_is_noted_in_the_same_transaction() -> None:
    numbers = dict.fromkeys(("errors", "prompt_tokens", "completion_tokens", "total_tokens"), 1)
    written = Minute(
        pair=Pair("chat-api", "gpt-4"),
        minute_ms=int((NOON + 7 * MINUTE).timestamp() * 1000),
        first_offset=1,
        last_offset=5,
        count=5,
        cost_usd=0.5,
        unpriced_calls=0,
        unpriced_tokens=0,
        sketches=encode(np.zeros(SHAPE, np.uint32)),
        **numbers,
    )
    with transaction.atomic():
        record_minutes([written], UUID(int=1), 0)
        assert DueHour.objects.count() == 1
        transaction.set_rollback(True)
    assert not DueHour.objects.exists()
    record_minutes([written], UUID(int=1), 0)
    assert DueHour.objects.values_list("service", "model", "hour").get() == ("chat-api", "gpt-4", NOON)


def test_hours_keep_what_their_minutes_were_when_these_are_deleted() -> None:
    minutes()
    minute(NOON + 60 * MINUTE, offset=60)
    rows = list(TelemetryMinute.objects.filter(minute__lt=NOON + 60 * MINUTE))
    assert rollup.finish(NOON + 90 * MINUTE) == 60
    assert TelemetryMinute.objects.count() == 1  # of the hour that has not ended by then
    assert_sums(rows, hour=NOON, is_final=True)
    rollup.roll_up(LATER)  # the notes of the deleted minutes are still there
    assert_sums(rows, hour=NOON, is_final=True)


@pytest.mark.parametrize("rolled", [0, 30, 60])
def test_minutes_are_deleted_only_once_they_are_added_up(rolled: int) -> None:
    minutes(rolled)
    rollup.roll_up(LATER)
    minutes(60 - rolled, at=NOON + rolled * MINUTE, partition=1)
    minute(NOON, service="other")
    rows = list(TelemetryMinute.objects.filter(service="chat-api"))
    assert rollup.finish(LATER) == 61
    assert_sums(rows, service="chat-api", is_final=True)


def test_a_minute_that_comes_after_its_hour_is_final_is_added_once() -> None:
    minutes()
    rows = list(TelemetryMinute.objects.all())
    rollup.finish(LATER)
    late = minute(NOON + 9 * MINUTE, offset=500)
    for _ in range(2):
        rollup.roll_up(LATER)
        assert_sums([*rows, late], hour=NOON, is_final=True)
        assert not TelemetryMinute.objects.exists()
    later = minute(NOON + 9 * MINUTE, offset=501)
    rollup.finish(LATER)
    rollup.roll_up(LATER)
    assert_sums([*rows, late, later], hour=NOON)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", [rollup.roll_up, rollup.finish])
def test_a_minute_that_commits_only_afterwards_is_not_overlooked(step: Callable[[datetime], int]) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    minutes(3)
    written, release = threading.Event(), threading.Event()

    def write_slowly() -> None:
        try:
            with transaction.atomic():
                minute(NOON + MINUTE, offset=50)
                written.set()
                assert release.wait(20)
        finally:
            connection.close()

    rows = list(TelemetryMinute.objects.all())
    writer = threading.Thread(target=write_slowly)
    writer.start()
    try:
        assert written.wait(20)
        step(LATER)
        assert_sums(rows, hour=NOON)
    finally:
        release.set()
        writer.join(20)
    late = TelemetryMinute.objects.get(first_offset=50)
    rollup.roll_up(LATER)
    assert_sums([*rows, late], hour=NOON)


def test_many_pairs_of_an_hour_are_kept_apart() -> None:
    for number in range(120):
        minute(offset=number, service=f"service-{number % 30}", model=f"model-{number // 30}")
    assert rollup.roll_up(LATER) == 120
    row = TelemetryMinute.objects.get(service="service-7", model="model-2")
    assert_sums([row], service="service-7", model="model-2")


def test_minutes_from_before_there_were_hours_are_added_up_too() -> None:
    minutes(3)
    minutes(2, at=NOON + timedelta(hours=5), model="gpt-5")
    DueHour.objects.all().delete()
    migration = import_module("baselines.migrations.0005_hours")
    migration.note_hours_of_minutes(apps, SimpleNamespace(connection=connection))
    assert rollup.roll_up(LATER) == 2
    assert_sums(list(TelemetryMinute.objects.filter(model="gpt-5")), model="gpt-5", hour=NOON + timedelta(hours=5))


def test_hours_are_those_of_utc() -> None:
    assert rollup.hour_of(datetime(2026, 3, 2, 12, 59, 59, 999_999, tzinfo=UTC)) == NOON
