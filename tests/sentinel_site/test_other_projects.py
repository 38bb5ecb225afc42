"""Nothing of another project: every route of the API and of the pages, for people and for tokens."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from anomalies.models import Anomaly
from tests.sentinel_site.test_role_matrix import MATRIX, PLACEHOLDER
from tests.support import catalogue
from tests.support.catalogue import bearer
from tests.support.world import MAKERS, World

pytestmark = pytest.mark.django_db

MARK = "theirs"
# What a placeholder of a route stands for: the label of a model, and what of its row is put in.
OBJECTS: dict[str, tuple[str, Callable[[Model], object]]] = {
    "anomaly_id": ("anomalies.anomaly", lambda row: row.pk),
    "incident_id": ("anomalies.incident", lambda row: row.pk),
    "override_id": ("anomalies.detectionoverride", lambda row: row.pk),
    "rule_id": ("alerting.alertrule", lambda row: row.pk),
    "channel_id": ("alerting.channel", lambda row: row.pk),
    "silence_id": ("alerting.silence", lambda row: row.pk),
    "inhibition_id": ("alerting.inhibition", lambda row: row.pk),
    "threshold_id": ("alerting.threshold", lambda row: row.pk),
    "budget_id": ("alerting.budget", lambda row: row.pk),
    "delivery_id": ("alerting.delivery", lambda row: row.pk),
    "name": ("baselines.service", lambda row: row.name),
}
BY_ITSELF = {"token"}
"""Placeholders that are a proof of their own."""
ROUTES = sorted((route, method) for route, methods in MATRIX.items() for method in methods)
WITH_OBJECT = [pair for pair in ROUTES if PLACEHOLDER.search(pair[0]) and "token" not in pair[0]]
LISTS = [route for route, method in ROUTES if method == "GET" and not PLACEHOLDER.search(route)]
LISTS = [route for route in LISTS if route != "live/"]  # it says that something changed, not what, and does not end


@pytest.fixture
def askers() -> list[Client]:
    """A person and a program of project blue who may do everything there."""
    person, program = Client(), Client()
    person.force_login(catalogue.person("ada", "admin", projects=("blue",)))
    program.defaults["HTTP_AUTHORIZATION"] = bearer(catalogue.token("admin", of="blue")[1])["authorization"]
    return [person, program]


def test_every_placeholder_of_a_route_is_known_here():
    placeholders = {found["name"] for route in MATRIX for found in PLACEHOLDER.finditer(route)}
    assert placeholders == set(OBJECTS) | BY_ITSELF


@pytest.mark.parametrize(("route", "method"), WITH_OBJECT)
def test_a_row_of_another_project_is_answered_like_one_that_does_not_exist(askers, route, method):
    label, value = OBJECTS[PLACEHOLDER.search(route)["name"]]
    row = MAKERS[label](World("red", MARK))
    before = stored(row)
    for client, is_person in zip(askers, (True, False), strict=True):
        theirs, missing = (ask(client, method, route, each) for each in (value(row), unknown(value(row))))
        expected = {404} if is_person or route.startswith("api/") else {302, 401}  # pages are for people
        assert {theirs.status_code, missing.status_code} <= expected
        assert theirs.status_code == missing.status_code
        assert MARK.encode() not in theirs.content.replace(theirs.wsgi_request.path.encode(), b"")
    assert stored(row) == before


@pytest.mark.parametrize("route", LISTS)
def test_no_list_holds_a_row_of_another_project(askers, route):
    mine, theirs = World("blue", "mine"), World("red", MARK)
    for world in (mine, theirs):
        made = world.one_of_each()
        catalogue.minute(made["baselines.service"].name, at=timezone.now().replace(second=0, microsecond=0))
    for client in askers:
        answer = client.get("/" + route)
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert MARK.encode() not in content, content[:2000]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("channels", {"name": "x", "kind": "email", "config": {"to": ["a@b.example"]}}),
        (
            "silences",
            {"matchers": [{"field": "service", "op": "exact", "value": "a"}], "ends_at": "2100-01-01T00:00:00Z"},
        ),
        ("annotations", {"text": "deploy"}),
        ("detection-overrides", {"service": "chat-api", "muted": True}),
    ],
)
def test_nobody_writes_into_another_project_or_into_all(askers, path, body):
    catalogue.project("red")
    for client in askers:
        for project in ("red", None):
            answer = client.post(f"/api/v1/{path}", body | {"project": project}, content_type="application/json")
            assert answer.status_code in (400, 403, 404), (project, answer.content)


@pytest.mark.parametrize(
    "stolen",
    [
        {"id": str(uuid.uuid4())},
        {"status": "resolved", "acknowledged_by": "root"},
        {"severity": "info"},
        {"is_superuser": True, "scopes": ["admin"]},
    ],
)
def test_what_a_body_may_not_set_is_not_set(askers, stolen):
    anomaly = World("blue", "mine").anomaly()
    answer = ask(
        askers[1], "POST", "api/v1/anomalies/<uuid:anomaly_id>/acknowledge", anomaly.pk, {"note": "x"} | stolen
    )
    after = Anomaly.objects.get(pk=anomaly.pk)
    assert answer.status_code == 400
    assert (after.status, after.severity, after.acknowledged_by_name) == ("open", "critical", "")


def ask(client: Client, method: str, route: str, value: object, body: dict[str, object] | None = None):
    path = "/" + PLACEHOLDER.sub(str(value), route)
    return client.generic(method, path, data=json.dumps(body or {}), content_type="application/json")


def unknown(value: object) -> object:
    if isinstance(value, uuid.UUID):
        return uuid.uuid4()
    return 0 if isinstance(value, int) else "unknown"


def stored(row: Model) -> dict[str, object]:
    return type(row)._base_manager.filter(pk=row.pk).values().get()
