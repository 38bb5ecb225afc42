"""A storm of flagged events over one incident makes as many requests as there is news, and not one more."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import msgspec
import pytest
from pytest_django import Settings

from alerting import joining
from alerting.delivery import deliver, queue_due
from alerting.models import AlertRule, Delivery
from alerting.outbox import announce
from alerting.quiet import load_quiet
from alerting.routing import route_pending
from alerting.telling import tell_due
from anomalies.models import Anomaly, Incident
from tests.alerting.factories import LOOPBACK, a_webhook, alerting_settings
from tests.alerting.receivers import answer, receiver
from tests.anomalies.episodes import episode, record
from tests.support.catalogue import NOON

SERIES = 50
EVENTS = 100_000
BEATS = 40
"""Batches of the consumer, all series in each."""
LASTS = 70.0
GROUP_WAIT, WINDOW, REPEAT = 3, 5.0, 20


@pytest.mark.django_db
@pytest.mark.timeout(240)
def test_a_hundred_thousand_flagged_events_of_one_incident_are_told_once_repeated_when_due_and_resolved(
    settings: Settings,
) -> None:
    settings.SENTINEL = alerting_settings(
        webhook={"allowed_private_networks": LOOPBACK},
        rabbitmq={"enabled": False},
        deduplication={"window_secs": WINDOW},
        max_event_age=1e9,
    )
    with receiver(answer(200)) as first, receiver(answer(200)) as second:
        pace = {"group_wait": GROUP_WAIT, "group_interval": REPEAT, "repeat_interval": REPEAT}
        rule = AlertRule.objects.create(name="all", min_severity="info", **pace)
        rule.channels.set([a_webhook(hook.url, name) for name, hook in (("first", first), ("second", second))])
        for beat in range(BEATS):
            storm(beat)
            sweep(LASTS * beat / BEATS)
        for seconds in range(int(LASTS), 200):
            if seconds == LASTS:
                storm(BEATS, state="ended")
            sweep(seconds)
    assert Anomaly.objects.count() == SERIES
    assert sum(Anomaly.objects.values_list("occurrences", flat=True)) == EVENTS
    assert Incident.objects.current().count() == 1
    repeats = int((LASTS - GROUP_WAIT) // REPEAT)
    for hook in (first, second):
        types = Counter(told(request.body) for request in hook.requests)
        assert types == {("open", SERIES): 1 + repeats, ("resolved", SERIES): 1}
    assert first.connections + second.connections == 2 * (1 + repeats + 1)
    assert set(Delivery.objects.values_list("status", flat=True)) == {"delivered"}


def storm(beat: int, state: str = "active") -> None:
    """Every series flags once more as many events."""
    at = LASTS * beat / BEATS
    share = EVENTS // (SERIES * (BEATS + 1))
    flagged = EVENTS // SERIES if state == "ended" else share * (beat + 1)
    changes = record(
        [
            episode(1 + number, 0, at, model=f"model-{number}", occurrences=flagged, severity="critical", state=state)
            for number in range(SERIES)
        ]
    )
    announce(changes, NOON + timedelta(seconds=at))


def sweep(seconds: float) -> None:
    """What the workers do at that moment."""
    now = NOON + timedelta(seconds=seconds)
    while route_pending(now):
        pass
    joining.end_silently_ended(now)
    while tell_due(now, load_quiet(now))[0]:
        pass
    for each in [*queue_due(now + timedelta(seconds=31), 1000, timedelta(0))]:
        deliver(each, lambda: now)


def told(body: bytes) -> tuple[str, int]:
    data = msgspec.json.decode(body)["data"]
    return data["status"], data["count"]
