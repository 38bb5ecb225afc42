"""Channels that fail: they are tried slowly, the others hear of it, and nothing that waits for them is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from alerting import health
from alerting.channels.base import DeliveryFailed
from alerting.models import Channel
from alerting.rules.health import UNHEALTHY_AFTER, is_news, pause
from baselines.models import Project
from tests.alerting.factories import NOW, a_webhook
from tests.alerting.receivers import Receiver, answer, receiver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback_allowed")]

BROKEN = DeliveryFailed("the receiver answered 503", permanent=False, status_code=503)
GONE = DeliveryFailed("the receiver answered 410 Gone", permanent=True, status_code=410, gone=True)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def again(channel: Channel) -> Channel:
    return Channel.objects.get(pk=channel.pk)


def fail(channel: Channel, times: int = UNHEALTHY_AFTER, at: datetime = NOW) -> Channel:
    for _ in range(times):
        health.note_failure(channel, BROKEN, at)
    return again(channel)


@pytest.fixture
def others() -> Iterator[Receiver]:
    """A receiver of the news."""
    with receiver(answer(200)) as running:
        a_webhook(running.url, "other")
        yield running


def news(hook: Receiver) -> list[tuple[str, str]]:
    bodies = [json.loads(request.body) for request in hook.requests]
    return [(body["type"], body["data"]["title"]) for body in bodies]


def test_a_channel_is_tried_freely_until_it_failed_several_times_in_a_row() -> None:
    channel = fail(a_webhook("https://x.example/"), UNHEALTHY_AFTER - 1)
    assert (channel.failure_count, channel.failing_since, channel.retry_at) == (UNHEALTHY_AFTER - 1, NOW, None)
    assert health.waits_until(channel, NOW) is None
    channel = fail(channel, 1)
    assert channel.last_error == "the receiver answered 503"
    assert health.waits_until(channel, NOW) == later(30)


def test_of_an_unhealthy_channel_one_delivery_tries_and_the_others_wait_for_what_comes_of_it() -> None:
    channel = fail(a_webhook("https://x.example/"))
    assert health.waits_until(channel, later(30)) is None
    assert health.waits_until(again(channel), later(30)) == later(30) + health.PROBE
    health.note_failure(channel, BROKEN, later(31))
    assert again(channel).retry_at == later(31 + 60)


def test_pauses_grow_to_five_minutes_and_no_further() -> None:
    pauses = [pause(failures) for failures in range(UNHEALTHY_AFTER - 1, UNHEALTHY_AFTER + 5)]
    assert pauses[0] is None
    assert [found.total_seconds() for found in pauses if found] == [30, 60, 120, 240, 300]
    assert pause(10**9) == timedelta(minutes=5)


def test_one_success_makes_it_healthy() -> None:
    channel = fail(a_webhook("https://x.example/"))
    health.note_success(channel, later(40))
    channel = again(channel)
    assert (channel.failure_count, channel.failing_since, channel.retry_at, channel.last_error) == (0, None, None, "")


def test_a_receiver_that_is_only_too_busy_is_not_unhealthy() -> None:
    channel = a_webhook("https://x.example/")
    for _ in range(20):
        health.note_failure(channel, DeliveryFailed("busy", permanent=False, status_code=429), NOW)
    assert again(channel).failure_count == 0


def test_the_others_hear_once_that_it_fails_and_once_that_it_works_again(others: Receiver) -> None:
    channel = fail(a_webhook("https://x.example/", "bad"))
    assert health.tell_of_channels(later(59)) == 0
    assert health.tell_of_channels(later(60)) == 1
    fail(channel, 3, later(90))
    assert health.tell_of_channels(later(120)) == 0
    health.note_success(again(channel), later(150))
    assert health.tell_of_channels(later(150)) == 1
    assert health.tell_of_channels(later(180)) == 0
    assert news(others) == [
        ("channel.unhealthy", "The channel bad does not work"),
        ("channel.healthy", "The channel bad works again"),
    ]
    groups = {json.loads(request.body)["data"]["id"] for request in others.requests}
    assert len(groups) == 1


def test_what_comes_back_within_a_minute_is_no_news(others: Receiver) -> None:
    channel = fail(a_webhook("https://x.example/", "bad"))
    health.note_success(channel, later(30))
    assert health.tell_of_channels(later(61)) == 0
    assert others.requests == []


def test_a_channel_that_its_receiver_disabled_is_told_of_at_once(others: Receiver) -> None:
    channel = a_webhook("https://x.example/", "bad")
    health.note_failure(channel, GONE, NOW)
    channel = again(channel)
    assert not channel.enabled
    assert channel.disabled_reason == "the receiver answered 410 Gone on 2026-03-01 12:00 UTC"
    assert health.tell_of_channels(NOW) == 1
    assert b"disabled" in others.requests[0].body


def test_news_that_nobody_took_are_told_again() -> None:
    fail(a_webhook("https://x.example/", "bad"))
    with receiver(lambda _: [answer(503 if len(hook.requests) == 1 else 200)]) as hook:
        a_webhook(hook.url, "other")
        assert health.tell_of_channels(later(60)) == 0
        assert health.tell_of_channels(later(90)) == 1
        assert health.tell_of_channels(later(120)) == 0


def test_of_two_workers_one_tells(others: Receiver) -> None:
    channel = fail(a_webhook("https://x.example/", "bad"))
    assert health._begin_telling(channel, later(60))
    assert health.tell_of_channels(later(61)) == 0  # the other one is at it
    assert health.tell_of_channels(later(60) + health.TELLING) == 1  # and must have stopped


def test_an_unhealthy_or_disabled_channel_is_not_asked_to_tell(others: Receiver) -> None:
    fail(a_webhook("https://x.example/", "bad"))
    Channel.objects.filter(name="other").update(enabled=False)
    assert health.tell_of_channels(later(60)) == 0
    Channel.objects.filter(name="other").update(enabled=True, failure_count=UNHEALTHY_AFTER)
    assert health.tell_of_channels(later(90)) == 0
    assert others.requests == []


def test_channels_of_another_project_hear_nothing(others: Receiver) -> None:
    mine, theirs = (Project.objects.get_or_create(name=name)[0] for name in ("mine", "theirs"))
    Channel.objects.filter(name="other").update(project=theirs)
    fail(a_webhook("https://x.example/", "bad", project=mine))
    assert health.tell_of_channels(later(60)) == 0
    assert others.requests == []


def test_disabling_by_hand_is_no_news() -> None:
    assert not is_news(0, None, True, NOW)
