"""Silences that are about to end are announced to those who will hear from what they hold back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from alerting import metrics
from alerting.endings import AHEAD, announce_endings
from alerting.models import AlertGroup, AlertRule, Channel, GroupMember, SeverityChannel, Silence
from tests.alerting.factories import NOW, a_service, a_webhook, an_anomaly
from tests.alerting.receivers import Receiver, answer, receiver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback_allowed")]

DAY = timedelta(days=1)


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver(answer(200)) as running:
        yield running


def a_silence(**changes: Any) -> Silence:
    values = {
        "matchers": [{"field": "service", "op": "exact", "value": "chat-api"}],
        "author": "ann",
        "comment": "deploy",
    }
    return Silence.objects.create(**(values | {"starts_at": NOW - DAY, "ends_at": NOW + AHEAD} | changes))


def firing(rule: AlertRule | None, service: str = "chat-api") -> None:
    """A critical latency spike in a group of the rule."""
    anomaly = an_anomaly(a_service(service))
    group = AlertGroup.objects.create(rule=rule, project=anomaly.service.project, key=uuid.uuid4().hex)
    GroupMember.objects.create(group=group, anomaly=anomaly, severity="critical", occurred_at=NOW, ready_at=NOW)


def a_rule(*channels: Channel, **changes: Any) -> AlertRule:
    rule = AlertRule.objects.create(**({"name": "all"} | changes))
    rule.channels.set(channels)
    return rule


def said(hook: Receiver) -> list[tuple[str, str]]:
    bodies = [json.loads(request.body) for request in hook.requests]
    return [(body["type"], body["data"]["title"]) for body in bodies]


def counted(channel: str) -> list[tuple[dict[str, str], float]]:
    """What the metric says of a channel: labels and counts."""
    samples = [sample for family in metrics.OWN_NEWS.collect() for sample in family.samples]
    chosen = [sample for sample in samples if sample.name.endswith("_total") and sample.labels["channel"] == channel]
    return [(sample.labels, sample.value) for sample in chosen]


def test_a_silence_that_holds_something_back_is_announced_once_before_it_ends(hook: Receiver) -> None:
    firing(a_rule(a_webhook(hook.url)))
    silence = a_silence()
    assert announce_endings(NOW) == 1
    assert said(hook) == [("silence.ending", "A silence by ann ends at 12:15 UTC")]
    text = json.loads(hook.requests[0].body)["data"]["description"]
    assert "latency_spike in chat-api (gpt-4)" in text
    assert "deploy" in text
    assert announce_endings(NOW) == 0
    silence.refresh_from_db()
    assert silence.announced_at == NOW


@pytest.mark.parametrize(
    "changes",
    [
        {"ends_at": NOW + AHEAD + timedelta(seconds=1)},
        {"ends_at": NOW},
        {"starts_at": NOW - timedelta(minutes=5), "ends_at": NOW + timedelta(minutes=10)},  # three quarters are ahead
        {"matchers": [{"field": "service", "op": "exact", "value": "mail"}]},
        {"kind": "maintenance", "weekly": {"timezone": "UTC", "start": "00:00", "end": "01:00"}},
        {"matchers": "spoilt"},
    ],
)
def test_a_silence_is_not_announced_early_late_or_while_it_holds_nothing_back(hook: Receiver, changes: Any) -> None:
    firing(a_rule(a_webhook(hook.url)))
    a_silence(**changes)
    assert announce_endings(NOW) == 0
    assert said(hook) == []


def test_it_is_announced_as_soon_as_something_begins_that_it_holds_back(hook: Receiver) -> None:
    rule = a_rule(a_webhook(hook.url))
    a_silence()
    assert announce_endings(NOW) == 0
    firing(rule)
    assert announce_endings(NOW) == 1


def test_those_hear_of_it_who_will_hear_from_what_it_holds_back(hook: Receiver) -> None:
    pager, mail, foreign = (a_webhook(hook.url, name=name) for name in ("pager", "mail", "foreign"))
    rule = a_rule(mail)
    SeverityChannel.objects.create(rule=rule, severity="critical", channel=pager)
    a_rule(foreign, name="of something else")
    a_webhook(hook.url, name="disabled", enabled=False)
    firing(rule)
    a_silence()
    announce_endings(NOW)
    assert len(hook.requests) == 1
    SeverityChannel.objects.all().delete()
    Silence.objects.update(announced_at=None)
    Channel.objects.filter(pk=mail.pk).update(kind=Channel.Kind.PAGERDUTY)
    assert announce_endings(NOW) == 0, "nobody is paged because a silence ends"


def test_a_channel_that_fails_keeps_the_news_from_no_other(hook: Receiver) -> None:
    with receiver(answer(500)) as broken:
        firing(a_rule(a_webhook(broken.url, name="broken"), a_webhook(hook.url)))
        a_silence()
        assert announce_endings(NOW) == 1
    assert len(hook.requests) == 1


def test_an_announcement_that_nobody_took_is_made_again(hook: Receiver) -> None:
    channel = a_webhook(hook.url, "taciturn")
    firing(a_rule(channel))
    a_silence()
    with receiver(answer(500)) as broken:
        Channel.objects.filter(pk=channel.pk).update(config={"url": broken.url})
        assert announce_endings(NOW) == 0
    Channel.objects.filter(pk=channel.pk).update(config={"url": hook.url})
    assert [announce_endings(NOW + timedelta(minutes=n)) for n in (1, 2)] == [1, 0]
    outcomes = {labels["outcome"]: count for labels, count in counted("taciturn")}
    assert outcomes == {"refused": 1, "told": 1}


def test_a_channel_of_a_project_hears_of_that_project_only(hook: Receiver) -> None:
    blue = a_service("blue-api", "blue").project
    rule = a_rule(a_webhook(hook.url, project=blue))
    for service in ("blue-api", "chat-api"):
        firing(rule, service)
    a_silence(matchers=[{"field": "service", "op": "glob", "value": "*"}])
    announce_endings(NOW)
    text = json.loads(hook.requests[0].body)["data"]["description"]
    assert "blue-api" in text
    assert "chat-api" not in text
