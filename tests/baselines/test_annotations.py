"""Annotations: noted by programs and people, seen by those whom they concern."""

from __future__ import annotations

from datetime import timedelta

import pytest

from baselines.models import Annotation
from tests.support import catalogue
from tests.support.catalogue import NOON, bearer

pytestmark = pytest.mark.django_db

LIST = "/api/v1/annotations"
THAT_DAY = {"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"}


def asking(client, of: str | None = None):
    headers = bearer(catalogue.token("read", "write", of=of, name="ci")[1])

    def ask(method: str, body: dict | None = None):
        return getattr(client, method)(LIST, body, content_type="application/json", headers=headers)

    return ask


@pytest.fixture
def ask(client):
    return asking(client)


def texts(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["text"] for row in answer.json()["annotations"]]


def test_a_deploy_is_noted_and_listed(ask):
    catalogue.service()
    body = {"service": "chat-api", "at": "2026-03-02T12:00:00Z", "text": "deploy v12", "url": "https://ci.example/12"}
    made = ask("post", body)
    assert made.status_code == 201
    row = made.json()
    assert row == body | {"id": row["id"], "project": None, "created_by": "ci"}
    assert ask("get", THAT_DAY).json() == {"annotations": [row], "count": 1, "next": None}
    assert texts(ask("get", THAT_DAY | {"service": "search"})) == []
    assert texts(ask("get")) == []


def test_a_note_needs_only_its_text(ask):
    row = ask("post", {"text": "new prices"}).json()
    assert (row["service"], row["url"]) == (None, "")
    assert texts(ask("get")) == ["new prices"]


def test_pages_follow_one_another_newest_first(ask):
    for minute in range(3):
        Annotation.objects.create(at=NOON + timedelta(minutes=minute), text=str(minute))
    first = ask("get", THAT_DAY | {"limit": 2})
    assert texts(first) == ["2", "1"]
    assert texts(ask("get", THAT_DAY | {"limit": 2, "cursor": first.json()["next"]})) == ["0"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": "x", "service": "nowhere"}, "service"),
        ({"text": "x", "at": "yesterday"}, "at"),
        ({"text": "x", "url": "javascript:alert(1)"}, "url"),
        ({"text": "x" * 501}, "text"),
        ({"text": "x", "service": "chat-api", "project": "default"}, "project"),
        ({"text": "x", "when": 1}, "when"),
    ],
)
def test_a_bad_annotation_is_a_400_that_names_the_field(ask, body, field):
    catalogue.service()
    answer = ask("post", body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert not Annotation.objects.exists()


def test_one_sees_and_writes_what_concerns_the_own_projects(client):
    mine, theirs = catalogue.service("mine", of="blue"), catalogue.service("theirs", of="red")
    for text, owner in (("a", {"service": mine}), ("b", {"service": theirs}), ("c", {"project": theirs.project})):
        Annotation.objects.create(at=NOON, text=text, **owner)
    Annotation.objects.create(at=NOON, text="d")
    ask = asking(client, of="blue")
    assert sorted(texts(ask("get", THAT_DAY))) == ["a", "d"]
    assert ask("post", {"text": "x", "service": "theirs"}).status_code == 400
    assert ask("post", {"text": "x", "project": "red"}).status_code == 400
    assert list(ask("post", {"text": "x"}).json()["errors"]) == ["project"]
    assert ask("post", {"text": "x", "service": "mine"}).status_code == 201
    assert ask("post", {"text": "x", "project": "blue"}).json()["project"] == "blue"
