"""The list of anomalies beyond its filters: queries in words, chosen fields, lines without an end."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from anomalies.models import Anomaly
from baselines.api import streaming
from tests.anomalies.test_api import LIST, THAT_DAY, ids
from tests.support import catalogue
from tests.support.catalogue import NOON, bearer

pytestmark = pytest.mark.django_db
LINES = {"accept": "application/x-ndjson"}


@pytest.fixture
def ask(client):
    """GET with a token that may read everything."""
    headers = bearer(catalogue.token("read")[1])
    return lambda path=LIST, more=None, **query: client.get(path, query, headers=headers | (more or {}))


def rows_of(answer) -> list[dict]:
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.getvalue().splitlines()]


def test_a_query_in_words_finds_what_all_of_its_terms_say(ask):
    found = catalogue.anomaly(catalogue.service("chat-eu"), severity="warning")
    catalogue.anomaly(catalogue.service("chat-eu"), status="resolved")
    catalogue.anomaly(catalogue.service("search"))
    query = "service:chat-* severity>=warning metric:latency_ms -status:resolved"
    assert ids(ask(**THAT_DAY, q=query)) == [str(found.id)]
    assert len(ids(ask(**THAT_DAY, q=""))) == 3


def test_a_query_that_cannot_be_read_is_a_400_with_its_position(ask):
    for path in (LIST, "/api/v1/incidents"):
        answer = ask(path, q="metric:latency_ms severty:info")
        assert answer.status_code == 400
        (message,) = answer.json()["errors"]["q"]
        assert "At character 19" in message
        assert "did you mean severity?" in message


def test_incidents_are_found_by_what_happened_in_them(ask):
    found = catalogue.anomaly(model="gpt-x")
    catalogue.anomaly()
    answer = ask("/api/v1/incidents", **THAT_DAY, q="gpt-x")
    assert [row["id"] for row in answer.json()["incidents"]] == [str(found.incident_id)]


def test_chosen_fields_are_given_in_their_order_and_no_others(ask):
    catalogue.anomaly()
    (row,) = ask(**THAT_DAY, fields="severity,timestamp,service,resolved_by").json()["anomalies"]
    given = {"severity": "critical", "timestamp": "2026-03-02T12:00:00Z", "service": "chat-api", "resolved_by": None}
    assert list(row.items()) == list(given.items())


def test_a_page_of_chosen_fields_leads_to_the_next(ask):
    made = [catalogue.anomaly(at=NOON - timedelta(minutes=minute)) for minute in range(3)]
    first = ask(**THAT_DAY, fields="model", limit=2).json()
    rest = ask(**THAT_DAY, fields="id", limit=2, cursor=first["next"]).json()
    assert rest == {"anomalies": [{"id": str(made[2].id)}], "count": 1, "next": None}


@pytest.mark.parametrize("wrong", ["sevrity", "id,,model", "service__name", "incident.id"])
def test_a_field_that_does_not_exist_is_a_400_that_names_those_that_do(ask, wrong):
    answer = ask(fields=wrong)
    assert answer.status_code == 400
    assert "acknowledged_by" in answer.json()["errors"]["fields"][0]


@pytest.mark.parametrize("asked", [{"more": LINES}, {"format": "ndjson"}])
def test_lines_hold_the_whole_range_and_the_same_rows(ask, asked, monkeypatch):
    monkeypatch.setattr(streaming, "ROWS_AT_ONCE", 2)
    for minute in range(5):
        catalogue.anomaly(at=NOON - timedelta(minutes=minute))
    catalogue.anomaly(at=NOON - timedelta(days=3))
    assert rows_of(ask(**asked, **THAT_DAY)) == ask(**THAT_DAY).json()["anomalies"]
    assert len(rows_of(ask(**asked, **THAT_DAY, limit=3))) == 3


def test_lines_are_read_a_page_at_a_time(ask, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(streaming, "ROWS_AT_ONCE", 2)
    for minute in range(5):
        catalogue.anomaly(at=NOON - timedelta(minutes=minute))
    answer = ask(more=LINES, **THAT_DAY)
    content = iter(answer.streaming_content)
    with django_assert_num_queries(0):
        assert len(next(content).splitlines()) == 2
    with django_assert_num_queries(1):
        assert len(next(content).splitlines()) == 2
    Anomaly.objects.all().delete()
    assert list(content) == []


def test_what_is_wrong_with_a_question_for_lines_is_a_problem_document(ask):
    answer = ask(more=LINES, severity="fatal")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert ask(format="xml").json()["errors"]["format"]


def test_lines_show_no_row_of_another_project(client):
    mine = catalogue.anomaly(catalogue.service("mine", of="blue"))
    catalogue.anomaly(catalogue.service("theirs", of="red"))
    headers = bearer(catalogue.token("read", of="blue")[1]) | LINES
    assert [row["id"] for row in rows_of(client.get(LIST, THAT_DAY, headers=headers))] == [str(mine.id)]
    assert rows_of(client.get(LIST, THAT_DAY | {"q": "theirs"}, headers=headers)) == []
