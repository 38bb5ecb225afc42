"""What an installation of the first version has of alerts is carried over by the migrations."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from pytest_django import DjangoDbBlocker

OLD = "old"
FORMER = [
    ("alerting", "0002_delivery_ends_and_replay"),
    ("anomalies", "0008_override_texts"),
    ("baselines", "0006_instructions_and_learned"),
]
LATTER = [("alerting", "0008_deliveries_of_notifications")]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

Models = Callable[[str, str], Any]


@pytest.fixture
def executor(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[MigrationExecutor]:
    """Migrations over a database of their own, which is empty."""
    with django_db_blocker.unblock():
        defaults = connections["default"].settings_dict
        own = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "old.sqlite3"), "OPTIONS": {}}
        connections.databases[OLD] = defaults | own
        yield MigrationExecutor(connections[OLD])
        connections[OLD].close()
        del connections[OLD]
        del connections.databases[OLD]


def as_of(migrations: list[tuple[str, str]], executor: MigrationExecutor) -> Models:
    """Make the tables as they were after these migrations, without going all the way there; the models of then."""
    then = executor.loader.project_state(migrations)
    with executor.connection.schema_editor() as editor:
        for model in then.apps.get_models():
            editor.create_model(model)
    for migration, _ in executor.migration_plan(migrations):
        executor.recorder.record_applied(migration.app_label, migration.name)
    return then.apps.get_model


def anomaly_of_the_first_version(models: Models, **columns: object) -> Any:
    project, _ = models("baselines", "Project").objects.using(OLD).get_or_create(name="default")
    seen = {"first_seen": NOW, "last_seen": NOW}
    services = models("baselines", "Service").objects.using(OLD)
    service, _ = services.get_or_create(name="chat", defaults={"project": project, **seen})
    times = {"first_seen": NOW, "last_seen": NOW + MINUTE}
    incident = models("anomalies", "Incident").objects.using(OLD).create(service=service, **times)
    fields = {"metric": "latency_ms", "type": "latency_spike", "direction": "up", "detector": "zscore", "score": 2.0}
    fields |= {"value": 900.0, "severity": "critical", "occurrences": 3, "topic_id": uuid.UUID(int=1), "partition": 0}
    fields |= {"first_offset": 1, "last_offset": 5, "model": "gpt-4", **times, **columns}
    row = {"id": uuid.uuid4(), "incident": incident, "service": service}
    return models("anomalies", "Anomaly").objects.using(OLD).create(**row, **fields)


def alert_of_the_first_version(models: Models, anomaly: Any, event: str, at: datetime) -> Any:
    fields = {"anomaly": anomaly, "type": event, "severity": "critical", "occurred_at": at, "created_at": at}
    return models("alerting", "Alert").objects.using(OLD).create(id=uuid.uuid4(), outcome="routed", **fields)


def delivery_of_the_first_version(models: Models, alert: Any, channel: Any, **columns: object) -> Any:
    row = {"id": uuid.uuid4(), "alert": alert, "channel": channel, "dedup_key": "k" * 64, "created_at": NOW}
    return models("alerting", "Delivery").objects.using(OLD).create(**row, **columns)


def test_deliveries_and_what_was_heard_outlive_the_upgrade(executor: MigrationExecutor) -> None:
    former = as_of(FORMER, executor)
    channel = former("alerting", "Channel").objects.using(OLD).create(name="ops", kind="webhook")
    over = anomaly_of_the_first_version(former, state="ended")
    lasting = anomaly_of_the_first_version(former)
    opened = alert_of_the_first_version(former, over, "anomaly.opened", NOW)
    ended = alert_of_the_first_version(former, over, "anomaly.resolved", NOW + MINUTE)
    waiting = alert_of_the_first_version(former, lasting, "anomaly.opened", NOW)
    told = {"status": "delivered", "delivered_at": NOW + MINUTE, "attempt_count": 1}
    first = delivery_of_the_first_version(former, opened, channel, **told)
    former("alerting", "Attempt").objects.using(OLD).create(delivery=first, number=1, started_at=NOW, ok=True)
    delivery_of_the_first_version(former, ended, channel, status="dead", last_error="no answer")
    pending = delivery_of_the_first_version(former, waiting, channel)

    executor.loader.build_graph()
    executor.migrate(LATTER)

    latter = executor.loader.project_state(LATTER).apps.get_model
    deliveries = latter("alerting", "Delivery").objects.using(OLD)
    carried = deliveries.get(pk=first.pk)
    assert (carried.status, carried.delivered_at, carried.attempts.count()) == ("delivered", NOW + MINUTE, 1)
    assert [anomaly.pk for anomaly in carried.notification.anomalies.all()] == [over.pk]
    groups = latter("alerting", "AlertGroup").objects.using(OLD)
    assert sorted(groups.values_list("phase", "sequence")) == [("firing", 1), ("resolved", 2)]
    assert deliveries.get(pk=pending.pk).notification.group.phase == "firing"
    heard = latter("alerting", "Heard").objects.using(OLD)
    assert list(heard.values_list("dedup_key", "delivered_at")) == [("k" * 64, NOW + MINUTE)]
