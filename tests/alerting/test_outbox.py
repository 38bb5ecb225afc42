"""Alerts are written with the change they tell of, once, and only if they are news."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from alerting import outbox
from alerting.models import Alert
from alerting.outbox import Bell, announce
from tests.alerting.factories import NOW, alerting_settings, an_anomaly
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Change:
    anomaly_id: uuid.UUID
    kind: str = "opened"
    severity: str = "critical"
    occurred_at: datetime = NOW


def test_each_kind_of_change_becomes_its_event() -> None:
    anomaly = an_anomaly()
    announce([Change(anomaly.id, kind) for kind in ("opened", "escalated", "ended")], NOW)
    written = {(alert.type, alert.outcome) for alert in Alert.objects.all()}
    assert written == {
        ("anomaly.opened", "pending"),
        ("anomaly.escalated", "pending"),
        ("anomaly.resolved", "pending"),
    }


def test_a_replayed_change_writes_no_second_alert_and_does_not_reopen_the_first() -> None:
    change = Change(an_anomaly().id)
    (first,) = announce([change], NOW)
    Alert.objects.update(outcome=Alert.Outcome.ROUTED)
    announce([change, change], NOW + timedelta(seconds=1))
    (alert,) = Alert.objects.all()
    assert (alert.id, alert.outcome, alert.created_at) == (first, "routed", NOW)


def test_an_anomaly_escalates_once_to_each_severity() -> None:
    anomaly = an_anomaly()
    for severity in ("warning", "critical", "critical"):
        announce([Change(anomaly.id, "escalated", severity)], NOW)
    assert sorted(Alert.objects.values_list("severity", flat=True)) == ["critical", "warning"]


@pytest.mark.parametrize(("age", "outcome"), [(60, "pending"), (61, "too_old")])
def test_what_is_older_than_the_limit_is_recorded_and_not_sent(age: int, outcome: str, settings: Settings) -> None:
    settings.SENTINEL = alerting_settings(max_event_age=60.0)
    sent = announce([Change(an_anomaly().id, occurred_at=NOW - timedelta(seconds=age))], NOW)
    assert Alert.objects.get().outcome == outcome
    assert bool(sent) == (outcome == "pending")


def test_an_alert_is_undone_with_the_transaction_that_wrote_it() -> None:
    anomaly = an_anomaly()
    with transaction.atomic():
        announce([Change(anomaly.id)], NOW)
        assert Alert.objects.exists()
        transaction.set_rollback(True)
    assert not Alert.objects.exists()


def test_an_unknown_kind_of_change_is_refused() -> None:
    with pytest.raises(KeyError, match="vanished"):
        announce([Change(uuid.uuid4(), "vanished")], NOW)


def test_the_workers_are_woken_after_the_commit(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    rung: list[bool] = []
    monkeypatch.setattr(outbox.bell, "ring", lambda: rung.append(True))
    with django_capture_on_commit_callbacks(execute=True):
        outbox.wake()
        assert rung == []
    assert rung == [True]


def test_waking_neither_waits_for_a_broker_that_hangs_nor_forgets_what_was_rung_meanwhile() -> None:
    entered, release = threading.Semaphore(0), threading.Semaphore(0)

    def hang() -> None:
        entered.release()
        release.acquire()

    bell = Bell(hang)
    bell.ring()
    assert entered.acquire(timeout=5)
    for _ in range(10):
        bell.ring()  # returns although the first is still being sent
    release.release()
    assert entered.acquire(timeout=5)
    release.release()
    assert not entered.acquire(timeout=0.1)  # ten rings during one publish became one


def test_a_broker_that_refuses_does_not_end_the_bell() -> None:
    sent: list[int] = []

    def refuse() -> None:
        sent.append(len(sent))
        raise OSError("connection refused")

    bell = Bell(refuse)
    bell.ring()
    eventually(lambda: len(sent) == 1)
    bell.ring()
    eventually(lambda: len(sent) == 2)
