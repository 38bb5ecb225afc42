"""Alerts survive their workers, their broker and their receivers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from django.db import connection

from tests.alerting.soaking import Report, soak

pytestmark = [pytest.mark.django_db(transaction=True)]


def check(report: Report) -> None:
    print(msgspec.json.encode(report).decode())
    assert report.undelivered == []
    assert report.dead == []
    assert report.out_of_order == []
    assert sum(report.duplicates.values()) <= report.interruptions, "only what an interruption left open is sent again"
    assert report.sent > report.delivered
    assert report.delivered + report.superseded == report.events


@pytest.fixture
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    if connection.vendor != "postgresql":
        pytest.skip("workers in processes of their own need PostgreSQL")
    return tmp_path


@pytest.mark.timeout(280)
def test_failing_receivers_killed_workers_and_a_restarted_broker_lose_nothing(home: Path) -> None:
    check(soak(home, anomalies=60, kills=3, restarts=1, deadline=240))


@pytest.mark.soak
def test_ten_thousand_alerts_fifty_kills_and_ten_restarts_lose_nothing(home: Path) -> None:
    check(soak(home, anomalies=5000, kills=50, restarts=10, deadline=7200, workers=3))
