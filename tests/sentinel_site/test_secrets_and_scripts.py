"""Two things that no page, answer or record may ever hold: a secret, and a name that runs."""

from __future__ import annotations

import json

import pytest
from auditlog.models import LogEntry
from axes.models import AccessAttempt
from django.contrib import admin
from django.core import serializers
from django.test import Client
from django.urls import reverse

from alerting.models import Channel
from tests.sentinel_site.test_role_matrix import MATRIX, PLACEHOLDER
from tests.support import catalogue
from tests.support.catalogue import bearer
from tests.support.world import MAKERS, World

pytestmark = pytest.mark.django_db

SECRET = "whsec_dGhlIHNlY3JldCBvZiBhIGNoYW5uZWwsIGxvbmc="
ROTATED = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIGNoYW5uZWw="
PASSWORD = "let me in, please"
GUESSED = "the password of another site"
LISTS = [route for route in MATRIX if "GET" in MATRIX[route] and not PLACEHOLDER.search(route) and route != "live/"]


@pytest.fixture(autouse=True)
def kafka_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("ingestion.admin.SECONDS", 0.01)


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(catalogue.person("root", is_superuser=True))
    return client


def admin_pages(rows: dict[str, object]) -> list[str]:
    """The list of every model, and the page and the history of these rows."""
    pages = ["/admin/", *(reverse(f"admin:{label.replace('.', '_')}_changelist") for label in MAKERS)]
    for label, row in rows.items():
        pages += [reverse(f"admin:{label.replace('.', '_')}_{kind}", args=[row.pk]) for kind in ("change", "history")]
    return pages


def body(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code < 500, (path, answer.status_code)
    return (b"".join(answer.streaming_content) if answer.streaming else answer.content).decode()


def test_a_secret_goes_in_and_comes_out_nowhere(root, caplog, capfd):
    _, token = catalogue.token("admin", name="deploy-bot")
    program = Client()
    program.defaults["HTTP_AUTHORIZATION"] = bearer(token)["authorization"]
    made = program.post(
        "/api/v1/channels",
        {"name": "pager", "kind": "webhook", "config": {"url": "https://hooks.example/x"}, "secret": SECRET},
        content_type="application/json",
    )
    path = f"/api/v1/channels/{made.json()['id']}"
    changed = program.patch(path, {"secret": ROTATED}, content_type="application/json")
    Client().post("/admin/login/", {"username": "root", "password": GUESSED})
    Client().post("/admin/login/?next=/", {"username": "root", "password": PASSWORD})
    Client().get("/api/v1/anomalies", headers={"authorization": f"Bearer {token}x"})
    channel = Channel.objects.get(name="pager")
    texts: dict[object, str] = {
        "made": made.content.decode(),
        "changed": changed.content.decode(),
        path: body(program, path),
    }
    texts |= {(route, each): body(each, f"/{route}") for route in LISTS for each in (program, root)}
    texts |= {page: body(root, page) for page in admin_pages({"alerting.channel": channel})}
    texts["audit"] = serializers.serialize("json", [*LogEntry.objects.all(), *AccessAttempt.objects.all()])
    texts["export"] = body(root, "/admin/auditlog/logentry/export/json/")
    texts["logs"] = (
        caplog.text + "".join(capfd.readouterr()) + json.dumps([str(each.__dict__) for each in caplog.records])
    )
    texts["database"] = str(Channel.objects.raw("SELECT id, secret AS stored FROM alerting_channel")[0].stored)
    found = {
        (place, secret)
        for place, text in texts.items()
        for secret in (SECRET, ROTATED, token, PASSWORD, GUESSED)
        if secret in text or secret.removeprefix("whsec_") in text
    }
    assert found == set()
    assert LogEntry.objects.get_for_object(channel).filter(changes__has_key="secret").exists()


HOSTILE = "<script>alert(1)</script>\"'><img src=x>{{7*7}}"  # and with a suffix no longer than a name may be


def test_a_name_that_would_run_is_text_on_every_page_of_the_admin(root):
    rows = World("default", HOSTILE).one_of_each()
    for page in admin_pages(rows):
        content = body(root, page)
        for running in ("<script>alert(1)", "<img src=x", "\"'>"):
            assert running not in content, (page, running)
    assert set(rows) == {model._meta.label_lower for model in admin.site._registry}
