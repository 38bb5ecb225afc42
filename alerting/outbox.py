"""The outbox: alerts are rows of the transaction that changes the anomaly, so both exist or neither does."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from celery import current_app
from django.conf import settings
from django.db import transaction

from alerting.models import Alert

log = structlog.get_logger(__name__)

NAMESPACE = uuid.UUID("6f1f3c1e-5a0e-4f43-9a55-6b1f3f0c7d11")
TYPES = {"opened": Alert.Type.OPENED, "escalated": Alert.Type.ESCALATED, "ended": Alert.Type.RESOLVED}
ROUTE_TASK = "alerting.tasks.route_alerts"


class Change(Protocol):
    """What happened to an anomaly; `occurred_at` is event time."""

    @property
    def anomaly_id(self) -> uuid.UUID: ...
    @property
    def kind(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...


def announce(changes: Iterable[Change], now: datetime) -> list[uuid.UUID]:
    """Write an alert for each change, within the caller's transaction; the ids of those that are to be sent.

    A change that was announced before (a replay) changes nothing. One that is older than `alerting.max_event_age`
    is recorded as `too_old`: nobody is to be woken by a backfill. Raises `KeyError` for an unknown kind of change.
    """
    oldest = now - timedelta(seconds=settings.SENTINEL.alerting.max_event_age)
    alerts = [_alert(change, now, oldest) for change in changes]
    Alert.objects.bulk_create(alerts, ignore_conflicts=True, batch_size=500)
    return [alert.id for alert in alerts if alert.outcome == Alert.Outcome.PENDING]


def alert_id(anomaly_id: uuid.UUID, event: str, severity: str) -> uuid.UUID:
    """A function of the event alone: an anomaly opens once, ends once, and reaches each severity once."""
    return uuid.uuid5(NAMESPACE, f"{anomaly_id}/{event}/{severity if event == Alert.Type.ESCALATED else ''}")


def _alert(change: Change, now: datetime, oldest: datetime) -> Alert:
    event = TYPES[change.kind]
    return Alert(
        id=alert_id(change.anomaly_id, event, change.severity),
        anomaly_id=change.anomaly_id,
        type=event,
        severity=change.severity,
        occurred_at=change.occurred_at,
        created_at=now,
        outcome=Alert.Outcome.TOO_OLD if change.occurred_at < oldest else Alert.Outcome.PENDING,
    )


def wake() -> None:
    """Have the workers look at the outbox once the current transaction has committed; never fails, never waits."""
    transaction.on_commit(bell.ring)


def send_route_task() -> None:
    """Put the task that empties the outbox on the queue. Raises what the broker's client raises."""
    current_app.send_task(ROUTE_TASK, retry=False)


class Bell:
    """Rings the workers from a thread of its own.

    A broker that is down, or that takes no messages under a memory alarm, holds a publisher up for seconds;
    detection must not notice. Rings during one publish become one.
    """

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._rung = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ring(self) -> None:
        with self._lock:
            # Not alive: never started, or this is a fork of the process that started it.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="alert-bell", daemon=True)
                self._thread.start()
        self._rung.set()

    def _run(self) -> None:
        while True:
            self._rung.wait()
            self._rung.clear()
            try:
                self._send()
            except Exception as error:  # noqa: BLE001 (every client of a broker has its own)
                # No harm but a delay: the sweep finds what is in the outbox.
                log.warning("alert_wake_failed", error=f"{type(error).__name__}: {error}")


bell = Bell(send_route_task)
