"""The API of baselines and services."""

from __future__ import annotations

import pytest

from tests.support import catalogue
from tests.support.catalogue import bearer

pytestmark = pytest.mark.django_db

BASELINES = "/api/v1/baselines"
SERVICES = "/api/v1/services"


@pytest.fixture
def ask(client):
    headers = bearer(catalogue.token("read")[1])
    return lambda path, **query: client.get(path, query, headers=headers)


def keys(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["key"] for row in answer.json()["baselines"]]


def test_a_baseline_says_what_is_normal(ask):
    catalogue.baseline(mean=1234.5, p99=2000.25)
    answer = ask(BASELINES).json()
    row = answer["baselines"][0]
    assert (answer["count"], answer["next"]) == (1, None)
    assert row["key"] == "chat-api:gpt-4:latency_ms"
    assert (row["samples"], row["mean"], row["median"], row["p99"]) == (500, 1234.5, 1.5, 2000.25)
    assert "id" not in row


@pytest.mark.parametrize(("parameter", "value"), [("service", "b"), ("model", "gpt-5"), ("metric", "cost_usd")])
def test_a_filter_selects_baselines(ask, parameter, value):
    catalogue.baseline("a")
    series = {"service": "a", "model": "gpt-4", "metric": "latency_ms"} | {parameter: value}
    catalogue.baseline(series["service"], model=series["model"], metric=series["metric"])
    assert keys(ask(BASELINES, **{parameter: value})) == [":".join(series.values())]


def test_pages_of_baselines_follow_one_another(ask):
    for name in ("c", "a", "b"):
        catalogue.baseline(name)
    catalogue.baseline("b", partition=1)
    first = ask(BASELINES, limit=2).json()
    second = ask(BASELINES, limit=2, cursor=first["next"])
    assert [row["service"] for row in first["baselines"]] == ["a", "b"]
    assert [row["service"] for row in second.json()["baselines"]] == ["b", "c"]
    assert second.json()["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "q=1", "cursor=x", "service="])
def test_a_bad_parameter_is_a_400(ask, query):
    assert ask(f"{BASELINES}?{query}").status_code == 400


def test_services_are_listed_with_their_models(ask):
    catalogue.service("chat-api", models=("gpt-4", "gpt-5"))
    catalogue.baseline("chat-api", metric="latency_ms", samples=500)
    catalogue.baseline("chat-api", metric="cost_usd", samples=400)
    catalogue.baseline("chat-api", model="gpt-5", samples=3)
    seen = "2026-03-02T12:00:00Z"
    assert ask(SERVICES).json() == {
        "services": [
            {
                "name": "chat-api",
                "project": "default",
                "labels": {},
                "models": [
                    {"model": "gpt-4", "last_seen": seen, "watch": "ready", "samples": 500},
                    {"model": "gpt-5", "last_seen": seen, "watch": "warming", "samples": 3},
                ],
            }
        ]
    }


def test_services_cost_the_same_queries_however_many(ask, django_assert_num_queries):
    for number in range(10):
        catalogue.service(f"service-{number}", models=("a", "b"))
    ask(SERVICES)  # the first use of a token notes it
    with django_assert_num_queries(4):
        ask(SERVICES)


def test_other_projects_services_and_baselines_are_not_shown(client):
    catalogue.service("mine", of="blue")
    catalogue.service("theirs", of="red")
    catalogue.baseline("mine")
    catalogue.baseline("theirs")
    headers = bearer(catalogue.token("read", of="blue")[1])
    assert keys(client.get(BASELINES, headers=headers)) == ["mine:gpt-4:latency_ms"]
    assert [row["name"] for row in client.get(SERVICES, headers=headers).json()["services"]] == ["mine"]
