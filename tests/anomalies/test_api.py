"""The API of anomalies: filters, pages, actions."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomalies.models import Anomaly
from tests.support import catalogue
from tests.support.catalogue import NOON, bearer

pytestmark = pytest.mark.django_db

LIST = "/api/v1/anomalies"
THAT_DAY = {"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"}


@pytest.fixture
def ask(client):
    """GET with a token that may read everything."""
    headers = bearer(catalogue.token("read", "write")[1])
    return lambda path=LIST, **query: client.get(path, query, headers=headers)


@pytest.fixture
def send(client):
    """POST with a token that may write everything."""
    headers = bearer(catalogue.token("write", name="deploy-bot")[1])
    return lambda path, body=None: client.post(path, body or {}, content_type="application/json", headers=headers)


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["anomalies"]]


def test_a_row_says_everything_about_its_anomaly(ask):
    anomaly = catalogue.anomaly(lasts=timedelta(seconds=70))
    answer = ask(**THAT_DAY).json()
    assert answer["count"] == 1
    assert answer["next"] is None
    assert answer["anomalies"] == [
        {
            "id": str(anomaly.id),
            "incident_id": str(anomaly.incident_id),
            "timestamp": "2026-03-02T12:00:00Z",
            "first_seen": "2026-03-02T12:00:00Z",
            "last_seen": "2026-03-02T12:01:10Z",
            "service": "chat-api",
            "model": "gpt-4",
            "metric": "latency_ms",
            "type": "latency_spike",
            "direction": "up",
            "detector": "zscore",
            "detectors": {"zscore": 19.9, "mad": 4.2},
            "value": 15234.5,
            "baseline_mean": 1234.5,
            "baseline_stddev": 234.2,
            "baseline_median": 1200.0,
            "lower": 531.9,
            "upper": 1937.1,
            "z_score": 59.8,
            "score": 19.9,
            "severity": "critical",
            "confidence": None,
            "occurrences": 3,
            "state": "active",
            "status": "open",
            "acknowledged_by": None,
            "acknowledged_at": None,
            "acknowledged_until": None,
            "assignee": None,
            "resolved_by": None,
            "resolved_at": None,
            "note": "",
            "dimensions": [],
            "details": {},
            "sample_trace_ids": [],
            "feedback": None,
        }
    ]


@pytest.mark.parametrize(
    ("parameter", "value", "column"),
    [
        ("severity", "info", "severity"),
        ("model", "gpt-5", "model"),
        ("metric", "cost_usd", "metric"),
        ("detector", "cusum", "detector"),
        ("type", "cost_anomaly", "type"),
        ("status", "resolved", "status"),
        ("state", "ended", "state"),
    ],
)
def test_a_filter_selects_by_its_column(ask, parameter, value, column):
    catalogue.anomaly()
    wanted = catalogue.anomaly(**{column: value})
    assert ids(ask(**THAT_DAY, **{parameter: value})) == [str(wanted.id)]


def test_the_filter_by_service_selects_by_its_whole_name(ask):
    catalogue.anomaly(catalogue.service("search-2"))
    wanted = catalogue.anomaly(catalogue.service("search"))
    assert ids(ask(**THAT_DAY, service="search")) == [str(wanted.id)]
    assert ids(ask(**THAT_DAY, service="sear")) == []


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        ("2026-03-02T11:00:00Z", "2026-03-02T11:59:59Z", False),
        ("2026-03-02T11:00:00Z", "2026-03-02T12:00:00Z", True),
        ("2026-03-02T12:10:00Z", "2026-03-02T12:20:00Z", True),
        ("2026-03-02T12:30:00Z", "2026-03-02T13:00:00Z", True),
        ("2026-03-02T12:30:01Z", "2026-03-02T13:00:00Z", False),
        ("2026-03-02T13:10:00%2B01:00", "2026-03-02T13:20:00%2B01:00", True),
        ("2026-03-02T12:10:00", "2026-03-02T12:20:00", True),
    ],
)
def test_a_range_selects_the_episodes_that_overlap_it(ask, start, end, found):
    catalogue.anomaly(lasts=timedelta(minutes=30))
    assert bool(ids(ask(f"{LIST}?start={start}&end={end}"))) is found


def test_without_a_range_the_last_24_hours_count_and_hours_widen_it(ask):
    now = timezone.now()
    old = catalogue.anomaly(at=now - timedelta(hours=30))
    new = catalogue.anomaly(at=now - timedelta(hours=23))
    assert ids(ask()) == [str(new.id)]
    assert ids(ask(hours=48)) == [str(new.id), str(old.id)]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("severity=fatal", "severity"),
        ("status=closed", "status"),
        ("type=latency", "type"),
        ("detector=zscores", "detector"),
        ("metric=latency", "metric"),
        ("hours=0", "hours"),
        ("hours=nan", "hours"),
        ("start=yesterday", "start"),
        ("start=2026-03-02T00:00:00Z&end=2026-03-01T00:00:00Z", "start"),
        ("end=0001-01-01T00:00:00Z", "hours"),
        ("severty=critical", "severty"),
        ("service=", "service"),
        ("model=%00", "model"),
        ("limit=1&limit=2", "limit"),
        ("cursor=abc", "cursor"),
        ("cursor=%C3%A9", "cursor"),
        ("cursor=WyJ4IiwieSJd", "cursor"),
    ],
)
def test_a_bad_parameter_is_a_400_that_names_it(ask, query, field):
    answer = ask(f"{LIST}?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]


@pytest.mark.parametrize(
    ("parameter", "allowed"),
    [("type", "latency_spike"), ("detector", "zscore"), ("metric", "latency_ms"), ("severity", "critical")],
)
def test_a_name_that_does_not_exist_is_answered_with_those_that_do(ask, parameter, allowed):
    for path in (LIST, "/api/v1/incidents") if parameter in ("type", "severity") else (LIST,):
        (message,) = ask(path, **{parameter: "nothing"}).json()["errors"][parameter]
        assert '"nothing"' in message
        assert allowed in message


def test_recent_gives_the_newest_however_old(ask):
    made = [catalogue.anomaly(at=NOON + timedelta(minutes=minute)) for minute in range(4)]
    assert ids(ask(f"{LIST}/recent", limit=3)) == [str(anomaly.id) for anomaly in made[:0:-1]]


def test_names_of_any_script_come_back_as_they_were_sent(ask):
    hostile = '<script>alert("x")</script>\u202e\u0000'.replace("\u0000", "")
    catalogue.anomaly(model=hostile)
    assert ask(**THAT_DAY).json()["anomalies"][0]["model"] == hostile


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(minutes=st.lists(st.integers(0, 3), max_size=12), limit=st.integers(1, 5))
def test_pages_together_are_the_whole_list_without_gap_or_repeat(ask, minutes, limit):
    Anomaly.objects.all().delete()
    for minute in minutes:
        catalogue.anomaly(at=NOON + timedelta(minutes=minute))
    whole = ids(ask(**THAT_DAY))
    seen, query = [], dict(THAT_DAY, limit=limit)
    while True:
        answer = ask(**query)
        page = ids(answer)
        assert len(page) == answer.json()["count"] <= limit
        seen += page
        if answer.json()["next"] is None:
            break
        query["cursor"] = answer.json()["next"]
    assert seen == whole
    assert len(set(seen)) == len(minutes)
    newest = Anomaly.objects.order_by("-first_seen", "-id").values_list("id", flat=True)
    assert whole == [str(identity) for identity in newest]


def test_rows_that_arrive_while_one_leafs_shift_no_page(ask):
    made = [catalogue.anomaly(at=NOON + timedelta(minutes=minute)) for minute in range(3)]
    first = ask(**THAT_DAY, limit=2).json()
    catalogue.anomaly(at=NOON + timedelta(hours=1))
    assert ids(ask(**THAT_DAY, limit=2, cursor=first["next"])) == [str(made[0].id)]


def test_a_list_costs_the_same_queries_however_long(ask, django_assert_num_queries):
    for _ in range(30):
        catalogue.anomaly()
    ask(**THAT_DAY)  # the first use of a token notes it
    with django_assert_num_queries(2):
        assert len(ids(ask(**THAT_DAY))) == 30


def test_acknowledging_answers_with_the_anomaly_as_it_is_then(send):
    anomaly = catalogue.anomaly()
    until = (timezone.now() + timedelta(hours=1)).isoformat()
    body = {"note": "looking", "assignee": "bob", "expires_at": until}
    row = send(f"{LIST}/{anomaly.id}/acknowledge", body).json()
    assert (row["id"], row["status"], row["acknowledged_by"]) == (str(anomaly.id), "acknowledged", "deploy-bot")
    assert (row["note"], row["assignee"]) == ("looking", "bob")
    assert row["acknowledged_until"] is not None


def test_acknowledging_needs_no_body_and_can_be_repeated(send):
    anomaly = catalogue.anomaly()
    first = send(f"{LIST}/{anomaly.id}/acknowledge")
    assert first.status_code == 200
    assert send(f"{LIST}/{anomaly.id}/acknowledge").json() == first.json()
    assert anomaly.transitions.count() == 1


def test_resolving_answers_with_the_anomaly_as_it_is_then(send):
    anomaly = catalogue.anomaly()
    row = send(f"{LIST}/{anomaly.id}/resolve", {"note": "restarted"}).json()
    assert (row["status"], row["resolved_by"], row["note"]) == ("resolved", "deploy-bot", "restarted")
    assert send(f"{LIST}/{anomaly.id}/resolve").json() == row


def test_acknowledging_a_resolved_anomaly_is_a_conflict(send):
    anomaly = catalogue.anomaly(status="resolved")
    assert send(f"{LIST}/{anomaly.id}/acknowledge").status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"assignee": "x" * 151}, "assignee"),
        ({"status": "resolved"}, "status"),
        ({"note": ["a"]}, "note"),
        ([1], "non_field_errors"),
    ],
)
def test_a_bad_body_is_a_400_that_names_the_field(send, body, field):
    anomaly = catalogue.anomaly()
    answer = send(f"{LIST}/{anomaly.id}/acknowledge", body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert Anomaly.objects.get().status == "open"


@pytest.mark.parametrize("act", ["acknowledge", "resolve"])
def test_acting_on_an_unknown_anomaly_is_a_404(send, act):
    assert send(f"{LIST}/{uuid.uuid4()}/{act}").status_code == 404


def test_other_projects_anomalies_can_neither_be_seen_nor_changed(client):
    mine = catalogue.anomaly(catalogue.service("mine", of="blue"))
    theirs = catalogue.anomaly(catalogue.service("theirs", of="red"))
    headers = bearer(catalogue.token("admin", of="blue")[1])
    assert ids(client.get(LIST, THAT_DAY, headers=headers)) == [str(mine.id)]
    assert ids(client.get(f"{LIST}/recent", headers=headers)) == [str(mine.id)]
    assert ids(client.get(LIST, THAT_DAY | {"service": "theirs"}, headers=headers)) == []
    assert client.get(f"{LIST}/{theirs.id}", headers=headers).status_code == 404
    for act in ("acknowledge", "resolve"):
        assert client.post(f"{LIST}/{theirs.id}/{act}", headers=headers).status_code == 404
    assert Anomaly.objects.get(pk=theirs.pk).status == "open"
