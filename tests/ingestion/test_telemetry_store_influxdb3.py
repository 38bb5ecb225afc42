"""What is InfluxDB 3's alone: its refusals, its failures, its databases."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion.telemetry_store import StoreUnavailable, SummaryQuery, TelemetryQuery
from ingestion.telemetry_store.influxdb3 import InfluxStore
from tests.ingestion.stores import TOKEN, batch, day, detection, event, storage
from tests.support.influxdb3_double import Fault, InfluxDouble

ALL = TelemetryQuery(**day(), limit=1000)


@pytest.fixture
def double() -> Iterator[InfluxDouble]:
    with InfluxDouble(TOKEN) as double:
        yield double


@pytest.fixture
def store(double: InfluxDouble) -> Iterator[InfluxStore]:
    store = InfluxStore(storage(double, timeout_secs=0.5))
    yield store
    store.close()


def post(double: InfluxDouble, path: str, body: str, token: str = TOKEN) -> tuple[int, dict]:
    request = urllib.request.Request(double.url + path, body.encode(), {"Authorization": f"Token {token}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, {}
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_databases_are_made_with_their_retention_before_the_first_row(double: InfluxDouble) -> None:
    config = storage(double)
    kept = config.retention.model_copy(update={"telemetry": 7, "detections": 30})
    with closing(InfluxStore(config.model_copy(update={"retention": kept}))) as store:
        store.write_telemetry(batch(event()))
    retentions = {name: database.retention for name, database in double.catalogue.databases.items()}
    assert retentions == {"telemetry": "7d", "detections": "30d"}


def test_what_is_older_than_its_retention_is_not_shown_even_if_the_database_still_has_it(double: InfluxDouble) -> None:
    double.catalogue.create_database("telemetry", "90d")
    now = datetime.now(UTC)
    with closing(InfluxStore(storage(double, days=30))) as store:
        store.write_telemetry(batch(*(event(now - timedelta(days=days), event_id=str(days)) for days in (29, 31))))
        query = TelemetryQuery(now - timedelta(days=60), now)
        assert [row["event_id"] for row in store.telemetry(query).rows] == ["29"]
        tallies = store.summary(SummaryQuery(query.start, query.end, 86_400)).values()
        assert sum(tally.count for tally in tallies) == 1


def test_a_range_of_any_length_is_read_in_few_pieces(double: InfluxDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    with closing(InfluxStore(storage(double, days=30))) as store:
        ages = [timedelta(days=days) for days in (0, 2, 5, 11, 29)]
        store.write_telemetry(batch(*(event(now - age, event_id=str(age.days)) for age in ages)))
        asked: list[Any] = []
        ask = store._ask
        monkeypatch.setattr(store, "_ask", lambda *question: asked.append(question) or ask(*question))
        everything = TelemetryQuery(datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
        assert [row["event_id"] for row in store.telemetry(everything).rows] == ["0", "2", "5", "11", "29"]
        assert len(asked) <= 12
        asked.clear()
        assert store.telemetry(replace(everything, end=now - timedelta(days=31))).rows == []
        assert asked == []


def test_databases_that_exist_are_left_alone(double: InfluxDouble, store: InfluxStore) -> None:
    double.catalogue.create_database("telemetry", "90d")
    store.write_telemetry(batch(event()))
    assert double.catalogue.databases["telemetry"].retention == "90d"


def test_writes_are_all_or_nothing_and_in_nanoseconds(double: InfluxDouble, store: InfluxStore) -> None:
    store.write_telemetry(batch(event()))
    assert double.last_write == {
        "org": "sentinel",
        "db": "telemetry",
        "precision": "nanosecond",
        "accept_partial": "false",
    }


def test_a_line_that_conflicts_with_a_column_s_type_is_refused_alone(double: InfluxDouble, store: InfluxStore) -> None:
    # Somebody else's table: without our columns, and with another idea of one.
    double.catalogue.create_database("telemetry", None)
    double.catalogue.create_table("telemetry", "telemetry", ["service"], [{"name": "user_id", "type": "int64"}])
    events = [event(event_id=str(n)) for n in range(300)]
    events[7] = events[201] = event(user_id="anna")
    refused = store.write_telemetry(batch(*events))
    assert [index for index, _ in refused] == [7, 201]
    assert all("user_id" in reason for _, reason in refused)
    assert len(double.points("telemetry", "telemetry")) == 298


@pytest.mark.parametrize("fault", ["500", "503", "timeout", "partial"])
def test_a_failure_says_nothing_about_the_rows_and_the_next_try_stores_them_once(
    double: InfluxDouble, store: InfluxStore, fault: Fault
) -> None:
    events = batch(*(event(event_id=str(n)) for n in range(10)))
    store.ping()
    store.write_telemetry(batch(event(), first=100))
    with double.failing(fault), pytest.raises(StoreUnavailable):
        store.write_telemetry(events)
    assert store.write_telemetry(events) == []
    assert len(store.telemetry(ALL).rows) == 11


def test_a_slow_answer_is_awaited(double: InfluxDouble, store: InfluxStore) -> None:
    with double.failing("slow"):
        assert store.write_telemetry(batch(event())) == []
    assert len(double.points("telemetry", "telemetry")) == 1


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (None, None), ("soon", None), ("-3", 0.0)])
def test_the_server_may_say_when_to_come_back(
    double: InfluxDouble, store: InfluxStore, header: str | None, seconds: float | None
) -> None:
    double.retry_after = header
    with double.failing("503"), pytest.raises(StoreUnavailable) as caught:
        store.write_telemetry(batch(event()))
    assert caught.value.retry_after == seconds


def test_a_server_that_was_away_is_used_again_with_what_it_held(double: InfluxDouble, store: InfluxStore) -> None:
    store.write_telemetry(batch(event()))
    assert len(store.telemetry(ALL).rows) == 1
    double.stop()
    with pytest.raises(StoreUnavailable):
        store.write_telemetry(batch(event(), first=1))
    with pytest.raises(StoreUnavailable):
        store.telemetry(ALL)
    with pytest.raises(StoreUnavailable):
        store.ping()
    double.start()
    assert store.write_telemetry(batch(event(), first=1)) == []
    assert len(InfluxStore(storage(double)).telemetry(ALL).rows) == 2


def test_a_wrong_token_condemns_no_row(double: InfluxDouble, store: InfluxStore) -> None:
    store.write_telemetry(batch(event()))
    double.token = "another"
    with pytest.raises(StoreUnavailable, match="401"):
        store.write_telemetry(batch(event()))
    with pytest.raises(StoreUnavailable):
        store.telemetry(ALL)


def test_detections_go_to_a_database_of_their_own(double: InfluxDouble, store: InfluxStore) -> None:
    store.write_detections([detection()])
    assert len(double.points("detections", "detections")) == 1
    assert double.points("telemetry", "telemetry") == []


def test_large_writes_travel_compressed_and_arrive_whole(double: InfluxDouble) -> None:
    store = InfluxStore(storage(double, timeout_secs=30))
    store.write_telemetry(batch(*(event(event_id=f"{n:0100}") for n in range(5000))))
    store.close()
    assert len(double.points("telemetry", "telemetry")) == 5000
    assert double.last_encoding == "gzip"


class TestTheDouble:
    """It refuses what InfluxDB 3 refuses, in its words."""

    write = "/api/v3/write_lp?db=lab&accept_partial="

    def test_a_column_keeps_its_first_type(self, double: InfluxDouble) -> None:
        assert post(double, self.write + "false", "t,a=x v=1.5 1") == (204, {})
        status, answer = post(double, self.write + "false", "t,a=x v=2.5 2\nt,a=x v=3i 3")
        assert status == 400
        assert answer == {
            "error": "parsing failed for write_lp endpoint",
            "data": {
                "original_line": "t,a=x v=3i 3",
                "line_number": 2,
                "error_message": "invalid column type for column 'v', expected iox::column_type::field::float,"
                " got iox::column_type::field::integer",
            },
        }
        assert len(double.points("lab", "t")) == 1

    def test_a_tag_is_no_field(self, double: InfluxDouble) -> None:
        post(double, self.write + "true", "t,a=x v=1.5 1")
        status, answer = post(double, self.write + "true", 't a="y" 2\nt,a=z v=1.0 3')
        assert (status, answer["error"]) == (400, "partial write of line protocol occurred")
        assert [item["line_number"] for item in answer["data"]] == [1]
        assert len(double.points("lab", "t")) == 2

    @pytest.mark.parametrize(
        "line", ["t", "t v=", "t,a= v=1", "t,a=b\\\\ v=1", "t v=1 noon", 't v="open 1', ",a=b v=1"]
    )
    def test_malformed_lines(self, double: InfluxDouble, line: str) -> None:
        assert post(double, self.write + "false", line)[0] == 400

    def test_equal_points_overwrite_each_other(self, double: InfluxDouble) -> None:
        post(double, self.write + "false", 't,a=x v=1.0,w="kept" 5\nt,a=y v=2.0 5')
        post(double, self.write + "false", "t,a=x v=9.0 5")
        assert sorted((point["a"], point["v"], point.get("w")) for point in double.points("lab", "t")) == [
            ("x", 9.0, "kept"),
            ("y", 2.0, None),
        ]

    def test_tokens_and_databases_are_checked(self, double: InfluxDouble) -> None:
        assert post(double, self.write + "false", "t v=1 1", token="wrong")[0] == 401
        for name in "abcde":
            assert post(double, "/api/v3/configure/database", json.dumps({"db": name}))[0] == 200
        assert post(double, "/api/v3/configure/database", json.dumps({"db": "a"}))[0] == 409
        assert post(double, "/api/v3/configure/database", json.dumps({"db": "f"}))[0] == 422

    def test_an_unknown_database_cannot_be_asked(self, double: InfluxDouble) -> None:
        store = InfluxStore(storage(double))
        store._prepared = True
        with pytest.raises(StoreUnavailable, match="database not found"):
            store.telemetry(ALL)
        store.close()

    def test_a_newline_inside_quotes_ends_no_line(self, double: InfluxDouble) -> None:
        assert post(double, self.write + "false", 't v="a\nb" 1\nt v="c" 2')[0] == 204
        assert {point["v"] for point in double.points("lab", "t")} == {"a\nb", "c"}
