"""Pages that were written before are given again only while nothing in them has changed."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from django.db import connection, transaction

from anomalies import lifecycle
from anomalies.api import written
from anomalies.api.written import Written
from anomalies.models import Anomaly
from tests.anomalies.test_api import LIST, THAT_DAY, ids
from tests.support import catalogue
from tests.support.catalogue import NOON, bearer


@pytest.fixture
def asked(db, client):
    """The page of two anomalies, asked for once already; ask again with the fixture."""
    catalogue.anomaly()
    catalogue.anomaly(at=NOON - timedelta(minutes=1))
    headers = bearer(catalogue.token("read")[1])

    def ask(**query):
        return client.get(LIST, THAT_DAY | query, headers=headers)

    ask()
    return ask


def statuses(answer) -> list[str]:
    return [row["status"] for row in answer.json()["anomalies"]]


def test_an_acknowledgement_is_seen_by_the_very_next_question(asked):
    lifecycle.acknowledge(Anomaly.objects.filter(first_seen=NOON), catalogue.person("ann"), "looking", assignee="")
    assert sorted(statuses(asked())) == ["acknowledged", "open"]


def test_what_came_and_what_went_is_seen_by_the_very_next_question(asked):
    new = catalogue.anomaly(at=NOON + timedelta(minutes=1))
    assert ids(asked())[0] == str(new.id)
    new.delete()
    assert len(ids(asked())) == 2


def test_what_was_undone_is_not_shown(asked):
    with transaction.atomic():
        Anomaly.objects.update(status="resolved")
        assert statuses(asked()) == ["resolved", "resolved"]
        transaction.set_rollback(True)
    assert statuses(asked()) == ["open", "open"]


def test_a_page_leads_on_only_while_there_is_more(asked):
    assert asked(limit=2).json()["next"] is None
    catalogue.anomaly(at=NOON - timedelta(hours=1))
    following = asked(limit=2).json()["next"]
    assert len(ids(asked(limit=2, cursor=following))) == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL tells versions of rows")
def test_a_page_in_which_nothing_changed_is_not_written_again(asked, monkeypatch):
    before = asked().content
    emptied = {key: (versions, msgspec.Raw(b"{}")) for key, (versions, _) in written.pages._pages.items()}
    monkeypatch.setattr(written.pages, "_pages", emptied)
    assert asked().content == b"{}" != before


def test_a_page_is_written_anew_for_other_versions_only():
    pages, made = Written(), []

    def write(version: int):
        made.append(version)
        return [(version,)], msgspec.Raw(str(version).encode())

    for version in (1, 1, 2, 2, 1):
        page = pages.get("question", lambda version=version: [(version,)], lambda version=version: write(version))
        assert bytes(page) == str(version).encode()
    assert made == [1, 2, 1]


def test_only_so_many_pages_are_kept():
    pages = Written(most=3)
    for question in range(10):
        pages.get(question, list, lambda: ([], msgspec.Raw(b"")))
    assert len(pages._pages) <= 3
