"""What people do about anomalies, and what is remembered of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from anomalies import lifecycle, tasks
from anomalies.models import Anomaly, Status, Transition
from sentinel_site.access.principal import TokenPrincipal
from tests.support import catalogue
from tests.support.catalogue import NOON

pytestmark = pytest.mark.django_db

LATER = NOON + timedelta(hours=1)


def everything():
    return Anomaly.objects.all()


def test_acknowledging_says_who_when_until_when_and_why():
    anomaly = catalogue.anomaly()
    ann = catalogue.person("ann")
    lifecycle.acknowledge(everything(), ann, "looking", assignee="bob", expires_at=LATER, now=NOON)
    anomaly.refresh_from_db()
    assert (anomaly.status, anomaly.acknowledged_by, anomaly.acknowledged_by_name) == ("acknowledged", ann, "ann")
    assert (anomaly.acknowledged_at, anomaly.acknowledged_until) == (NOON, LATER)
    assert (anomaly.assignee, anomaly.note, anomaly.updated_at) == ("bob", "looking", NOON)


def test_each_change_adds_one_transition():
    anomaly = catalogue.anomaly()
    ann = catalogue.person("ann")
    lifecycle.acknowledge(everything(), ann, "looking", now=NOON)
    lifecycle.resolve(everything(), ann, "restarted it", now=LATER)
    columns = ("kind", "from_status", "to_status", "actor", "actor_name", "note", "at")
    assert list(anomaly.transitions.values_list(*columns)) == [
        ("acknowledged", "open", "acknowledged", ann.pk, "ann", "looking", NOON),
        ("resolved", "acknowledged", "resolved", ann.pk, "ann", "restarted it", LATER),
    ]


@pytest.mark.parametrize("act", [lifecycle.acknowledge, lifecycle.resolve])
def test_repeating_an_act_changes_nothing(act):
    catalogue.anomaly()
    ann, bob = catalogue.person("ann"), catalogue.person("bob")
    assert act(everything(), ann, "mine", now=NOON) == 1
    before = everything().values().get()
    assert act(everything(), bob, "mine", now=LATER) == 0
    assert everything().values().get() == before
    assert Transition.objects.count() == 1


def test_a_new_assignee_of_an_acknowledged_anomaly_is_noted_and_keeps_who_acknowledged_it():
    anomaly = catalogue.anomaly()
    lifecycle.acknowledge(everything(), catalogue.person("ann"), now=NOON)
    assert lifecycle.acknowledge(everything(), catalogue.person("bob"), assignee="carl", now=LATER) == 1
    anomaly.refresh_from_db()
    assert (anomaly.acknowledged_by_name, anomaly.acknowledged_at, anomaly.assignee) == ("ann", NOON, "carl")
    assert anomaly.transitions.last().kind == Transition.Kind.NOTED


def test_a_resolved_anomaly_cannot_be_acknowledged():
    catalogue.anomaly(status=Status.RESOLVED)
    assert lifecycle.acknowledge(everything(), catalogue.person("ann"), "again", now=NOON) == 0
    assert not Transition.objects.exists()


def test_a_program_is_kept_by_the_name_of_its_token():
    anomaly = catalogue.anomaly()
    lifecycle.resolve(everything(), TokenPrincipal("deploy-bot"), now=NOON)
    anomaly.refresh_from_db()
    assert (anomaly.resolved_by, anomaly.resolved_by_name) == (None, "deploy-bot")
    assert anomaly.transitions.get().actor_name == "deploy-bot"


def test_bulk_acts_reach_every_row_of_the_selection_and_no_other(monkeypatch):
    monkeypatch.setattr(lifecycle, "ROWS_PER_TRANSACTION", 2)
    chosen = [catalogue.anomaly().pk for _ in range(5)]
    other = catalogue.anomaly(catalogue.service("search"))
    assert lifecycle.resolve(Anomaly.objects.filter(service__name="chat-api"), catalogue.person("ann"), now=NOON) == 5
    assert set(everything().filter(status=Status.RESOLVED).values_list("pk", flat=True)) == set(chosen)
    assert Anomaly.objects.get(pk=other.pk).status == Status.OPEN


def test_an_act_and_its_transition_are_written_together_or_not_at_all(monkeypatch):
    anomaly = catalogue.anomaly()

    def fail(*args, **options):
        raise RuntimeError

    monkeypatch.setattr(Transition.objects, "bulk_create", fail)
    with pytest.raises(RuntimeError), transaction.atomic():
        lifecycle.resolve(everything(), catalogue.person("ann"), now=NOON)
    anomaly.refresh_from_db()
    assert anomaly.status == Status.OPEN


def test_an_acknowledgement_expires_when_its_time_has_come():
    anomaly = catalogue.anomaly()
    lifecycle.acknowledge(everything(), catalogue.person("ann"), assignee="bob", expires_at=LATER, now=NOON)
    assert lifecycle.expire_acknowledgements(LATER - timedelta(seconds=1)) == 0
    assert lifecycle.expire_acknowledgements(LATER) == 1
    anomaly.refresh_from_db()
    assert (anomaly.status, anomaly.acknowledged_by_name, anomaly.acknowledged_until) == ("open", "", None)
    last = anomaly.transitions.last()
    assert (last.kind, last.actor_name, last.at) == ("acknowledgement_expired", "sentinel", LATER)


def test_an_acknowledgement_without_a_time_stays():
    catalogue.anomaly()
    lifecycle.acknowledge(everything(), catalogue.person("ann"), now=NOON)
    assert lifecycle.expire_acknowledgements(NOON + timedelta(days=365)) == 0


def test_the_periodic_task_reopens_what_is_due():
    anomaly = catalogue.anomaly(status=Status.ACKNOWLEDGED, acknowledged_until=NOON)
    tasks.expire_acknowledgements()
    anomaly.refresh_from_db()
    assert anomaly.status == Status.OPEN
