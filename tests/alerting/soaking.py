"""Alerts through real workers, a real broker and real receivers, while all of them fail."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import msgspec
from django.db import connection, transaction
from django.utils import timezone

from alerting.models import Alert, AlertGroup, AlertRule, Delivery
from alerting.outbox import announce
from anomalies.models import Anomaly, State
from anomalies.record import Change
from sentinel_site.config.loading import PROJECT_ROOT
from tests.alerting.factories import a_service, a_webhook, an_anomaly
from tests.alerting.receivers import Request, answer, receiver
from tests.support.services import PrivateService, private

WAVE = 250


@dataclass
class Report:
    """What came of it; ids are those that receivers see."""

    events: int
    sent: int = 0
    delivered: int = 0
    superseded: int = 0
    """Beginnings that failed until their end took their place."""
    duplicates: dict[str, int] = field(default_factory=dict)
    dead: list[str] = field(default_factory=list)
    undelivered: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    interruptions: int = 0
    seconds: float = 0.0


class Ear:
    """A receiver that fails for a share of requests: half of those after it took the message in."""

    def __init__(self, failing: float, seed: int) -> None:
        self._dice = random.Random(seed)
        self._failing = failing
        self._lock = threading.Lock()
        self.sent = 0
        self.accepted: list[tuple[str, str, tuple[str, ...]]] = []
        """Message id, type and anomalies of what was answered with 200, in order."""

    def __call__(self, request: Request) -> Iterator[bytes]:
        with self._lock:
            self.sent += 1
            fate = self._dice.random() / self._failing if self._failing else 1.0
            if fate >= 1.0:
                self.accepted.append(_read(request))
        if fate >= 1.0:
            yield answer(200)
        elif fate >= 0.5:
            yield answer(503)


def _read(request: Request) -> tuple[str, str, tuple[str, ...]]:
    body = msgspec.json.decode(request.body)
    data = body["data"]
    about = tuple(anomaly["id"] for anomaly in data.get("anomalies", [data]))
    return request.headers["webhook-id"], data["status"], about


class Works:
    """Celery's workers and its clock, as processes that may be killed."""

    def __init__(self, broker: str, workers: int, home: Path) -> None:
        self._environment = _environment(broker)
        self._clock = self._start("beat", "--schedule", str(home / "schedule"))
        self._workers = [self._worker() for _ in range(workers)]

    def kill_one(self, dice: random.Random) -> None:
        place = dice.randrange(len(self._workers))
        self._workers[place].kill()
        self._workers[place].wait()
        self._workers[place] = self._worker()

    def close(self) -> None:
        for process in (self._clock, *self._workers):
            process.kill()
            process.wait()

    def _worker(self) -> subprocess.Popen[bytes]:
        return self._start("worker", "--pool", "solo", "--without-gossip", "--without-mingle", "--without-heartbeat")

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "celery", "-A", "sentinel_site", *words]
        return subprocess.Popen(
            line, cwd=PROJECT_ROOT, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def _environment(broker: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SENTINEL", "DJANGO", "PYTEST", "COV"))}
    base = os.environ["SENTINEL_TEST_POSTGRES"].rpartition("/")[0]
    own = {
        "SENTINEL__ENVIRONMENT": "development",
        "SENTINEL_CONFIG": str(PROJECT_ROOT / "config" / "sentinel.yaml"),
        "SENTINEL_LOG_LEVEL": "error",
        "SENTINEL__STORAGE__BACKEND": "database",
        "SENTINEL__STORAGE__REDIS__URL": "fakeredis://",
        "SENTINEL__DATABASE__URL": f"{base}/{connection.settings_dict['NAME']}",
        "SENTINEL__CELERY__BROKER_URL": broker,
        "SENTINEL__ALERTING__RABBITMQ__ENABLED": "false",
        "SENTINEL__ALERTING__WEBHOOK__ALLOWED_PRIVATE_NETWORKS": '["127.0.0.0/8"]',
        "SENTINEL__ALERTING__WEBHOOK__MAX_RETRIES": "20",
        "SENTINEL__ALERTING__WEBHOOK__RETRY_DELAY_MS": "100",
        "SENTINEL__ALERTING__WEBHOOK__BACKOFF_MULTIPLIER": "1.2",
    }
    return inherited | own | {"DJANGO_SETTINGS_MODULE": "sentinel_site.settings"}


@contextmanager
def _works(broker: PrivateService, workers: int, home: Path) -> Iterator[Works]:
    works = Works(broker.url, workers, home)
    try:
        yield works
    finally:
        works.close()


def soak(
    home: Path, anomalies: int, kills: int, restarts: int, deadline: float, workers: int = 2, failing: float = 0.3
) -> Report:
    """Open and end `anomalies` while workers are killed and the broker restarts; what the receiver made of it."""
    began = time.monotonic()
    ear, dice = Ear(failing, seed=anomalies), random.Random(kills)
    with ExitStack() as stack:
        hook = stack.enter_context(receiver(ear))
        broker = stack.enter_context(private("rabbitmq", home))
        rule = AlertRule.objects.create(name="all", min_severity="info", group_wait=0)
        rule.channels.add(a_webhook(hook.url))
        works = stack.enter_context(_works(broker, workers, home))
        faults = ["kill"] * kills + ["restart"] * restarts
        dice.shuffle(faults)
        waves = [range(start, min(start + WAVE, anomalies)) for start in range(0, anomalies, WAVE)]
        opened = [_open(wave) for wave in waves]
        for number, ids in enumerate(opened):
            share = slice(len(faults) * number // len(waves), len(faults) * (number + 1) // len(waves))
            for fault in faults[share]:
                time.sleep(dice.uniform(0.5, 2.0))
                _inflict(fault, works, broker, dice)
            _end(ids)
        _drain(deadline - (time.monotonic() - began))
        return _report(ear, anomalies, kills + restarts, time.monotonic() - began)


def _inflict(fault: str, works: Works, broker: PrivateService, dice: random.Random) -> None:
    if fault == "kill":
        works.kill_one(dice)
    else:
        broker.kill()
        broker.start()


@transaction.atomic
def _open(numbers: Iterable[int]) -> list[uuid.UUID]:
    now = timezone.now()
    service = a_service()
    made = [an_anomaly(service, model=f"model-{n}", first_seen=now, last_seen=now) for n in numbers]
    announce([Change(anomaly.pk, "opened", anomaly.severity, now) for anomaly in made], now)
    return [anomaly.pk for anomaly in made]


@transaction.atomic
def _end(ids: list[uuid.UUID]) -> None:
    now = timezone.now()
    Anomaly.objects.filter(pk__in=ids).update(state=State.ENDED, last_seen=now)
    announce([Change(each, "ended", "critical", now) for each in ids], now)


def _drain(seconds: float) -> None:
    """Wait until nothing is left to do. What killed workers held is given back as soon as nobody else works."""
    end, last, quiet_since = time.monotonic() + seconds, (-1, -1), time.monotonic()
    while time.monotonic() < end:
        left = _left()
        if left == (0, 0):
            return
        if left != last:
            last, quiet_since = left, time.monotonic()
        elif time.monotonic() - quiet_since > 6:
            held = Delivery.objects.filter(status=Delivery.Status.PENDING, leased_until__gt=timezone.now())
            held.update(leased_until=timezone.now() - timedelta(seconds=1), queued_until=None)
            quiet_since = time.monotonic()
        time.sleep(0.5)


def _left() -> tuple[int, int]:
    alerts = Alert.objects.filter(outcome=Alert.Outcome.PENDING).count()
    pending = Delivery.objects.filter(status=Delivery.Status.PENDING).count()
    return alerts + AlertGroup.objects.live().count(), pending


def _report(ear: Ear, anomalies: int, interruptions: int, seconds: float) -> Report:
    times = Counter(message for message, _, _ in ear.accepted)
    rows = Delivery.objects.order_by("created_at")
    status = {str(pk): status for pk, status in rows.values_list("pk", "status")}
    return Report(
        events=2 * anomalies,
        sent=ear.sent,
        delivered=len(times),
        superseded=sum(each == Delivery.Status.SUPERSEDED for each in status.values()),
        duplicates={message: count - 1 for message, count in times.items() if count > 1},
        dead=[pk for pk, each in status.items() if each == Delivery.Status.DEAD],
        undelivered=_unheard(ear) + [pk for pk, each in status.items() if each == Delivery.Status.PENDING],
        out_of_order=_out_of_order(ear),
        interruptions=interruptions,
        seconds=round(seconds, 1),
    )


def _unheard(ear: Ear) -> list[str]:
    """Anomalies of which the receiver has not accepted both a beginning and an end."""
    heard: defaultdict[str, set[str]] = defaultdict(set)
    for _, status, about in ear.accepted:
        for anomaly in about:
            heard[anomaly].add(status)
    every = map(str, Anomaly.objects.values_list("pk", flat=True))
    return [anomaly for anomaly in every if "resolved" not in heard[anomaly]]


def _out_of_order(ear: Ear) -> list[str]:
    """Anomalies of which a beginning was accepted for the first time after the end."""
    ended: set[str] = set()
    seen: set[str] = set()
    wrong: list[str] = []
    for message, status, about in ear.accepted:
        if status != "resolved" and message not in seen:
            wrong += [anomaly for anomaly in about if anomaly in ended]
        ended |= set(about) if status == "resolved" else set()
        seen.add(message)
    return wrong
