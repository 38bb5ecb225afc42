"""The first page of the admin: what is wrong, at a glance, and only what one may see."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alerting.models import Channel
from tests.support import catalogue
from tests.support.world import World

pytestmark = pytest.mark.django_db


def login(name: str, group: str | None = None, **values) -> Client:
    client = Client()
    client.force_login(catalogue.person(name, group, **values))
    return client


def test_it_tells_of_components_incidents_and_what_does_not_get_out():
    mine = World("blue", "mine").anomaly()
    World("red", "theirs").anomaly()
    blue, red = catalogue.project("blue"), catalogue.project("red")
    Channel.objects.create(name="pager", kind="webhook", failure_count=9, project=blue)
    Channel.objects.create(name="their pager", kind="webhook", failure_count=9, project=red)
    page = login("vera", "viewer", projects=("blue",)).get("/admin/").content.decode()
    for told in ("telemetry store", "healthy", "1 critical", "failing: pager", f"/incident/{mine.incident_id}/change/"):
        assert told in page
    assert "their" not in page


def test_whoever_may_see_no_incidents_is_told_of_the_components_alone():
    World("blue", "mine").anomaly()
    page = login("nina", projects=("blue",)).get("/admin/").content.decode()
    assert "database" in page
    assert "critical" not in page


def test_it_makes_as_many_queries_for_many_incidents_as_for_one():
    world, root = World("blue", "mine"), login("root", is_superuser=True)
    counts = []
    for more in (1, 12):
        for _ in range(more):
            world.anomaly()
        with CaptureQueriesContext(connection) as captured:
            assert root.get("/admin/").status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 20
