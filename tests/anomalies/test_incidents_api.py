"""The API of incidents: list, one, actions on all of its anomalies."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from anomalies.models import Anomaly, Incident
from tests.anomalies.episodes import episode, record
from tests.support import catalogue
from tests.support.catalogue import NOON, bearer

pytestmark = pytest.mark.django_db

LIST = "/api/v1/incidents"
THAT_DAY = {"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"}


@pytest.fixture
def ask(client):
    headers = bearer(catalogue.token("read", name="reader")[1])
    return lambda path=LIST, **query: client.get(path, query, headers=headers)


@pytest.fixture
def send(client):
    headers = bearer(catalogue.token("write", name="deploy-bot")[1])
    return lambda path, body=None: client.post(path, body or {}, content_type="application/json", headers=headers)


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["incidents"]]


def test_an_incident_says_what_happened_and_what_showed_it(ask):
    faults = [episode(1, 0, 60), episode(2, 20, 90, metric="cost_usd", severity="critical")]
    record(faults)
    answer = ask(**THAT_DAY).json()
    row = answer["incidents"][0]
    members = row.pop("anomalies")
    assert (answer["count"], answer["next"]) == (1, None)
    assert row == {
        "id": str(Incident.objects.get().pk),
        "service": "chat-api",
        "title": "Cost anomaly in chat-api (gpt-4) and 1 more",
        "type": "cost_anomaly",
        "severity": "critical",
        "state": "active",
        "status": "open",
        "first_seen": "2026-03-02T12:00:00Z",
        "last_seen": "2026-03-02T12:01:30Z",
        "count": 2,
    }
    assert [member["id"] for member in members] == [str(one.id) for one in faults]
    assert {member["incident_id"] for member in members} == {row["id"]}
    assert ask(f"{LIST}/{row['id']}").json() == row | {"anomalies": members}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"severity": "info"}, False),
        ({"severity": "warning"}, True),
        ({"service": "chat-api"}, True),
        ({"service": "chat"}, False),
        ({"type": "latency_spike"}, True),
        ({"type": "cost_anomaly"}, False),
        ({"state": "active"}, True),
        ({"state": "ended"}, False),
        ({"status": "resolved"}, False),
        ({"end": "2026-03-02T11:59:59Z"}, False),
        ({"start": "2026-03-02T12:00:31Z"}, False),
        ({"start": "2026-03-02T12:00:30Z"}, True),
    ],
)
def test_the_list_is_filtered(ask, query, found):
    record([episode(1, 0, 30)])
    assert bool(ids(ask(**THAT_DAY | query))) is found


@pytest.mark.parametrize("query", ["limit=0", "severity=fatal", "cursor=x", "query=1", "hours=0"])
def test_a_bad_parameter_is_a_400(ask, query):
    assert ask(f"{LIST}?{query}").status_code == 400


def test_pages_follow_one_another_newest_first(ask):
    record([episode(number, number * 1000) for number in range(3)])
    first = ask(**THAT_DAY, limit=2).json()
    second = ask(**THAT_DAY, limit=2, cursor=first["next"]).json()
    seen = [row["first_seen"] for row in first["incidents"] + second["incidents"]]
    assert seen == sorted(seen, reverse=True)
    assert (len(seen), second["next"]) == (3, None)


def test_a_list_costs_the_same_queries_however_long(ask, django_assert_num_queries):
    record([episode(number, number * 1000) for number in range(30)])
    ask(**THAT_DAY)  # the first use of a token notes it
    with django_assert_num_queries(3):
        assert len(ids(ask(**THAT_DAY))) == 30


def test_a_list_shows_the_oldest_anomalies_of_a_large_incident_and_its_page_all(ask, monkeypatch):
    monkeypatch.setattr("anomalies.api.incidents.MEMBERS_IN_LIST", 3)
    record([episode(number, number) for number in range(5)])
    row = ask(**THAT_DAY).json()["incidents"][0]
    assert (row["count"], len(row["anomalies"])) == (5, 3)
    assert row["anomalies"][0]["first_seen"] == row["first_seen"]
    assert len(ask(f"{LIST}/{row['id']}").json()["anomalies"]) == 5


def test_acting_on_an_incident_acts_on_its_anomalies_and_no_others(send):
    record([episode(1, 0), episode(2, 20, metric="cost_usd"), episode(3, 5000)])
    incident = Incident.objects.get(anomaly_count=2)
    row = send(f"{LIST}/{incident.pk}/acknowledge", {"note": "looking"}).json()
    assert row["status"] == "acknowledged"
    assert {(a["status"], a["acknowledged_by"], a["note"]) for a in row["anomalies"]} == {
        ("acknowledged", "deploy-bot", "looking")
    }
    row = send(f"{LIST}/{incident.pk}/resolve").json()
    assert (row["status"], {a["status"] for a in row["anomalies"]}) == ("resolved", {"resolved"})
    assert send(f"{LIST}/{incident.pk}/resolve").json() == row
    assert send(f"{LIST}/{incident.pk}/acknowledge").status_code == 409
    assert Anomaly.objects.filter(status="open").count() == 1


def test_a_merged_incident_answers_with_the_one_it_became_part_of(ask, send):
    record([episode(1, 0), episode(2, 200, metric="cost_usd")])
    former = Incident.objects.order_by("first_seen").last()
    record([episode(3, 100, metric="ttft_ms")])
    answer = ask(f"{LIST}/{former.pk}").json()
    assert answer["id"] != str(former.pk)
    assert answer["count"] == 3
    assert send(f"{LIST}/{former.pk}/resolve").json()["status"] == "resolved"
    assert len(ids(ask(**THAT_DAY))) == 1


def test_other_projects_incidents_can_neither_be_seen_nor_changed(client):
    mine = catalogue.anomaly(catalogue.service("mine", of="blue"))
    theirs = catalogue.anomaly(catalogue.service("theirs", of="red"), at=NOON + timedelta(seconds=1))
    headers = bearer(catalogue.token("admin", of="blue")[1])
    assert ids(client.get(LIST, THAT_DAY, headers=headers)) == [str(mine.incident_id)]
    assert client.get(f"{LIST}/{theirs.incident_id}", headers=headers).status_code == 404
    for act in ("acknowledge", "resolve"):
        assert client.post(f"{LIST}/{theirs.incident_id}/{act}", headers=headers).status_code == 404
        assert client.post(f"{LIST}/{uuid.uuid4()}/{act}", headers=headers).status_code == 404
    assert Anomaly.objects.get(pk=theirs.pk).status == "open"
