"""Health: what the web needs is asked under a deadline, and what is down is named."""

from __future__ import annotations

import re
import threading

import pytest
from django.test import Client

from sentinel_site import health
from sentinel_site.health import Component
from tests.support import catalogue
from tests.support.catalogue import bearer

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def fail() -> None:
    raise ConnectionRefusedError("user:password@db.internal")


@pytest.fixture
def components(monkeypatch):
    """Sets the components by name and probe; `database` is the critical one."""

    def use(**probes):
        made = [Component(name, probe, critical=name == "database") for name, probe in probes.items()]
        monkeypatch.setattr(health, "COMPONENTS", made)
        monkeypatch.setattr(health, "_running", {})

    return use


def test_live_answers_without_asking_anything(client, components):
    components(database=fail)
    answer = client.get("/health/live")
    assert answer.status_code == 200
    assert answer.json()["status"] == "healthy"
    assert TIMESTAMP.fullmatch(answer.json()["timestamp"])


def test_ready_names_every_component_with_its_latency(client, components):
    components(database=lambda: None, redis=lambda: None)
    answer = client.get("/health/ready")
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "healthy")
    assert set(body) == {"status", "timestamp", "version", "components"}
    assert [part["name"] for part in body["components"]] == ["database", "redis"]
    for part in body["components"]:
        assert (part["status"], part["error"]) == ("healthy", None)
        assert part["latency_ms"] >= 0


def test_without_the_database_the_web_is_not_ready(client, components):
    components(database=fail, redis=lambda: None)
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")


def test_without_anything_else_it_is_degraded_and_says_what_is_down(client, components):
    components(database=lambda: None, redis=fail)
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    part = answer.json()["components"][1]
    assert (part["name"], part["status"], part["error"]) == ("redis", "unhealthy", "ConnectionRefusedError")
    assert b"password" not in answer.content


def test_a_component_that_hangs_is_given_up_and_not_asked_twice(client, components, monkeypatch):
    monkeypatch.setattr(health, "DEADLINE_S", 0.05)
    asked, release = [], threading.Event()

    def hang() -> None:
        asked.append(1)
        release.wait(30)

    components(database=lambda: None, redis=hang)
    try:
        for _ in range(3):
            answer = client.get("/health/ready")
            assert answer.json()["status"] == "degraded"
            assert answer.json()["components"][1]["error"] == "no answer within 0.05 s"
        assert len(asked) == 1
    finally:
        release.set()


@pytest.mark.django_db(transaction=True)
def test_the_real_components_answer(client):
    answer = client.get("/health/startup")
    names = [part["name"] for part in answer.json()["components"]]
    assert names == ["database", "redis", "broker", "telemetry store", "migrations"]
    broken = [part for part in answer.json()["components"] if part["status"] != "healthy"]
    assert (answer.status_code, broken) == (200, [])


@pytest.mark.django_db
def test_metrics_are_prometheus_text_for_those_who_may_read(client):
    answer = client.get("/metrics", headers=bearer(catalogue.token("read")[1]))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert b"# HELP django_http_requests" in answer.content


@pytest.mark.django_db
def test_metrics_are_closed_unless_the_configuration_opens_them(client, settings):
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=bearer("wrong")).status_code == 401
    api = settings.SENTINEL.api.model_copy(update={"metrics_open": True})
    settings.SENTINEL = settings.SENTINEL.model_copy(update={"api": api})
    assert client.get("/metrics").status_code == 200


def test_a_probe_over_plain_http_is_answered_where_people_are_sent_to_https(client, components, settings):
    components()
    settings.SECURE_SSL_REDIRECT = True
    assert client.get("/health/ready").status_code == 200
    assert client.get("/admin/").headers["Location"].startswith("https://")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/health/startup", "/metrics"])
def test_a_post_is_a_method_that_is_not_allowed_and_not_a_forged_form(path):
    answer = Client(enforce_csrf_checks=True).post(path, {"a": "b"})
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"
