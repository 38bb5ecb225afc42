"""What is older than `storage.retention` says is deleted, what is younger or still open stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerting.models import Alert, AlertGroup, Attempt, Channel, Delivery, Notification
from alerting.pruning import prune_deliveries
from anomalies import feedback
from anomalies.models import Anomaly, Feedback, Incident, Transition
from anomalies.pruning import INCIDENTS_AT_ONCE, prune_anomalies
from baselines import pruning
from baselines.models import DueHour, PartitionCheckpoint, PartitionTick, TelemetryHour, TelemetryMinute
from ingestion import retention, tasks
from ingestion.models import Detection, ReplayedLetter, TelemetryEvent
from ingestion.telemetry_store.database import DatabaseStore
from sentinel_site.celery import app
from sentinel_site.config.storage import RetentionConfig
from tests.alerting.factories import a_group, a_notification, a_telling
from tests.ingestion.stores import batch, detection, event
from tests.support import catalogue
from tests.support.catalogue import NOON, TOPIC_ID

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
KEPT = RetentionConfig(telemetry=30, minutes=90, hours=730, detections=30, anomalies=365, deliveries=90)


def ended(age: timedelta, **values: Any) -> Anomaly:
    return catalogue.anomaly(at=NOON - age, **{"state": "ended"} | values)


def alert_about(anomaly: Anomaly, **values: Any) -> Alert:
    told = {"type": Alert.Type.OPENED, "severity": "critical", "occurred_at": anomaly.first_seen}
    return Alert.objects.create(id=uuid4(), anomaly=anomaly, **told | values)


def delivery(age: timedelta, status: str = "delivered", outcome: str = "routed") -> Delivery:
    """A delivery of that age, with an attempt."""
    anomaly = ended(timedelta(0))
    channel, _ = Channel.objects.get_or_create(name="hook", defaults={"kind": "webhook"})
    moments = {"created_at": NOON - age}
    alert_about(anomaly, outcome=outcome, **moments)
    group = a_group(anomaly, phase="resolved", resolved_at=NOON - age)
    made = a_telling(channel, notification=a_notification(anomaly, group=group, **moments), status=status, **moments)
    Attempt.objects.create(delivery=made, number=1, started_at=NOON - age, latency_ms=1, ok=True)
    return made


def told_of(delivery: Delivery) -> Anomaly:
    return delivery.notification.anomalies.get()


def test_each_kind_is_kept_for_its_own_time() -> None:
    store = DatabaseStore()
    ages = [timedelta(days=days) for days in (10, 29, 31, 89, 91, 729, 731)]
    store.write_telemetry(batch(*(event(NOON - age) for age in ages)))
    store.write_detections([detection(NOON - age, offset=offset) for offset, age in enumerate(ages)])
    for offset, age in enumerate(ages):
        catalogue.minute(at=NOON - age, first_offset=offset)
        ended(age)
        delivery(age)
    deleted = retention.prune(KEPT, NOON)
    assert deleted == {
        "telemetry": 5,
        "detections": 5,
        "minutes": 3,
        "hours": 1,
        "anomalies": 2,
        "deliveries": 3,
        "replays": 0,
        "ticks": 0,
    }
    assert {NOON - row.timestamp for row in TelemetryEvent.objects.all()} == set(ages[:2])
    assert {NOON - row.timestamp for row in Detection.objects.all()} == set(ages[:2])
    assert {NOON - row.minute for row in TelemetryMinute.objects.all()} == set(ages[:4])
    assert {NOON - row.hour for row in TelemetryHour.objects.all()} == set(ages[4:6])
    assert {NOON - row.created_at for row in Delivery.objects.all()} == set(ages[:4])
    assert max(NOON - row.last_seen for row in Anomaly.objects.all()) == ages[4]
    assert set(retention.prune(KEPT, NOON).values()) == {0}


def test_an_anomaly_goes_with_its_incident_and_all_that_belongs_to_it() -> None:
    old = ended(400 * DAY)
    Incident.objects.create(service=old.service, merged_into=old.incident, first_seen=NOON, last_seen=NOON)
    feedback.vote(old.pk, old.pk, "noise", "", NOON)
    Transition.objects.create(anomaly=old, kind="resolved", from_status="open", to_status="resolved", at=NOON)
    alert_about(old)
    kept = ended(300 * DAY)
    assert prune_anomalies(NOON - 365 * DAY) == 1
    assert list(Anomaly.objects.all()) == [kept]
    assert list(Incident.objects.all()) == [kept.incident]
    assert [model.objects.count() for model in (Feedback, Transition, Alert)] == [0, 0, 0]


def test_what_is_still_active_stays_however_old_and_its_incident_with_it() -> None:
    active = ended(500 * DAY, state="active")
    beside = ended(499 * DAY, incident=active.incident)
    assert prune_anomalies(NOON - 365 * DAY) == 0
    assert set(Anomaly.objects.all()) == {active, beside}
    Anomaly.objects.filter(pk=active.pk).update(state="ended")
    assert prune_anomalies(NOON - 365 * DAY) == 2
    assert not Incident.objects.exists()


def test_an_incident_of_which_something_is_young_stays_whole() -> None:
    old = ended(366 * DAY)
    ended(364 * DAY, incident=old.incident)
    assert prune_anomalies(NOON - 365 * DAY) == 0
    assert Anomaly.objects.count() == 2


def test_an_episode_that_joins_between_choosing_and_deleting_keeps_its_incident(monkeypatch: Any) -> None:
    old = ended(400 * DAY)

    def join(_services: Any) -> None:
        ended(timedelta(0), incident=old.incident)

    monkeypatch.setattr("anomalies.incidents.lock", join)
    assert prune_anomalies(NOON - 365 * DAY) == 0
    assert Anomaly.objects.filter(incident=old.incident).count() == 2


def test_many_are_deleted_in_batches() -> None:
    for _ in range(INCIDENTS_AT_ONCE + 5):
        ended(400 * DAY)
    assert prune_anomalies(NOON - 365 * DAY) == INCIDENTS_AT_ONCE + 5
    assert not Incident.objects.exists()


def test_a_telling_that_is_not_settled_stays_with_its_alert() -> None:
    waiting, told = delivery(100 * DAY, "pending"), delivery(100 * DAY, "dead")
    not_routed = delivery(100 * DAY, "delivered", outcome="pending")
    kept, of_the_dead = {told_of(waiting), told_of(not_routed)}, told_of(told)
    assert prune_deliveries(NOON - 90 * DAY) == 2
    assert list(Delivery.objects.all()) == [waiting]
    assert kept == {alert.anomaly for alert in Alert.objects.all()}
    assert Attempt.objects.get().delivery == waiting
    assert Anomaly.objects.filter(pk=of_the_dead.pk).exists()
    assert set(Notification.objects.all()) == {waiting.notification}
    assert set(AlertGroup.objects.all()) == {waiting.notification.group}


def test_what_a_group_that_still_fires_has_told_is_kept_for_its_end() -> None:
    told = delivery(100 * DAY)
    AlertGroup.objects.update(phase="firing")
    assert prune_deliveries(NOON - 90 * DAY) == 0
    assert list(Delivery.objects.all()) == [told]


def test_batches_are_transactions_of_their_own() -> None:
    DatabaseStore().write_telemetry(batch(*(event(NOON - 40 * DAY) for _ in range(25))))
    rows = TelemetryEvent.objects.order_by("timestamp")
    with CaptureQueriesContext(connection) as captured:
        assert pruning.delete_in_batches(rows, size=10) == 25
    deletes = [query["sql"] for query in captured if query["sql"].startswith("DELETE")]
    assert len(deletes) == 3


def test_ticks_that_a_checkpoint_covers_or_that_belong_to_a_former_topic_go() -> None:
    former = UUID(int=99)
    moments = [NOON - DAY, NOON]
    for topic_id, at in zip((former, TOPIC_ID), moments, strict=True):
        PartitionCheckpoint.objects.create(topic="t", topic_id=topic_id, partition=0, offset=100, updated_at=at)
        for offset in (99, 100, 101):
            PartitionTick.objects.create(topic_id=topic_id, partition=0, offset=offset, now_ms=1)
    PartitionTick.objects.create(topic_id=TOPIC_ID, partition=1, offset=5, now_ms=1)  # no checkpoint yet
    assert pruning.prune_ticks() == 4
    left = PartitionTick.objects.order_by("partition", "offset").values_list("topic_id", "partition", "offset")
    assert list(left) == [(TOPIC_ID, 0, 100), (TOPIC_ID, 0, 101), (TOPIC_ID, 1, 5)]


def test_notes_of_replayed_letters_go_too() -> None:
    common = {"topic": "t", "partition": 0, "offset": 1, "reason": "negative", "actor": "otto", "claim": TOPIC_ID}
    for number, age in enumerate((89, 91)):
        pk = UUID(int=number)
        ReplayedLetter.objects.create(id=pk, claimed_at=NOON - age * DAY, **common)
    assert retention.prune(KEPT, NOON)["replays"] == 1


def test_a_kind_that_fails_holds_up_no_other(monkeypatch: Any) -> None:
    def fail(_before: Any) -> int:
        raise DatabaseError("disk")

    monkeypatch.setattr(retention, "prune_minutes", fail)
    DatabaseStore().write_telemetry(batch(event(NOON - 40 * DAY)))
    deleted = retention.prune(KEPT, NOON)
    assert "minutes" not in deleted
    assert deleted["telemetry"] == 1


def test_the_scheduled_tasks_exist_and_keep_to_the_configuration() -> None:
    for name in ("ingestion.prune", "ingestion.roll_up_minutes"):
        entry = settings.CELERY_BEAT_SCHEDULE[name]
        assert entry["task"] in app.tasks
    now = timezone.now().replace(minute=30, second=0, microsecond=0)
    catalogue.minute(at=now - timedelta(hours=3))
    catalogue.minute(at=now - 91 * DAY, first_offset=1)
    tasks.roll_up_minutes()
    assert (TelemetryHour.objects.count(), DueHour.objects.count()) == (2, 0)
    tasks.prune()
    assert TelemetryMinute.objects.count() == 1
    assert TelemetryHour.objects.filter(is_final=True).count() == 1
