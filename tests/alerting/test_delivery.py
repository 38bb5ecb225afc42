"""One alert to one channel: claimed once, sent outside any transaction, ended visibly."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from alerting import delivery as deliveries
from alerting.channels import KINDS
from alerting.channels.base import Answer, DeliveryFailed, Message, Target
from alerting.delivery import LEASE, claim, deliver, queue_due, send, settle
from alerting.models import Attempt, Delivery, GroupMember, Heard, Notification
from anomalies.models import Anomaly
from tests.alerting.factories import LOOPBACK, NOW, a_telling, a_webhook, alerting_settings, an_anomaly
from tests.alerting.receivers import answer, receiver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback_allowed")]


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def attempt(delivery: Delivery, at: datetime = NOW) -> str | None:
    status = deliver(delivery.id, lambda: at)
    delivery.refresh_from_db()
    return status


def test_an_accepted_alert_is_delivered_with_its_attempt_on_record() -> None:
    with receiver(answer(200, b"thanks")) as hook:
        delivery = a_telling(a_webhook(hook.url))
        assert attempt(delivery) == "delivered"
    assert (delivery.delivered_at, delivery.attempt_count, delivery.lease_id, delivery.last_error) == (NOW, 1, None, "")
    (made,) = delivery.attempts.all()
    assert (made.number, made.ok, made.status_code, made.answer, made.error) == (1, True, 200, "thanks", "")
    assert made.started_at == NOW
    assert made.latency_ms > 0


def test_what_is_delivered_is_not_sent_again() -> None:
    with receiver(answer(200)) as hook:
        delivery = a_telling(a_webhook(hook.url))
        assert [attempt(delivery, later(n)) for n in range(3)] == ["delivered", None, None]
    assert len(hook.requests) == 1


def test_a_failure_is_tried_again_later_under_the_same_id_and_then_told() -> None:
    answers = iter([answer(500, b"oops"), answer(200)])
    with receiver(lambda _: [next(answers)]) as hook:
        delivery = a_telling(a_webhook(hook.url))
        assert attempt(delivery) == "pending"
        assert delivery.last_error == "the receiver answered 500"
        assert NOW <= delivery.next_attempt_at <= later(1)
        assert attempt(delivery, later(2)) == "delivered"
    assert {request.headers["webhook-id"] for request in hook.requests} == {str(delivery.id)}
    assert [request.headers["webhook-timestamp"] for request in hook.requests] == [
        str(int(NOW.timestamp())),
        str(int(later(2).timestamp())),
    ]
    assert list(delivery.attempts.values_list("number", "ok", "status_code")) == [(1, False, 500), (2, True, 200)]


def test_nothing_is_sent_before_its_time() -> None:
    with receiver(answer(200)) as hook:
        delivery = a_telling(a_webhook(hook.url), next_attempt_at=later(1))
        assert attempt(delivery) is None
        assert attempt(delivery, later(1)) == "delivered"


def test_a_receiver_that_asks_for_time_gets_it() -> None:
    with receiver(answer(429, retry_after="120")) as hook:
        delivery = a_telling(a_webhook(hook.url))
        attempt(delivery)
    assert delivery.next_attempt_at == later(120)


def test_an_answer_that_will_not_change_ends_the_delivery() -> None:
    with receiver(answer(404, b"no such hook")) as hook:
        delivery = a_telling(a_webhook(hook.url))
        assert attempt(delivery) == "dead"
    assert delivery.attempts.get().answer == "no such hook"


def test_gone_disables_the_channel_and_ends_what_still_waits_for_it() -> None:
    with receiver(answer(410)) as hook:
        channel = a_webhook(hook.url)
        first, second = a_telling(channel), a_telling(channel, an_anomaly(model="other"))
        assert attempt(first) == "dead"
        assert attempt(second) is None
    channel.refresh_from_db()
    assert not channel.enabled
    assert channel.disabled_reason == "the receiver answered 410 Gone on 2026-03-01 12:00 UTC"
    assert second.status == "dead"
    assert "410 Gone" in second.last_error
    assert len(hook.requests) == 1


def test_three_fast_attempts_then_slow_rounds_until_it_is_given_up(settings: Settings) -> None:
    settings.SENTINEL = alerting_settings(webhook={"allowed_private_networks": LOOPBACK}, give_up_after=1800.0)
    with receiver(answer(503)) as hook:
        delivery = a_telling(a_webhook(hook.url))
        while delivery.status == "pending":
            attempt(delivery, delivery.next_attempt_at)
    times = [(made.started_at - NOW).total_seconds() for made in Attempt.objects.order_by("number")]
    waits = [after - before for before, after in pairwise(times)]
    assert waits[0] <= 1
    assert waits[1] <= 2
    assert all(30 <= wait <= 300.001 for wait in waits[2:-1])
    assert times[-1] == 1800
    assert delivery.status == "dead"
    assert delivery.attempt_count == len(times)


def test_an_unhealthy_channel_is_tried_by_one_delivery_while_the_others_lose_no_attempt() -> None:
    with receiver(lambda _: [answer(200 if healed else 503)]) as hook:
        healed: list[bool] = []
        channel = a_webhook(hook.url)
        waiting = [a_telling(channel, an_anomaly(model=f"m{n}")) for n in range(8)]
        assert [attempt(delivery) for delivery in waiting] == ["pending"] * 5 + [None] * 3
        assert [delivery.attempt_count for delivery in waiting] == [1] * 5 + [0] * 3
        assert [delivery.next_attempt_at for delivery in waiting[5:]] == [later(30)] * 3
        assert [attempt(delivery, later(30)) for delivery in waiting] == ["pending"] + [None] * 7
        assert len(hook.requests) == 6
        healed.append(True)
        assert attempt(waiting[7], later(90)) == "delivered"
        assert [attempt(delivery, later(90)) for delivery in waiting[:7]] == ["delivered"] * 7


def test_the_first_success_of_an_unhealthy_channel_sends_what_waited() -> None:
    with receiver(answer(200)) as hook:
        channel = a_webhook(hook.url, failure_count=9, failing_since=NOW, retry_at=NOW)
        probe, waiting = a_telling(channel), a_telling(channel, an_anomaly(model="other"))
        Delivery.objects.filter(pk=waiting.pk).update(next_attempt_at=later(250), queued_until=later(250))
        assert attempt(probe) == "delivered"
    waiting.refresh_from_db()
    assert (waiting.status, waiting.next_attempt_at, waiting.queued_until) == ("pending", NOW, None)


def test_what_never_had_an_attempt_when_its_patience_ends_is_visibly_dead() -> None:
    channel = a_webhook("https://x.example/", failure_count=9, failing_since=NOW, retry_at=later(90_000))
    delivery = a_telling(channel)
    assert attempt(delivery, later(80_000)) is None
    assert (delivery.status, delivery.next_attempt_at) == ("pending", later(86_400))
    assert attempt(delivery, later(86_400)) is None
    assert (delivery.status, delivery.last_error) == ("dead", "the channel has not worked all the time")


def test_a_dead_delivery_that_is_replayed_is_tried_afresh_under_its_old_id() -> None:
    with receiver(answer(503)) as hook:
        delivery = a_telling(a_webhook(hook.url))
        attempt(delivery)
        Delivery.objects.update(status="dead")
        days_later = later(5 * 86_400)
        assert Delivery.objects.replay(days_later) == 1
        assert Delivery.objects.replay(days_later) == 0
        assert attempt(delivery, days_later) == "pending"
    assert delivery.next_attempt_at <= days_later + timedelta(seconds=1)  # fast again
    assert [made.number for made in delivery.attempts.all()] == [1, 2]
    assert len({request.headers["webhook-id"] for request in hook.requests}) == 1


@pytest.mark.parametrize("is_firing", [True, False])
def test_what_is_over_when_its_beginning_is_replayed_is_told_as_an_end(recorder: Recorder, is_firing: bool) -> None:
    """Nobody would ever resolve what is opened after its end; and an end fills no window."""
    delivery = a_telling(a_webhook("http://x/"), an_anomaly(state="active" if is_firing else "ended"), status="dead")
    GroupMember.objects.update(is_firing=is_firing, is_settled=not is_firing)
    Delivery.objects.replay(NOW)
    assert attempt(delivery, later(1)) == "delivered"
    (message,) = recorder.sent
    assert message.event == ("anomaly.opened" if is_firing else "anomaly.resolved")
    assert message.notice.is_resolved is not is_firing
    assert json.loads(message.body)["data"]["status"] == ("open" if is_firing else "resolved")
    assert Heard.objects.exists() is is_firing


class Recorder:
    """A kind of channel that notes what is sent while it looks around."""

    name = "webhook"

    def __init__(self, during: Any = None) -> None:
        self.sent: list[Message] = []
        self.in_transaction: list[bool] = []
        self.during = during

    def problems(self, config: dict[str, Any], secret: str) -> dict[str, str]:
        return {}

    def send(self, target: Target, message: Message, at: datetime) -> Answer:
        self.sent.append(message)
        self.in_transaction.append(connection.in_atomic_block)
        if self.during:
            self.during()
        return Answer(200)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    kind = Recorder()
    monkeypatch.setitem(KINDS, "webhook", kind)
    return kind


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_it_is_sent(recorder: Recorder) -> None:
    attempt(a_telling(a_webhook("http://x/")))
    assert recorder.in_transaction == [False]


def test_what_one_worker_holds_no_other_takes(recorder: Recorder) -> None:
    delivery = a_telling(a_webhook("http://x/"))
    assert claim(delivery.id, NOW) is not None
    assert claim(delivery.id, NOW) is None
    assert claim(delivery.id, NOW + LEASE - timedelta(seconds=1)) is None


def test_a_worker_killed_while_posting_leads_to_one_more_delivery_under_the_same_id() -> None:
    with receiver(answer(200)) as hook:
        delivery = a_telling(a_webhook(hook.url))
        claimed = claim(delivery.id, NOW)
        assert claimed is not None
        send(claimed, NOW)  # and here the worker dies: nothing is written down
        assert attempt(delivery, NOW + LEASE - timedelta(seconds=1)) is None
        assert queue_due(NOW + LEASE, 10, LEASE) == [delivery.id]
        assert attempt(delivery, NOW + LEASE) == "delivered"
        assert attempt(delivery, NOW + 2 * LEASE) is None
    assert [request.headers["webhook-id"] for request in hook.requests] == [str(delivery.id)] * 2
    first, second = delivery.attempts.all()
    assert (first.ok, first.error) == (False, deliveries.UNFINISHED)
    assert second.ok


def test_a_worker_that_wakes_after_its_lease_changes_nothing_but_its_own_attempt(recorder: Recorder) -> None:
    delivery = a_telling(a_webhook("http://x/"))
    sleeper = claim(delivery.id, NOW)
    assert sleeper is not None
    successor = claim(delivery.id, NOW + LEASE)
    assert successor is not None
    failure = deliveries.Outcome(1.0, failure=DeliveryFailed("refused", permanent=True))
    assert settle(sleeper, failure, NOW + LEASE) == "pending"
    delivery.refresh_from_db()
    assert delivery.lease_id == successor.lease_id
    assert settle(successor, deliveries.Outcome(1.0, answer=Answer(200)), NOW + LEASE) == "delivered"
    assert settle(sleeper, failure, NOW + LEASE) == "delivered"
    assert list(delivery.attempts.values_list("number", "error", "ok")) == [(1, "refused", False), (2, "", True)]


def test_a_newer_event_takes_the_place_of_an_undelivered_older_one(recorder: Recorder) -> None:
    channel, anomaly = a_webhook("http://x/"), an_anomaly()
    opened = a_telling(channel, anomaly)
    escalated = a_telling(channel, anomaly, type=Notification.Type.ESCALATED)
    assert attempt(opened) is None
    assert attempt(escalated) == "delivered"
    assert opened.status == "superseded"
    assert [message.event for message in recorder.sent] == ["anomaly.escalated"]


def test_a_newer_event_waits_while_an_older_one_is_being_sent(recorder: Recorder) -> None:
    channel, anomaly = a_webhook("http://x/"), an_anomaly()
    opened = a_telling(channel, anomaly)
    resolved = a_telling(channel, anomaly, type=Notification.Type.RESOLVED)
    Delivery.objects.filter(pk=resolved.pk).update(next_attempt_at=later(1), status="muted")
    claimed = claim(opened.id, NOW)
    assert claimed is not None
    Delivery.objects.filter(pk=resolved.pk).update(status="pending")
    assert attempt(resolved, later(1)) is None
    settle(claimed, send(claimed, NOW), later(1))
    assert attempt(resolved, later(2)) == "delivered"
    assert [message.event for message in recorder.sent] == ["anomaly.opened", "anomaly.resolved"]


def test_an_event_that_arrives_after_a_newer_one_was_delivered_is_not_sent(recorder: Recorder) -> None:
    channel, anomaly = a_webhook("http://x/"), an_anomaly()
    opened = a_telling(channel, anomaly, status="dead")
    resolved = a_telling(channel, anomaly, type=Notification.Type.RESOLVED)
    assert attempt(resolved) == "delivered"
    Delivery.objects.replay(NOW)
    attempt(opened, later(1))
    assert opened.status == "superseded"


def test_another_channel_is_not_concerned_by_what_this_one_has_heard(recorder: Recorder) -> None:
    anomaly = an_anomaly()
    attempt(a_telling(a_webhook("http://x/", "a"), anomaly, type=Notification.Type.RESOLVED))
    assert attempt(a_telling(a_webhook("http://x/", "b"), anomaly)) == "delivered"


@pytest.mark.parametrize("status", ["acknowledged", "resolved"])
def test_an_acknowledgement_stops_what_is_still_on_its_way(recorder: Recorder, status: str) -> None:
    delivery = a_telling(a_webhook("http://x/"))
    Anomaly.objects.update(status=status)
    assert attempt(delivery) is None
    assert (delivery.status, delivery.last_error) == ("muted", f"the anomaly is {status}")
    assert recorder.sent == []


def test_the_end_passes_although_the_anomaly_is_resolved(recorder: Recorder) -> None:
    delivery = a_telling(a_webhook("http://x/"), an_anomaly(status="resolved"), type=Notification.Type.RESOLVED)
    assert attempt(delivery) == "delivered"


def test_of_two_equal_alerts_on_their_way_at_once_the_channel_hears_one(recorder: Recorder) -> None:
    channel = a_webhook("http://x/")
    first, second = a_telling(channel), a_telling(channel)
    claimed = claim(first.id, NOW)
    assert claimed is not None
    assert attempt(second) is None  # nobody knows yet whether the first arrives
    assert second.status == "pending"
    settle(claimed, send(claimed, NOW), NOW)
    assert attempt(second, later(1)) is None
    assert second.status == "deduplicated"
    assert len(recorder.sent) == 1


def test_if_the_first_of_two_equal_alerts_fails_the_second_is_sent(recorder: Recorder) -> None:
    channel = a_webhook("http://x/")
    first, second = a_telling(channel), a_telling(channel)
    claimed = claim(first.id, NOW)
    assert claimed is not None
    settle(claimed, deliveries.Outcome(1.0, failure=DeliveryFailed("refused", permanent=True)), NOW)
    assert attempt(second, later(1)) == "delivered"


def test_a_channel_that_breaks_counts_as_a_failure_that_may_be_tried_again(recorder: Recorder) -> None:
    def burst() -> None:
        raise ZeroDivisionError("bug")

    recorder.during = burst
    delivery = a_telling(a_webhook("http://x/"))
    assert attempt(delivery) == "pending"
    assert delivery.last_error == "ZeroDivisionError: bug"


def test_an_answer_with_characters_that_no_database_stores_is_kept_without_them() -> None:
    with receiver(answer(500, b"a\x00b\xff")) as hook:
        delivery = a_telling(a_webhook(hook.url))
        attempt(delivery)
    assert delivery.attempts.get().answer == "a\ufffdb\ufffd"


def test_a_telling_that_does_not_exist_is_nothing_to_do() -> None:
    assert deliver(uuid.uuid4(), lambda: NOW) is None


def test_the_sweep_queues_what_is_due_once_and_again_when_its_task_was_lost() -> None:
    channel = a_webhook("http://x/")
    due, waiting = a_telling(channel), a_telling(channel, next_attempt_at=later(60))
    queued_for = timedelta(seconds=30)
    assert queue_due(NOW, 10, queued_for) == [due.id]
    assert queue_due(later(29), 10, queued_for) == []
    assert queue_due(later(30), 10, queued_for) == [due.id]
    assert set(queue_due(later(60), 10, queued_for)) == {due.id, waiting.id}
    assert queue_due(later(120), 1, queued_for) == [due.id]
