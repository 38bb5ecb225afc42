"""The admin by role, by project and by number of queries: every model and every address of it, or the test fails."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from auditlog.registry import auditlog
from django.contrib import admin
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, get_resolver, reverse

from tests.support import catalogue
from tests.support.world import MAKERS, World

pytestmark = pytest.mark.django_db

ROLES = ("none", "viewer", "operator", "admin")
# What each group may do with the rows of its projects: (v)iew the list, (a)dd, (c)hange, (d)elete. Superusers: all.
MATRIX = {
    "access.apitoken": ("", "", "vacd"),
    "alerting.alert": ("v", "v", "v"),
    "alerting.alertrule": ("v", "vacd", "vacd"),
    "alerting.budget": ("v", "vacd", "vacd"),
    "alerting.channel": ("v", "vacd", "vacd"),
    "alerting.delivery": ("v", "v", "v"),
    "alerting.inhibition": ("v", "vacd", "vacd"),
    "alerting.silence": ("v", "vac", "vac"),
    "alerting.threshold": ("v", "vacd", "vacd"),
    "anomalies.anomaly": ("v", "v", "v"),
    "anomalies.detectionoverride": ("v", "vacd", "vacd"),
    "anomalies.feedback": ("v", "v", "v"),
    "anomalies.incident": ("v", "v", "v"),
    "auditlog.logentry": ("", "", "v"),
    "auth.group": ("", "", ""),
    "auth.user": ("", "", ""),
    "axes.accessattempt": ("", "", "v"),
    "baselines.annotation": ("v", "vacd", "vacd"),
    "baselines.baselinesnapshot": ("v", "v", "v"),
    "baselines.partitioncheckpoint": ("v", "v", "v"),
    "baselines.project": ("v", "v", "vacd"),
    "baselines.servedmodel": ("v", "v", "v"),
    "baselines.service": ("v", "v", "vc"),
    "ingestion.replayedletter": ("v", "v", "v"),
}
# Addresses beside those that every model has, and who gets through: not to a 403 or the login page.
PEOPLE = {"viewer", "operator", "admin", "none"}
FURTHER = {
    ("GET", "admin/"): PEOPLE,
    ("GET", "admin/search/"): PEOPLE,
    ("GET", "admin/jsi18n/"): PEOPLE,
    ("GET", "admin/password_change/"): PEOPLE,
    ("GET", "admin/password_change/done/"): PEOPLE,
    ("GET", "admin/login/"): PEOPLE,
    ("GET", "admin/autocomplete/"): set(),
    ("GET", "admin/r/<path:content_type_id>/<path:object_id>/"): PEOPLE,
    ("GET", "admin/auth/user/<id>/password/"): set(),
    ("POST", "admin/logout/"): PEOPLE,
    ("GET", "admin/anomalies/anomaly/export/<slug:form>/"): {"viewer", "operator", "admin"},
    ("GET", "admin/anomalies/incident/export/<slug:form>/"): {"viewer", "operator", "admin"},
    ("GET", "admin/alerting/delivery/export/<slug:form>/"): {"viewer", "operator", "admin"},
    ("GET", "admin/auditlog/logentry/export/<slug:form>/"): {"admin"},
    ("POST", "admin/alerting/channel/preview/"): {"operator", "admin"},
    ("POST", "admin/alerting/alertrule/preview/"): {"operator", "admin"},
    ("POST", "admin/ingestion/replayedletter/replay/"): {"operator", "admin"},
    ("GET", "admin/ingestion/replayedletter/<int:partition>/<int:offset>/"): set(),  # who sees all projects
}
USUAL = re.compile("[a-z]+_[a-z]+_(changelist|add|history|delete|change)|app_list")
FILLED = {"<slug:form>": "csv", "<int:partition>": "0", "<int:offset>": "0", "<id>": "1"}
UNSEEN = {"auth.group", "axes.accessattempt", "baselines.partitioncheckpoint", "ingestion.replayedletter"}
"""Rows of no project."""


def addresses(patterns: list[object] | None = None, prefix: str = "") -> Iterator[str]:
    """The routes of the admin beside the usual ones of a model and those that lead to them."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(pattern.pattern)
        if not isinstance(pattern, URLPattern):
            yield from addresses(pattern.url_patterns, route) if route.startswith("admin/") else ()
        elif route.startswith("admin/") and pattern.name and not USUAL.fullmatch(pattern.name):
            yield route


def login(name: str, group: str | None = None, **values) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(catalogue.person(name, group, **values))
    return client


@pytest.fixture(autouse=True)
def kafka_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("ingestion.admin.SECONDS", 0.01)


@pytest.fixture
def clients() -> dict[str, Client]:
    return {role: login(role, None if role == "none" else role, projects=("blue",)) for role in ROLES}


def page(label: str, kind: str, *args: object) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_{kind}", args=args)


def allowed(client: Client, label: str, pk: object) -> str:
    """What somebody may do with a row, as the pages answer."""
    found = "v" if client.get(page(label, "changelist")).status_code == 200 else ""
    found += "a" if client.get(page(label, "add")).status_code == 200 else ""
    form = client.get(page(label, "change", pk))
    is_editable = form.status_code == 200 and bool(form.context.get("has_change_permission"))
    found += "c" if is_editable else ""
    return found + ("d" if client.get(page(label, "delete", pk)).status_code == 200 else "")


def test_every_model_and_every_address_of_the_admin_is_in_a_matrix():
    labels = {model._meta.label_lower for model in admin.site._registry}
    assert labels == set(MATRIX) == set(MAKERS)
    known = {route for _, route in FURTHER}
    assert set(addresses()) == known


@pytest.mark.parametrize("label", sorted(MATRIX))
def test_each_group_does_with_the_rows_of_its_projects_what_its_role_says(clients, label):
    row = MAKERS[label](World("blue", "mine"))
    if label == "baselines.project":
        row = catalogue.project("blue")
    found = tuple(allowed(client, label, row.pk) for client in clients.values())
    assert found == ("", *MATRIX[label])
    assert Client().get(page(label, "changelist")).headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize(("method", "route"), sorted(FURTHER))
def test_further_addresses_admit_their_roles(clients, method, route):
    path = "/" + route
    for placeholder, value in FILLED.items():
        path = path.replace(placeholder, value)
    path = path.replace("<path:content_type_id>/<path:object_id>", f"0/{uuid.uuid4()}")
    refused = {role for role, client in clients.items() if client.generic(method, path).status_code == 403}
    assert set(ROLES) - refused == FURTHER[method, route]
    if route not in ("admin/login/", "admin/logout/", "admin/jsi18n/"):
        assert Client().generic(method, path).headers["Location"].startswith("/admin/login/")


def test_no_page_shows_or_changes_a_row_of_another_project():
    theirs = World("red", "theirs").one_of_each()
    client = login("ada", "admin", projects=("blue",))
    for label, row in theirs.items():
        if label in UNSEEN or label.startswith("auth."):
            continue
        shown = client.get(page(label, "changelist"))
        assert b"theirs" not in shown.content, label
        for kind in ("change", "delete", "history"):
            answer = client.get(page(label, kind, row.pk))
            assert answer.status_code in (302, 403), (label, kind)
            assert b"theirs" not in answer.content, (label, kind)
        before = type(row)._base_manager.filter(pk=row.pk).values().get()
        client.post(page(label, "change", row.pk), {"name": "taken", "enabled": "on"})
        client.post(page(label, "delete", row.pk), {"post": "yes"})
        for action in ("delete_selected", "resolve_selected", "expire_selected", "end_selected", "retire_selected"):
            form = {"action": action, "_selected_action": [str(row.pk)], "post": "yes", "index": "0"}
            client.post(page(label, "changelist"), form)
        assert type(row)._base_manager.filter(pk=row.pk).values().get() == before, label


def test_every_list_makes_as_many_queries_for_many_rows_as_for_one():
    world, root = World("blue", "mine"), login("root", is_superuser=True)
    counts: list[dict[str, int]] = []
    for more in (1, 5):
        for _ in range(more):
            world.one_of_each()
        counts.append({label: queries_of(root, page(label, "changelist")) for label in MATRIX})
    one, many = counts
    assert many == one
    assert max(one.values()) <= 14


def queries_of(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200, path
    return len(captured)


def test_what_people_change_in_the_admin_is_in_the_audit_trail():
    request = RequestFactory().get("/")
    request.user, request.resolver_match = catalogue.person("root", is_superuser=True), None
    written_by_people = {model for model, each in admin.site._registry.items() if each.has_add_permission(request)}
    assert {model._meta.label for model in written_by_people} <= {model._meta.label for model in auditlog.get_models()}
