"""From a change of an anomaly to the receivers, through real tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.db import connection, connections
from django.utils import timezone
from pytest_django import Settings

from alerting import tasks
from alerting.delivery import claim
from alerting.models import Alert, AlertRule, Delivery, GroupMember
from alerting.quiet import Quiet, load_quiet
from alerting.routing import route_pending
from alerting.telling import tell_due
from tests.alerting.factories import LOOPBACK, a_webhook, alerting_settings, an_alert, an_anomaly
from tests.alerting.receivers import answer, receiver

pytestmark = pytest.mark.usefixtures("loopback_allowed")


@pytest.fixture
def eager() -> Iterator[None]:
    """Tasks run where they are sent, instead of in a worker."""
    current_app.conf.task_always_eager = True
    yield
    current_app.conf.task_always_eager = False


def everybody(url: str) -> None:
    AlertRule.objects.create(name="all", min_severity="info", group_wait=0).channels.add(a_webhook(url))


def route_and_tell() -> None:
    now = timezone.now()
    route_pending(now)
    while tell_due(now, load_quiet(now))[0]:
        pass


@pytest.mark.django_db(transaction=True)
def test_an_alert_of_the_outbox_reaches_the_receiver(eager: None) -> None:
    with receiver(answer(200)) as hook:
        everybody(hook.url)
        alert = an_alert(created_at=timezone.now())
        assert tasks.route_alerts() == 1
    assert len(hook.requests) == 1
    assert Delivery.objects.get(notification__anomalies=alert.anomaly).status == "delivered"


@pytest.mark.django_db(transaction=True)
def test_the_sweep_finds_what_nobody_was_woken_for_and_what_is_due_again(eager: None) -> None:
    answers = iter([answer(500), answer(200)])
    with receiver(lambda _: [next(answers)]) as hook:
        everybody(hook.url)
        an_alert()
        tasks.sweep()
        assert Delivery.objects.get().status == "pending"
        Delivery.objects.update(next_attempt_at=timezone.now())
        assert tasks.sweep() == 1
        assert tasks.sweep() == 0
    assert Delivery.objects.get().status == "delivered"
    assert len({request.headers["webhook-id"] for request in hook.requests}) == 1


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_takes_no_tasks_delays_and_loses_nothing(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise OSError("connection refused")

    with receiver(answer(200)) as hook:
        everybody(hook.url)
        an_alert()
        with monkeypatch.context() as down:
            down.setattr(tasks.deliver, "apply_async", refuse)
            assert tasks.route_alerts() == 1
        Delivery.objects.update(queued_until=timezone.now() - timedelta(seconds=1))
        tasks.sweep()
    assert Delivery.objects.get().status == "delivered"


@pytest.mark.django_db(transaction=True)
def test_what_no_task_can_ever_do_stops_no_other(eager: None) -> None:
    with receiver(answer(200)) as hook:
        everybody(hook.url)
        AlertRule.objects.get().channels.add(a_webhook("http://[bad", name="broken"))
        an_alert()
        tasks.sweep()
    statuses = dict(Delivery.objects.values_list("channel__name", "status"))
    assert statuses["hook"] == "delivered"
    assert statuses["broken"] in ("pending", "dead")
    assert Delivery.objects.get(channel__name="broken").last_error


@pytest.fixture
def in_threads() -> Callable[[list[Callable[[], Any]]], list[Any]]:
    """Runs several things at once, each with a database connection of its own."""
    if connection.vendor == "sqlite":
        pytest.skip("one connection writes at a time: there is no race to lose")

    def run(jobs: list[Callable[[], Any]]) -> list[Any]:
        gate = threading.Barrier(len(jobs))

        def job(work: Callable[[], Any]) -> Any:
            try:
                gate.wait(timeout=10)
                return work()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(jobs)) as pool:
            return list(pool.map(job, jobs))

    return run


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_gets_the_delivery(in_threads: Any) -> None:
    everybody("http://127.0.0.1:1/")
    an_alert()
    route_and_tell()
    delivery = Delivery.objects.get()
    claims = in_threads([lambda: claim(delivery.id, timezone.now())] * 8)
    assert sum(found is not None for found in claims) == 1
    delivery.refresh_from_db()
    assert delivery.attempt_count == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_equal_alerts_at_once_one_is_in_hand_at_a_time(in_threads: Any) -> None:
    everybody("http://127.0.0.1:1/")
    for _ in range(8):
        an_alert(an_anomaly())
    route_and_tell()
    ids = list(Delivery.objects.values_list("id", flat=True))
    claims = in_threads([lambda each=each: claim(each, timezone.now()) for each in ids])
    assert sum(found is not None for found in claims) == 1


@pytest.mark.django_db(transaction=True)
def test_many_routers_route_every_alert_once(in_threads: Any) -> None:
    everybody("http://127.0.0.1:1/")
    for number in range(60):
        an_alert(an_anomaly(model=f"m{number}"))
    counts = in_threads([lambda: [route_pending(timezone.now(), 10) for _ in range(20)]] * 6)
    assert sum(map(sum, counts)) == 60
    in_threads([lambda: [tell_due(timezone.now(), Quiet(), 10) for _ in range(20)]] * 6)
    assert Delivery.objects.count() == 60


@pytest.mark.django_db(transaction=True)
def test_an_end_is_not_routed_before_its_opening_in_other_hands(in_threads: Any) -> None:
    everybody("http://127.0.0.1:1/")
    for number in range(40):
        anomaly = an_anomaly(model=f"m{number}")
        an_alert(anomaly)
        an_alert(anomaly, Alert.Type.RESOLVED)
    in_threads([lambda: [route_pending(timezone.now(), 3) for _ in range(40)]] * 4)
    while route_pending(timezone.now()):
        pass
    assert GroupMember.objects.filter(is_firing=False, ended_at__isnull=False).count() == 40


@pytest.mark.django_db(transaction=True)
def test_a_storm_of_equal_alerts_is_heard_once(eager: None, settings: Settings) -> None:
    settings.SENTINEL = alerting_settings(webhook={"allowed_private_networks": LOOPBACK}, rabbitmq={"enabled": False})
    with receiver(answer(200)) as hook:
        everybody(hook.url)
        for _ in range(30):
            an_alert(an_anomaly())
        tasks.sweep()
    assert len(hook.requests) == 1
    assert Delivery.objects.filter(status="deduplicated").count() == 29
