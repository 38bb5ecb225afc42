"""GET /api/v1/telemetry and /api/v1/telemetry/summary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from baselines import rollup
from baselines.models import TelemetryHour, TelemetryMinute
from baselines.stats.sketch import BUCKETS, SKETCHED, empty, encode
from ingestion.summaries import of_minutes, summarize
from ingestion.telemetry_store import SummaryQuery, shared_store
from ingestion.telemetry_store.database import DatabaseStore
from tests.ingestion.stores import NOON, batch, day, event, storage
from tests.support import catalogue
from tests.support.catalogue import bearer
from tests.support.influxdb3_double import InfluxDouble

pytestmark = pytest.mark.django_db

Ask = Callable[..., HttpResponse]
EVENTS = "/api/v1/telemetry"
SUMMARY = "/api/v1/telemetry/summary"
RANGE = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"}
SECOND = timedelta(seconds=1)


@pytest.fixture
def ask(client: Client) -> Ask:
    headers = bearer(catalogue.token("read")[1])
    return lambda path, **query: client.get(path, query, headers=headers)


def minute(at: datetime, latencies_in: dict[int, int] | None = None, **values: Any) -> None:
    """One row of aggregates, with so many latencies in these buckets."""
    counts = empty()
    for bucket, count in (latencies_in or {}).items():
        counts[SKETCHED.index("latency_ms"), bucket] = count
    catalogue.minute(at=at, **{"sketches": encode(counts)} | values)


def test_events_come_newest_first_with_range_and_count(ask: Ask) -> None:
    shared_store().write_telemetry(batch(event(event_id="old"), event(NOON + SECOND, event_id="new", cost_usd=0.25)))
    answer = ask(EVENTS, **RANGE).json()
    assert [row["event_id"] for row in answer["data"]] == ["new", "old"]
    assert answer["count"] == 2
    assert answer["next"] is None
    assert answer["timeRange"] == RANGE
    assert answer["data"][0] == {
        "event_id": "new",
        "timestamp": "2026-03-01T12:00:01Z",
        "service": "chat-api",
        "model": "gpt-4",
        "latency_ms": 120.0,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "cost_usd": 0.25,
        "cost_source": "unpriced",
        "error": False,
        "errors": [],
        "ttft_ms": None,
        "finish_reason": "",
        "user_id": "",
        "session_id": "",
        "trace_id": "",
        "span_id": "",
        "metadata": {},
    }


def test_without_a_range_the_last_day_is_meant(ask: Ask) -> None:
    now = timezone.now()
    ages = {"now": timedelta(0), "hours": timedelta(hours=23), "days": timedelta(days=2)}
    shared_store().write_telemetry(batch(*(event(now - age, event_id=name) for name, age in ages.items())))
    assert {row["event_id"] for row in ask(EVENTS).json()["data"]} == {"now", "hours"}
    assert {row["event_id"] for row in ask(EVENTS, hours=1).json()["data"]} == {"now"}
    assert {row["event_id"] for row in ask(EVENTS, hours=72).json()["data"]} == {"now", "hours", "days"}


def test_filters_and_pages(ask: Ask) -> None:
    series = [("a", "m")] * 5 + [("a", "n"), ("b", "m")]
    events = (event(NOON + SECOND * n, service=s, model=m) for n, (s, m) in enumerate(series))
    shared_store().write_telemetry(batch(*events))
    first = ask(EVENTS, **RANGE, service="a", model="m", limit=3).json()
    second = ask(EVENTS, **RANGE, service="a", model="m", limit=3, cursor=first["next"]).json()
    assert [first["count"], second["count"], second["next"]] == [3, 2, None]
    assert {(row["service"], row["model"]) for row in first["data"] + second["data"]} == {("a", "m")}


@pytest.mark.parametrize(
    ("path", "parameter", "value"),
    [
        (EVENTS, "limit", "0"),
        (EVENTS, "limit", "1001"),
        (EVENTS, "hours", "-1"),
        (EVENTS, "start", "yesterday"),
        (EVENTS, "cursor", "made-up"),
        (EVENTS, "colour", "blue"),
        (EVENTS, "service", "x" * 129),
        (SUMMARY, "interval", "7m"),
        (SUMMARY, "limit", "5"),
    ],
)
def test_a_bad_parameter_is_named(ask: Ask, path: str, parameter: str, value: str) -> None:
    answer = ask(path, **{parameter: value})
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [parameter]


@pytest.mark.parametrize("path", [EVENTS, f"{SUMMARY}?interval=30s", f"{SUMMARY}?interval=1h"])
def test_one_sees_the_services_of_one_s_projects_only(client: Client, path: str) -> None:
    catalogue.service("ours", of="mine")
    catalogue.service("theirs", of="other")
    shared_store().write_telemetry(batch(event(service="ours"), event(service="theirs"), event(service="unknown")))
    for name in ("ours", "theirs", "unknown"):
        minute(NOON, service=name, count=1)
    headers = bearer(catalogue.token("read", of="mine")[1])

    def calls(**query: str) -> int:
        answer = client.get(f"{path}{'&' if '?' in path else '?'}{urlencode(RANGE | query)}", headers=headers)
        return sum(row.get("count", 1) for row in answer.json()["data"])

    assert calls() == 1
    assert calls(service="ours") == 1
    assert calls(service="theirs") == calls(service="unknown") == 0


def test_a_summary_of_half_minutes_comes_from_single_events(ask: Ask) -> None:
    minute(NOON)
    slow = [event(NOON + SECOND * n, latency_ms=200.0, cost_usd=0.5) for n in range(40)]
    shared_store().write_telemetry(batch(*slow, event(NOON, error=True, errors=["boom"], latency_ms=None)))
    answer = ask(SUMMARY, **RANGE, interval="30s").json()
    first, second = answer["data"]
    assert first.pop("p50") == first.pop("p95") == first.pop("p99") == pytest.approx(200, rel=0.03)
    assert first == {"timestamp": "2026-03-01T12:00:00Z", "count": 31, "errors": 1, "cost": 15.0}
    assert (second["timestamp"], second["count"]) == ("2026-03-01T12:00:30Z", 10)
    assert (answer["count"], answer["interval"], answer["timeRange"]) == (2, "30s", RANGE)


def test_longer_intervals_come_from_minutes_of_all_partitions(ask: Ask) -> None:
    minute(NOON, {100: 9})
    minute(NOON, {100: 9}, partition=1)
    minute(NOON + timedelta(minutes=1), {200: 2})
    minute(NOON + timedelta(minutes=5), service="other")
    answer = ask(SUMMARY, **RANGE, interval="5m").json()["data"]
    assert [(row["timestamp"], row["count"], row["errors"], row["cost"]) for row in answer] == [
        ("2026-03-01T12:00:00Z", 30, 3, 1.5),
        ("2026-03-01T12:05:00Z", 10, 1, 0.5),
    ]
    assert answer[0]["p50"] < answer[0]["p95"] == answer[0]["p99"]
    assert answer[1]["p50"] is None
    only = ask(SUMMARY, **RANGE, interval="1d", service="other").json()["data"]
    assert [row["count"] for row in only] == [10]


def test_what_no_closed_minute_holds_yet_is_taken_from_single_events() -> None:
    now = NOON + timedelta(minutes=10, seconds=20)
    minute(NOON, count=1000)
    minute(NOON + timedelta(minutes=9), count=1)  # about to be reopened: not settled
    store = DatabaseStore()
    store.write_telemetry(batch(*(event(now - SECOND * 60) for _ in range(5)), event(NOON)))
    query = SummaryQuery(NOON - timedelta(hours=1), now, 86_400)
    assert [tally.count for tally in summarize(store, query, now).values()] == [1005]


def test_parts_of_minutes_at_both_ends_are_exact() -> None:
    times = [NOON + SECOND * seconds for seconds in (10, 40, 70, 130, 190, 220)]
    minute(NOON + timedelta(minutes=1), count=1)
    minute(NOON + timedelta(minutes=2), count=1)
    store = DatabaseStore()
    store.write_telemetry(batch(*map(event, times)))
    query = SummaryQuery(NOON + 30 * SECOND, NOON + 200 * SECOND, 3600)
    (tally,) = summarize(store, query, NOON + timedelta(days=1)).values()
    assert tally.count == 4


def test_minutes_and_single_events_give_the_same_answer() -> None:
    latencies = np.random.default_rng(3).lognormal(6, 1, 500)
    store = DatabaseStore()
    store.write_telemetry(batch(*(event(latency_ms=float(value)) for value in latencies)))
    query = SummaryQuery(**day(), seconds=60)
    (raw,) = store.summary(query).values()
    minute(NOON, {bucket: int(raw.latencies[bucket]) for bucket in range(BUCKETS)}, count=500, errors=0, cost_usd=0)
    (aggregated,) = of_minutes(query).values()
    assert (aggregated.count, aggregated.errors) == (raw.count, raw.errors)
    assert np.array_equal(aggregated.latencies, raw.latencies)


def months_of_minutes(hours: int = 30) -> None:
    """Some minutes in every hour from NOON on, of two models, each with latencies of its own."""
    for number in range(hours * 3):
        at = NOON + timedelta(minutes=20 * number)
        minute(at, {number % 200: 5, 3: 4}, count=number, cost_usd=0.1 * number)
        minute(at, {90: 1}, model="gpt-5", partition=1)


def same(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(
        (one[start].count, one[start].errors) == (other[start].count, other[start].errors)
        and one[start].cost == pytest.approx(other[start].cost)
        and np.array_equal(one[start].latencies, other[start].latencies)
        for start in one
    )


@pytest.mark.parametrize("interval", [3600, 86_400])
@pytest.mark.parametrize("rolled", ["nothing", "half", "everything"])
def test_hours_and_minutes_give_the_same_answer(interval: int, rolled: str) -> None:
    months_of_minutes()
    start, end = NOON + timedelta(minutes=20), NOON + timedelta(hours=29, minutes=40)
    query = SummaryQuery(start, end, interval)
    expected = of_minutes(query)
    if rolled != "nothing":
        rollup.roll_up(NOON + timedelta(hours=15 if rolled == "half" else 99))
        assert TelemetryHour.objects.count() == 2 * (14 if rolled == "half" else 30)
    assert same(summarize(DatabaseStore(), query, NOON + timedelta(days=9)), expected)
    one_model = replace(query, model="gpt-5")
    assert same(summarize(DatabaseStore(), one_model, NOON + timedelta(days=9)), of_minutes(one_model))


def test_long_intervals_are_read_from_hours_and_not_from_minutes() -> None:
    months_of_minutes()
    rollup.roll_up(NOON + timedelta(days=9))
    expected = of_minutes(SummaryQuery(NOON, NOON + timedelta(hours=30), 86_400))
    TelemetryMinute.objects.all().delete()
    found = summarize(DatabaseStore(), SummaryQuery(NOON, NOON + timedelta(hours=30), 86_400), NOON + timedelta(days=9))
    assert same(found, expected)


def test_what_came_after_its_hour_was_added_up_counts_at_once() -> None:
    minute(NOON)
    rollup.roll_up(NOON + timedelta(days=1))
    minute(NOON, first_offset=99, count=7)
    query = SummaryQuery(NOON, NOON + timedelta(hours=1), 3600)
    assert summarize(DatabaseStore(), query, NOON + timedelta(days=1))[int(NOON.timestamp())].count == 17
    rollup.finish(NOON + timedelta(days=100))
    minute(NOON, first_offset=120, count=5)  # later than its minutes were kept
    assert summarize(DatabaseStore(), query, NOON + timedelta(days=1))[int(NOON.timestamp())].count == 22


def test_of_old_times_only_whole_hours_can_be_asked_for(ask: Ask) -> None:
    minute(NOON + timedelta(minutes=10))
    rollup.finish(NOON + timedelta(hours=1))
    answer = ask(SUMMARY, **RANGE, interval="5m")
    assert answer.status_code == 400
    assert answer.json()["errors"] == {
        "interval": ["Before 2026-03-01T13:00Z only whole hours are kept: ask for 1h or 1d."]
    }
    late = RANGE | {"start": "2026-03-01T13:00:00Z"}
    assert ask(SUMMARY, **late, interval="5m").json()["data"] == []
    within = RANGE | {"start": "2026-03-01T12:30:00Z"}
    assert [row["count"] for row in ask(SUMMARY, **within, interval="1h").json()["data"]] == [10]


def test_a_store_that_is_away_is_a_503_that_says_when_to_come_back(ask: Ask, settings: Any) -> None:
    with InfluxDouble() as double:
        settings.SENTINEL = settings.SENTINEL.model_copy(update={"storage": storage(double)})
        shared_store().write_telemetry(batch(event(event_id="from influx")))
        assert [row["event_id"] for row in ask(EVENTS, **RANGE).json()["data"]] == ["from influx"]
        assert [row["count"] for row in ask(SUMMARY, **RANGE, interval="30s").json()["data"]] == [1]
        double.stop()
        for path in (EVENTS, SUMMARY):
            answer = ask(path, **RANGE | ({"interval": "30s"} if path == SUMMARY else {}))
            assert answer.status_code == 503
            assert int(answer["Retry-After"]) > 0
        double.start()
        shared_store().close()


def test_times_are_utc(ask: Ask) -> None:
    shared_store().write_telemetry(batch(event(datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC))))
    assert ask(EVENTS, **RANGE).json()["data"][0]["timestamp"] == "2026-03-01T12:00:00.250000Z"
