"""What every telemetry store does, over InfluxDB 3 (its double), SQLite and PostgreSQL alike."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from django.db import connections
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from baselines.stats.sketch import quantile
from ingestion.models import Detection, TelemetryEvent
from ingestion.telemetry_store import BadCursor, SummaryQuery, TelemetryQuery, TelemetryStore
from ingestion.telemetry_store.database import DatabaseStore
from ingestion.telemetry_store.influxdb3 import InfluxStore
from tests.ingestion.stores import NOON, TOPIC_ID, batch, day, detection, event, postgres, sqlite, storage
from tests.support.influxdb3_double import InfluxDouble
from tests.support.services import require

SECOND = timedelta(seconds=1)
OFFSETS = count()
ALL = TelemetryQuery(**day(), limit=1000)


@pytest.fixture(scope="module", params=["influxdb3", "sqlite", "postgres"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: object
) -> Iterator[tuple[TelemetryStore, object]]:
    with django_db_blocker.unblock():
        if request.param == "influxdb3":
            with InfluxDouble() as double:
                store = InfluxStore(storage(double))
                yield store, double
                store.close()
        else:
            folder: Path = tmp_path_factory.mktemp("store")
            place = sqlite(folder) if request.param == "sqlite" else postgres(require("postgres"))
            with place as alias:
                yield DatabaseStore(using=alias), alias


@pytest.fixture
def store(opened: tuple[TelemetryStore, object]) -> TelemetryStore:
    store, place = opened
    if isinstance(place, InfluxDouble):
        place.clear()
        store._prepared = False
    else:
        for model in (TelemetryEvent, Detection):
            model.objects.using(place).all().delete()
    return store


def test_a_row_comes_back_as_it_was_sent(store: TelemetryStore) -> None:
    sent = event(
        NOON + timedelta(microseconds=123_456),
        event_id="e-1",
        cost_usd=0.00001,
        cost_source="reported",
        ttft_ms=33.5,
        cached_tokens=2,
        reasoning_tokens=1,
        quality_score=0.9,
        finish_reason="stop",
        provider="openai",
        user_id='o\'neil "the, user" = \\',
        session_id="s 1",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="00f067aa0ba902b7",
        metadata={"region": 'eu "west"\n', "path": "C:\\temp"},
    )
    assert store.write_telemetry(batch(sent)) == []
    assert store.telemetry(ALL).rows == [
        {
            "event_id": "e-1",
            "timestamp": NOON + timedelta(microseconds=123_456),
            "service": "chat-api",
            "model": "gpt-4",
            "latency_ms": 120.0,
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "cost_usd": 0.00001,
            "cost_source": "reported",
            "error": False,
            "errors": [],
            "ttft_ms": 33.5,
            "finish_reason": "stop",
            "user_id": 'o\'neil "the, user" = \\',
            "session_id": "s 1",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "span_id": "00f067aa0ba902b7",
            "metadata": {"region": 'eu "west"\n', "path": "C:\\temp"},
        }
    ]


def test_a_failed_call_comes_back_without_what_it_never_had(store: TelemetryStore) -> None:
    nothing = dict.fromkeys(("latency_ms", "prompt_tokens", "completion_tokens", "total_tokens"))
    store.write_telemetry(batch(event(error=True, errors=['timed out after "30 s"', "retry\tgave up"], **nothing)))
    (row,) = store.telemetry(ALL).rows
    assert row["error"] is True
    assert row["errors"] == ['timed out after "30 s"', "retry\tgave up"]
    assert [row[name] for name in nothing] == [None] * 4
    assert row["cost_usd"] is None
    assert row["cost_source"] == "unpriced"


def test_an_event_without_an_id_gets_one_of_its_place_in_kafka(store: TelemetryStore) -> None:
    store.write_telemetry(batch(event(), first=41))
    assert store.telemetry(ALL).rows[0]["event_id"] == str(uuid.uuid5(TOPIC_ID, "0:41"))


def test_writing_a_batch_again_stores_it_once(store: TelemetryStore) -> None:
    again = batch(*(event() for _ in range(50)))
    store.write_telemetry(again)
    store.write_telemetry(again)
    store.write_telemetry(batch(*again.events[10:20], first=10))
    assert len(store.telemetry(ALL).rows) == 50


def test_events_of_one_millisecond_are_all_kept(store: TelemetryStore) -> None:
    store.write_telemetry(batch(*(event(event_id=f"e-{n}") for n in range(2000))))
    summary = store.summary(SummaryQuery(**day(), seconds=60))
    assert summary[int(NOON.timestamp())].count == 2000


def test_the_same_offset_of_two_partitions_is_two_events(store: TelemetryStore) -> None:
    for partition in (0, 1):
        store.write_telemetry(batch(event(), partition=partition))
    assert len(store.telemetry(ALL).rows) == 2


def test_rows_are_newest_first_and_pages_join_without_gap_or_overlap(store: TelemetryStore) -> None:
    moments = [NOON + SECOND * (n // 3) for n in range(25)]  # three events share each second
    store.write_telemetry(batch(*(event(at, event_id=f"a-{n}") for n, at in enumerate(moments[:13]))))
    store.write_telemetry(batch(*(event(at, event_id=f"b-{n}") for n, at in enumerate(moments[13:])), partition=1))
    seen, query = [], replace(ALL, limit=7)
    while True:
        page = store.telemetry(query)
        seen += page.rows
        if page.next is None:
            break
        query = replace(query, cursor=page.next)
    assert len({row["event_id"] for row in seen}) == len(seen) == 25
    assert [row["timestamp"] for row in seen] == sorted((row["timestamp"] for row in seen), reverse=True)


def test_a_page_that_holds_exactly_the_rest_is_the_last(store: TelemetryStore) -> None:
    store.write_telemetry(batch(event(), event()))
    assert store.telemetry(replace(ALL, limit=2)).next is None


def test_a_range_begins_with_its_start_and_ends_before_its_end(store: TelemetryStore) -> None:
    store.write_telemetry(batch(*(event(NOON + SECOND * n, event_id=str(n)) for n in range(5))))
    rows = store.telemetry(TelemetryQuery(NOON + SECOND, NOON + 3 * SECOND)).rows
    assert [row["event_id"] for row in rows] == ["2", "1"]


def test_long_ranges_are_read_whole(store: TelemetryStore) -> None:
    moments = [NOON + timedelta(days=days) for days in (-20, -9, -2, 0)]
    store.write_telemetry(batch(*(event(at, event_id=str(n)) for n, at in enumerate(moments))))
    wide = day(24 * 60)
    assert [row["event_id"] for row in store.telemetry(TelemetryQuery(**wide)).rows] == ["3", "2", "1", "0"]
    assert sum(tally.count for tally in store.summary(SummaryQuery(**wide, seconds=3600)).values()) == 4
    first = store.telemetry(TelemetryQuery(**wide, limit=3))
    assert len(store.telemetry(TelemetryQuery(**wide, limit=3, cursor=first.next)).rows) == 1


def test_filters_choose_services_and_model(store: TelemetryStore) -> None:
    names = [("a", "m"), ("a", "n"), ("b", "m"), ("c d,e=f\\", "m")]
    store.write_telemetry(batch(*(event(service=service, model=model) for service, model in names)))

    def found(**filters: object) -> set[tuple[str, str]]:
        return {(row["service"], row["model"]) for row in store.telemetry(replace(ALL, **filters)).rows}

    assert found() == set(names)
    assert found(services=frozenset({"a", "c d,e=f\\"})) == {names[0], names[1], names[3]}
    assert found(services=frozenset({"a"}), model="n") == {names[1]}
    assert found(services=frozenset()) == set()
    assert found(services=frozenset({"a' OR '1'='1"})) == set()


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(service=names, model=names)
def test_any_name_is_kept_and_found(store: TelemetryStore, service: str, model: str) -> None:
    store.write_telemetry(batch(event(service=service, model=model), first=next(OFFSETS)))
    rows = store.telemetry(replace(ALL, services=frozenset({service}), model=model)).rows
    assert {(row["service"], row["model"]) for row in rows} == {(service, model)}


def test_text_that_could_break_a_line_breaks_none(store: TelemetryStore) -> None:
    nasty = 'x" 1\ntelemetry,service=evil v=1i 1\0\u2028\\'
    events = [event(user_id=nasty, metadata={nasty: nasty}, errors=[nasty], error=True), event(user_id="next")]
    assert store.write_telemetry(batch(*events)) == []
    rows = store.telemetry(ALL).rows
    assert {row["service"] for row in rows} == {"chat-api"}
    assert {row["user_id"][:1] for row in rows} == {"x", "n"}


def test_a_summary_counts_per_interval(store: TelemetryStore) -> None:
    calls = [event(NOON + SECOND * n, latency_ms=100.0 + n, cost_usd=0.25) for n in range(60)]
    calls += [event(NOON + 31 * SECOND, error=True, errors=["boom"], latency_ms=9e4) for _ in range(3)]
    calls += [event(NOON + 40 * SECOND, latency_ms=None)]
    store.write_telemetry(batch(*calls))
    noon = int(NOON.timestamp())
    halves = store.summary(SummaryQuery(**day(), seconds=30))
    assert sorted(halves) == [noon, noon + 30]
    assert (halves[noon].count, halves[noon].errors) == (30, 0)
    assert (halves[noon + 30].count, halves[noon + 30].errors) == (34, 3)
    assert halves[noon].cost == pytest.approx(7.5)
    (whole,) = store.summary(SummaryQuery(**day(), seconds=60)).values()
    assert int(whole.latencies.sum()) == 60  # failed calls have no latency that counts
    exact = np.quantile(np.arange(100.0, 160.0), [0.5, 0.95])
    assert [quantile(whole.latencies, "latency_ms", q) for q in (0.5, 0.95)] == pytest.approx(exact, rel=0.03)


def test_a_summary_is_of_the_chosen_series(store: TelemetryStore) -> None:
    store.write_telemetry(batch(event(service="a"), event(service="b"), event(service="a", model="n")))
    query = SummaryQuery(**day(), seconds=60, services=frozenset({"a"}), model="gpt-4")
    assert [tally.count for tally in store.summary(query).values()] == [1]


def test_users_are_told_by_what_they_spent(store: TelemetryStore) -> None:
    calls = [event(user_id="ann", cost_usd=0.25) for _ in range(3)] + [
        event(user_id="bob 'b'", service="a b", cost_usd=2.0)
    ]
    calls += [event(user_id="ann"), event(user_id="ann", model="n", cost_usd=0.1), event(cost_usd=9.0)]
    calls += [event(user_id="ann", cost_usd=9.0, error=True), event(NOON + 3600 * SECOND, user_id="ann", cost_usd=9.0)]
    store.write_telemetry(batch(*calls))
    found = [
        ("a b", "gpt-4", "bob 'b'", 1, 2.0, 15, 0),
        ("chat-api", "gpt-4", "ann", 4, 0.75, 60, 15),
        ("chat-api", "n", "ann", 1, 0.1, 15, 0),
    ]
    assert store.users(NOON, NOON + 3600 * SECOND, limit=10) == found
    assert store.users(NOON, NOON + 3600 * SECOND, limit=1) == found[:1]


def test_an_empty_store_answers_with_nothing(store: TelemetryStore) -> None:
    assert store.telemetry(ALL) == ([], None)
    assert store.summary(SummaryQuery(**day(), seconds=60)) == {}
    assert store.users(**day(), limit=10) == []
    assert store.detections(TOPIC_ID, **day()) == []
    assert store.write_telemetry(batch()) == []
    assert store.write_detections([]) == []
    store.ping()


@pytest.mark.parametrize("cursor", ["x", "e30", "WzFd", "WyJhIiwiYiJd", "\ud800", "=====", "bnVsbA"])
def test_a_made_up_cursor_is_refused(store: TelemetryStore, cursor: str) -> None:
    with pytest.raises(BadCursor):
        store.telemetry(replace(ALL, cursor=cursor))


def test_detections_come_back_by_anomaly_newest_first(store: TelemetryStore) -> None:
    anomaly, other = uuid.uuid4(), uuid.uuid4()
    rows = [detection(NOON + SECOND * n, offset=n, anomaly_id=str(anomaly), score=float(n)) for n in range(5)]
    rows.append(detection(NOON, offset=9, anomaly_id=str(other), lower=None))
    assert store.write_detections(rows) == []
    assert store.write_detections(rows[:2]) == []
    found = store.detections(anomaly, NOON, NOON + 4 * SECOND)
    assert [row["score"] for row in found] == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert store.detections(anomaly, NOON, NOON + 4 * SECOND, limit=2) == found[:2]
    assert store.detections(other, **day()) == [
        {
            "timestamp": NOON,
            "service": "chat-api",
            "model": "gpt-4",
            "metric": "latency_ms",
            "detector": "zscore",
            "severity": "critical",
            "value": 1500.0,
            "expected": 120.0,
            "lower": None,
            "upper": 180.0,
            "score": 8.1,
            "event_id": "e-1",
        }
    ]


def test_what_is_no_detection_is_refused_and_the_others_are_stored(store: TelemetryStore) -> None:
    good = detection()
    broken = [{}, good | {"anomaly_id": "none"}, good | {"timestamp": "yesterday"}, good | {"value": "high"}]
    refused = store.write_detections([*broken, good])
    assert [index for index, _ in refused] == [0, 1, 2, 3]
    assert len(store.detections(uuid.UUID(good["anomaly_id"]), **day())) == 1


def test_a_row_that_cannot_be_stored_is_refused_alone(store: TelemetryStore) -> None:
    events = [event(event_id=str(n)) for n in range(40)]
    for index in (3, 4, 39):
        events[index] = event(prompt_tokens=2**70)
    refused = store.write_telemetry(batch(*events))
    assert [index for index, _ in refused] == [3, 4, 39]
    assert len(store.telemetry(ALL).rows) == 37


def test_a_value_that_is_not_finite_is_left_out(store: TelemetryStore) -> None:
    assert store.write_telemetry(batch(event(latency_ms=float("nan")), event(latency_ms=1e16))) == []
    assert {row["latency_ms"] for row in store.telemetry(ALL).rows} == {None, 1e16}


@pytest.fixture(autouse=True)
def _no_open_transactions() -> Iterator[None]:
    yield
    assert not any(connection.in_atomic_block for connection in connections.all(initialized_only=True))
