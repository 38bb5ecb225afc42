"""Who may ask for which route: every route of the URLconf stands in the matrix, or the test fails."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver

from anomalies.models import Anomaly
from tests.support import catalogue
from tests.support.catalogue import bearer

pytestmark = pytest.mark.django_db

ROLES = (
    "nobody",
    "without group",
    "viewer",
    "operator",
    "admin",
    "token without scope",
    "token ingest",
    "token read",
    "token write",
    "token admin",
)
READERS = {"viewer", "operator", "admin", "token read", "token admin"}
WRITERS = {"operator", "admin", "token write", "token admin"}
INGESTERS = {"admin", "token ingest", "token admin"}
PEOPLE = {"viewer", "operator", "admin"}
ALL = set(ROLES)

MATRIX: dict[str, dict[str, set[str]]] = {
    # Pages are for people who are signed in: others, programs too, are led to the login.
    "": {"GET": ALL - {"without group"}},
    "incidents/<uuid:incident_id>": {"GET": ALL - {"without group"}},
    "incidents/<uuid:incident_id>/acknowledge": {"POST": ALL - {"without group", "viewer"}},
    "incidents/<uuid:incident_id>/resolve": {"POST": ALL - {"without group", "viewer"}},
    "incidents/<uuid:incident_id>/feedback": {"POST": ALL - {"without group", "viewer"}},
    "dashboard/data": {"GET": PEOPLE},
    "incidents/<uuid:incident_id>/data": {"GET": PEOPLE},
    "live/": {"GET": PEOPLE},
    "alerts/acknowledge/<path:token>": {"GET": ALL, "POST": ALL},  # who holds the signed link
    "health/live": {"GET": ALL},
    "health/ready": {"GET": ALL},
    "health/startup": {"GET": ALL},
    "login/oidc/": {"GET": ALL},  # a 404 while single sign-on is not set up
    "login/oidc/callback": {"GET": ALL},
    "metrics": {"GET": READERS},
    "api/v1/anomalies": {"GET": READERS},
    "api/v1/anomalies/recent": {"GET": READERS},
    "api/v1/anomalies/<uuid:anomaly_id>": {"GET": READERS},
    "api/v1/anomalies/<uuid:anomaly_id>/acknowledge": {"POST": WRITERS},
    "api/v1/anomalies/<uuid:anomaly_id>/resolve": {"POST": WRITERS},
    "api/v1/anomalies/<uuid:anomaly_id>/feedback": {"POST": WRITERS},
    "api/v1/feedback/summary": {"GET": READERS},
    "api/v1/incidents": {"GET": READERS},
    "api/v1/incidents/<uuid:incident_id>": {"GET": READERS},
    "api/v1/incidents/<uuid:incident_id>/acknowledge": {"POST": WRITERS},
    "api/v1/incidents/<uuid:incident_id>/resolve": {"POST": WRITERS},
    "api/v1/detection-overrides": {"GET": READERS, "POST": WRITERS},
    "api/v1/detection-overrides/<int:override_id>": {"GET": READERS, "PATCH": WRITERS, "DELETE": WRITERS},
    "api/v1/alert-rules": {"GET": READERS, "POST": WRITERS},
    "api/v1/alert-rules/preview": {"POST": WRITERS},
    "api/v1/alert-rules/<int:rule_id>": {"GET": READERS, "PATCH": WRITERS, "DELETE": WRITERS},
    "api/v1/channels": {"GET": READERS, "POST": WRITERS},
    "api/v1/channels/preview": {"POST": WRITERS},
    "api/v1/channels/<int:channel_id>": {"GET": READERS, "PATCH": WRITERS, "DELETE": WRITERS},
    "api/v1/channels/<int:channel_id>/test": {"POST": WRITERS},
    "api/v1/silences": {"GET": READERS, "POST": WRITERS},
    "api/v1/silences/<int:silence_id>": {"GET": READERS, "PATCH": WRITERS, "DELETE": WRITERS},
    "api/v1/silences/<int:silence_id>/end": {"POST": WRITERS},
    "api/v1/inhibitions": {"GET": READERS, "POST": WRITERS},
    "api/v1/inhibitions/<int:inhibition_id>": {"GET": READERS, "PATCH": WRITERS, "DELETE": WRITERS},
    "api/v1/thresholds": {"GET": READERS, "POST": WRITERS},
    "api/v1/thresholds/<int:threshold_id>": {"GET": READERS, "PATCH": WRITERS, "DELETE": WRITERS},
    "api/v1/budgets": {"GET": READERS, "POST": WRITERS},
    "api/v1/budgets/<int:budget_id>": {"GET": READERS, "PATCH": WRITERS, "DELETE": WRITERS},
    "api/v1/deliveries": {"GET": READERS},
    "api/v1/deliveries/<uuid:delivery_id>": {"GET": READERS},
    "api/v1/baselines": {"GET": READERS},
    "api/v1/services": {"GET": READERS},
    "api/v1/services/<path:name>/retire": {"POST": WRITERS},
    "api/v1/annotations": {"GET": READERS, "POST": WRITERS},
    "api/v1/telemetry": {"GET": READERS},
    "api/v1/telemetry/summary": {"GET": READERS},
    "api/v1/events": {"POST": INGESTERS},
    "v1/traces": {"POST": INGESTERS},
    "v1/metrics": {"POST": INGESTERS},
    "v1/logs": {"POST": INGESTERS},
    "api/v1/schema/": {"GET": READERS},
    "api/v1/docs/": {"GET": READERS},
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REFUSED = {401, 403}
OPEN_ANSWERS = {200, 302, 404, 503}
PLACEHOLDER = re.compile("<(?P<kind>[a-z]+):(?P<name>[a-z_]+)>")


def routes(patterns: list[object] | None = None, prefix: str = "") -> Iterator[str]:
    """Every route outside the admin, which keeps its own permissions (test_admin)."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(pattern.pattern)
        if route.startswith("admin/"):
            continue
        if isinstance(pattern, URLPattern):
            yield route
        else:
            yield from routes(pattern.url_patterns, route)


@pytest.fixture
def clients() -> dict[str, Client]:
    """One client per role."""
    made = {role: Client(raise_request_exception=False) for role in ROLES}
    for role in ("without group", "viewer", "operator", "admin"):
        made[role].force_login(catalogue.person(role, None if role == "without group" else role))
    for role in (role for role in ROLES if role.startswith("token")):
        scope = role.removeprefix("token ")
        secret = catalogue.token(*([] if scope == "without scope" else [scope]))[1]
        made[role].defaults["HTTP_AUTHORIZATION"] = bearer(secret)["authorization"]
    return made


def ask(client: Client, method: str, route: str, anomaly: Anomaly | None = None) -> int:
    """The status of asking for a route, about an anomaly or about things that do not exist."""
    known = {"anomaly_id": anomaly.pk, "incident_id": anomaly.incident_id} if anomaly else {}
    missing = {"uuid": uuid.uuid4(), "int": 0, "path": "unknown"}
    path = "/" + PLACEHOLDER.sub(lambda found: str(known.get(found["name"], missing[found["kind"]])), route)
    return client.generic(method, path, data="{}", content_type="application/json").status_code


def test_the_matrix_names_every_route_and_nothing_else():
    assert set(routes()) == set(MATRIX)


@pytest.mark.parametrize("route", sorted(MATRIX))
def test_a_route_admits_its_roles_and_refuses_all_others(clients, route):
    anomaly = catalogue.anomaly()
    for method, admitted in MATRIX[route].items():
        answers = {role: ask(client, method, route, anomaly) for role, client in clients.items()}
        assert {role for role, code in answers.items() if code not in REFUSED} == admitted, answers
        assert answers["nobody"] in ({401} if "nobody" not in admitted else OPEN_ANSWERS), answers


@pytest.mark.parametrize("route", sorted(route for route in MATRIX if route))
def test_a_method_that_a_route_does_not_name_does_nothing_for_anybody(clients, route):
    named = set(MATRIX[route]) | {"OPTIONS"} | ({"HEAD"} if "GET" in MATRIX[route] else set())
    for method in set(METHODS) - named:
        code = ask(clients["admin"], method, route)
        assert code in {403, 405}, (method, code)
        assert ask(clients["nobody"], method, route) in {401, 405}, method


@pytest.mark.parametrize("route", sorted(route for route in MATRIX if route.startswith("api/") and "docs" not in route))
def test_everybody_who_is_known_may_ask_for_the_methods_of_a_route(clients, route):
    for role, client in clients.items():
        assert ask(client, "OPTIONS", route) == (401 if role == "nobody" else 200), role
