"""The life of an alert: firing, acknowledged, repeated, escalated, resolved, reopened, each heard once and in order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from alerting.models import AlertGroup, Delivery, EscalationStep, Notification, SeverityChannel, Silence
from alerting.models import Heard as HeardOf
from anomalies.models import Anomaly
from tests.alerting.factories import LOOPBACK, NOW, alerting_settings
from tests.alerting.life import Life

pytestmark = pytest.mark.django_db

HOUR = 3600.0


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Life:
    settings.SENTINEL = alerting_settings(
        webhook={"allowed_private_networks": LOOPBACK}, rabbitmq={"enabled": False}, max_event_age=1e9
    )
    return Life(monkeypatch)


def test_a_group_waits_is_told_and_ends(life: Life) -> None:
    life.rule(life.channel(), group_wait=30)
    anomaly = life.opens()
    life.passes(100)
    life.ends(anomaly)
    life.passes(10)
    assert life.types() == [(30, "opened"), (100, "resolved")]
    assert AlertGroup.objects.get().phase == "resolved"


def test_anomalies_of_one_incident_are_told_as_one(life: Life) -> None:
    life.rule(life.channel(), group_wait=30)
    first = life.opens()
    others = [life.opens(like=first, model=f"m{n}", severity="warning") for n in range(4)]
    life.opens("other-service")
    life.passes(30)
    life.ends(first, *others)
    life.passes(10)
    batch, single = sorted(life.heard[:2], key=lambda each: each.message.event)
    (end,) = life.heard[2:]
    events = [each.message.event for each in (batch, single, end)]
    assert events == ["anomaly.batch", "anomaly.opened", "anomaly.batch"]
    data = batch.body["data"]
    assert (data["incident_id"], data["status"], data["severity"]) == (str(first.incident_id), "open", "critical")
    assert data["count"] == len(data["anomalies"]) == 5
    assert (batch.message.service, batch.message.anomaly_type) == ("chat-api", "batch")
    assert end.body["data"]["status"] == "resolved"
    assert {anomaly["status"] for anomaly in end.body["data"]["anomalies"]} == {"resolved"}


def test_a_batch_is_told_early_once_it_is_large(life: Life, settings: Settings) -> None:
    settings.SENTINEL = alerting_settings(batch={"max_size": 3}, rabbitmq={"enabled": False}, max_event_age=1e9)
    life.rule(life.channel(), group_wait=300)
    first = life.opens()
    life.opens(like=first, model="m1")
    life.passes(5)
    assert life.heard == []
    life.opens(like=first, model="m2")
    life.passes(5)
    assert life.types() == [(5, "opened")]
    assert len(life.heard[0].anomalies) == 3


def test_what_joins_later_is_told_after_the_interval_and_alone(life: Life) -> None:
    life.rule(life.channel(), group_wait=0, group_interval=60)
    first = life.opens()
    life.passes(10)
    late = life.opens(like=first, model="late")
    life.passes(120)
    assert life.types() == [(0, "opened"), (60, "opened")]
    assert life.heard[1].anomalies == [str(late.pk)]


def test_what_gets_worse_is_told_at_once(life: Life) -> None:
    life.rule(life.channel(), group_wait=0, group_interval=300)
    anomaly = life.opens(severity="warning")
    life.passes(10)
    life.rises(anomaly)
    life.passes(10)
    assert life.types() == [(0, "opened"), (10, "escalated")]
    assert life.heard[1].message.severity == "critical"


def test_what_lasts_is_repeated_until_it_ends(life: Life) -> None:
    life.rule(life.channel(), group_wait=0, repeat_interval=3600)
    anomaly = life.opens()
    life.passes(2.5 * HOUR, every=60)
    life.ends(anomaly)
    life.passes(4 * HOUR, every=600)
    assert life.types() == [(0, "opened"), (HOUR, "repeated"), (2 * HOUR, "repeated"), (2.5 * HOUR, "resolved")]


def test_an_acknowledged_alert_is_quiet_until_the_acknowledgement_expires(life: Life) -> None:
    life.rule(life.channel(), group_wait=0, repeat_interval=3600)
    anomaly = life.opens()
    life.passes(60)
    life.acknowledge(anomaly, until=3 * HOUR)
    life.passes(5 * HOUR, every=60)
    assert life.types() == [(0, "opened"), *((n * HOUR + 60, "repeated") for n in (3, 4, 5))]


def test_resolving_by_hand_is_an_end_that_is_told(life: Life) -> None:
    life.rule(life.channel(), group_wait=0)
    anomaly = life.opens()
    life.passes(60)
    life.resolve(anomaly)
    life.passes(10)
    life.ends(anomaly)
    life.passes(10)
    assert life.types() == [(0, "opened"), (60, "resolved")]


def escalating(life: Life) -> None:
    rule = life.rule(life.channel(), group_wait=0)
    for order, (name, wait) in enumerate((("second", 300), ("boss", 600))):
        EscalationStep.objects.create(rule=rule, order=order, channel=life.channel(name), wait=wait)


def test_nobody_answers_so_others_hear_step_by_step_and_of_the_end(life: Life) -> None:
    escalating(life)
    anomaly = life.opens()
    life.passes(1000)
    life.ends(anomaly)
    life.passes(10)
    assert life.types("second") == [(300, "escalated"), (1000, "resolved")]
    assert life.types("boss") == [(900, "escalated"), (1000, "resolved")]
    assert life.types() == [(0, "opened"), (1000, "resolved")]


def test_an_acknowledgement_stops_the_escalation_also_one_on_its_way(life: Life) -> None:
    escalating(life)
    life.receivers.failing.add("second")
    anomaly = life.opens()
    life.passes(301)
    assert life.receivers.refused > 0
    life.acknowledge(anomaly)
    life.receivers.failing.clear()
    life.passes(2 * HOUR, every=60)
    assert life.types("second") == life.types("boss") == []
    assert Delivery.objects.get(channel__name="second").status == "muted"
    life.ends(anomaly)
    life.passes(10)
    assert life.types("second") == [], "who was never told hears of no end"
    assert life.types()[-1][1] == "resolved"


def test_severities_have_channels_of_their_own(life: Life) -> None:
    rule = life.rule(life.channel(), group_wait=0)
    SeverityChannel.objects.create(rule=rule, severity="critical", channel=life.channel("pager"))
    anomaly = life.opens(severity="warning")
    life.passes(60)
    life.rises(anomaly)
    life.passes(60)
    life.ends(anomaly)
    life.passes(10)
    assert [what for _, what in life.types()] == ["opened", "resolved"]
    assert [what for _, what in life.types("pager")] == ["escalated", "resolved"]


def test_what_fires_again_within_the_grace_time_is_the_same_group_reopened_and_damped(life: Life) -> None:
    life.rule(life.channel(), group_wait=30)
    groups = set()
    for _ in range(3):
        anomaly = life.opens()
        life.passes(400)
        life.ends(anomaly)
        life.passes(100)
        groups.add(life.heard[-1].message.notice.group_id)
    assert len(groups) == 1
    # 30, 60 and 120 seconds after each beginning, as it flaps.
    assert [at for at, what in life.types() if what == "opened"] == [30, 560, 1120]
    assert [at for at, what in life.types() if what == "resolved"] == [400, 900, 1400]
    assert [each.message.notice.thread != "" for each in life.heard] == [False] + [True] * 5


def test_an_end_that_was_not_taken_is_told_by_the_beginning_that_follows(life: Life) -> None:
    life.rule(life.channel(), group_wait=0)
    over = life.opens(severity="critical")
    life.passes(30)
    life.receivers.failing.add("hook")
    life.ends(over)
    life.passes(30)
    again = life.opens(severity="warning")
    life.passes(30)
    life.receivers.failing.clear()
    life.passes(90)
    both = life.heard[1]
    told = {anomaly.id: anomaly.status for anomaly in both.message.notice.anomalies}
    assert (both.type, told) == ("anomaly.opened", {str(over.pk): "resolved", str(again.pk): "open"})
    assert both.message.severity == "warning"
    assert "• over: Latency spike" in both.message.notice.text
    assert HeardOf.objects.filter(delivered_at=NOW + timedelta(seconds=both.at)).count() == 1, "an end fills no window"


def test_what_fires_again_after_the_grace_time_is_new(life: Life) -> None:
    life.rule(life.channel(), group_wait=30)
    for _ in range(2):
        anomaly = life.opens()
        life.passes(60)
        life.ends(anomaly)
        life.passes(700)
    assert len({each.message.notice.group_id for each in life.heard}) == 2
    assert life.types()[2] == (790, "opened")


def silence(life: Life, start: float, end: float, service: str = "chat-api") -> None:
    begin = life.now + timedelta(seconds=start)
    matchers = [{"field": "service", "op": "exact", "value": service}]
    Silence.objects.create(matchers=matchers, starts_at=begin, ends_at=life.now + timedelta(seconds=end))


def test_silenced_means_silent_and_what_outlasts_the_silence_is_told(life: Life) -> None:
    life.rule(life.channel(), group_wait=0)
    silence(life, 0, 600)
    over, lasting = life.opens(), life.opens(model="lasting")
    life.passes(300)
    life.ends(over)
    life.passes(400)
    assert life.types() == [(600, "opened")]
    assert life.heard[0].anomalies == [str(lasting.pk)]


def test_an_end_during_a_silence_is_told_when_the_silence_is_over(life: Life) -> None:
    life.rule(life.channel(), group_wait=0)
    anomaly = life.opens()
    life.passes(10)
    silence(life, 0, 600)
    life.ends(anomaly)
    life.passes(700)
    assert life.types() == [(0, "opened"), (610, "resolved")]


def test_a_silence_that_begins_while_a_message_is_retried_holds_it(life: Life) -> None:
    life.rule(life.channel(), group_wait=0)
    life.receivers.failing.add("hook")
    life.opens()
    life.passes(10)
    life.receivers.failing.clear()
    silence(life, 0, 600)
    life.passes(500)
    assert life.heard == []
    life.passes(200)
    assert [what for _, what in life.types()] == ["opened"]


def test_a_silence_that_begins_while_several_are_retried_holds_only_those_it_names(life: Life) -> None:
    life.rule(life.channel(), group_wait=0, group_by=[])
    life.receivers.failing.add("hook")
    free, held = life.opens("free"), life.opens("held")
    life.passes(10)
    life.receivers.failing.clear()
    silence(life, 0, 600, "held")
    life.passes(700)
    assert [each.anomalies for each in life.heard] == [[str(free.pk)], [str(held.pk)]]
    assert life.heard[1].at == 610


def test_what_a_channel_heard_just_now_it_hears_when_the_window_is_over_if_it_still_lasts(life: Life) -> None:
    """Another group of the same series is deduplicated, not lost."""
    life.rule(life.channel(), group_wait=0, group_by=["incident"])
    first = life.opens()
    life.passes(20)
    second = life.opens(direction="down")
    life.passes(200)
    assert life.types() == [(0, "opened")]
    assert Delivery.objects.filter(status="deduplicated").count() == 1
    life.passes(200)
    assert [at for at, _ in life.types()] == [0, 300]
    assert life.heard[1].anomalies == [str(second.pk)]
    life.ends(first, second)
    life.passes(10)
    assert [what for _, what in life.types()][2:] == ["resolved", "resolved"]


def test_what_counts_as_the_same_is_told_in_turn_and_repeats_wait_for_it(life: Life) -> None:
    life.rule(life.channel(), group_wait=0, repeat_interval=299)
    same = []
    for _ in range(5):
        same.append(str(life.opens().pk))
        life.passes(1)
    life.passes(4 * 310, every=10)
    assert [each.anomalies for each in life.heard] == [[anomaly] for anomaly in same]


def test_crossings_of_budgets_are_each_told_once_however_alike_and_however_long_they_last(life: Life) -> None:
    life.rule(life.channel(), group_wait=0, repeat_interval=600)
    crossings = [life.opens(detector="budget") for _ in range(2)]
    life.passes(1300, every=50)
    assert sorted(each.anomalies[0] for each in life.heard) == sorted(str(row.pk) for row in crossings)
    life.opens(like=crossings[0])
    life.passes(1300, every=50)
    assert [what for _, what in life.types()] == ["opened", "opened", "opened", "repeated", "repeated"]
    assert life.heard[-1].anomalies != [str(crossings[0].pk)], "what is spent stays spent"
    life.ends(crossings[1])
    life.passes(50)
    assert life.types()[-1][1] == "resolved"


def test_what_was_deduplicated_and_is_over_is_told_to_nobody(life: Life) -> None:
    life.rule(life.channel(), group_wait=0)
    life.opens()
    life.passes(20)
    second = life.opens(direction="down")
    life.passes(20)
    life.ends(second)
    life.passes(1000)
    assert life.types() == [(0, "opened")]


def test_a_channel_that_two_rules_name_hears_once(life: Life) -> None:
    hook = life.channel()
    life.rule(hook, name="a", order=1, group_wait=0, continue_matching=True)
    life.rule(hook, life.channel("other"), name="b", order=2, group_wait=0)
    anomaly = life.opens()
    life.passes(400)
    life.ends(anomaly)
    life.passes(10)
    assert [what for _, what in life.types()] == [what for _, what in life.types("other")] == ["opened", "resolved"]


def test_what_does_not_last_long_enough_is_told_to_nobody(life: Life) -> None:
    life.rule(life.channel(), group_wait=0, min_duration=120)
    short, long = life.opens(), life.opens(model="long")
    life.passes(60)
    life.ends(short)
    life.passes(100)
    assert life.types() == [(120, "opened")]
    assert life.heard[0].anomalies == [str(long.pk)]


def test_a_rule_that_wants_recurrence_takes_the_third_of_three(life: Life) -> None:
    life.rule(life.channel(), group_wait=0, min_occurrences=3, occurrences_within=600)
    for _ in range(3):
        anomaly = life.opens()
        life.passes(60)
        life.ends(anomaly)
        life.passes(60)
    assert [at for at, _ in life.types()] == [240, 300]


def test_a_lost_end_is_found(life: Life) -> None:
    life.rule(life.channel(), group_wait=0)
    life.opens()
    life.passes(10)
    Anomaly.objects.update(state="ended")  # as after the loss of a partition's state: nobody announces it
    life.passes(10)
    assert [what for _, what in life.types()] == ["opened", "resolved"]


def test_looking_again_at_a_group_tells_nothing_twice(life: Life) -> None:
    life.rule(life.channel(), group_wait=0)
    life.opens()
    life.passes(5)
    AlertGroup.objects.update(due_at=life.now)  # as if somebody else had looked at the same time
    life.passes(5)
    assert [row.sequence for row in Notification.objects.all()] == [1]
    assert len(life.heard) == 1


def flood(life: Life, count: int, **changes: Any) -> list[Anomaly]:
    return [life.opens(f"s{n}", model=f"m{n}", **changes) for n in range(count)]


def test_what_exceeds_the_rate_of_a_channel_is_told_in_one_summary(life: Life) -> None:
    life.rule(life.channel(rate_limit=3), group_wait=0)
    anomalies = flood(life, 10)
    life.passes(59)
    assert len(life.heard) == 3
    life.passes(10)
    assert len(life.heard) == 4
    summary = life.heard[3]
    assert summary.message.event == "anomaly.batch"
    assert summary.message.service == "_many"
    assert summary.body["data"]["incident_id"] is None
    assert sorted(a for each in life.heard for a in each.anomalies) == sorted(str(a.pk) for a in anomalies)
    assert Delivery.objects.filter(status="summarised").exclude(delivered_at=None).count() == 6


def test_ends_that_exceed_the_rate_are_in_the_summary_and_none_is_lost(life: Life) -> None:
    life.rule(life.channel(rate_limit=2), group_wait=0)
    anomalies = flood(life, 6)
    life.passes(130)
    life.ends(*anomalies)
    life.passes(200)
    ended = [a for each in life.heard if each.message.notice.is_resolved for a in each.anomalies]
    assert sorted(ended) == sorted(str(anomaly.pk) for anomaly in anomalies)
    times = [each.at for each in life.heard]
    assert all(sum(at <= each < at + 60 for each in times) <= 2 for at in times)


def test_a_summary_that_fails_is_tried_again_and_counts_as_heard_only_then(life: Life) -> None:
    life.rule(life.channel(rate_limit=2), group_wait=0)
    flood(life, 5)
    life.passes(30)
    life.receivers.failing.add("hook")
    life.passes(40)
    assert Delivery.objects.filter(status="summarised", delivered_at=None).count() == 2
    life.receivers.failing.clear()
    life.passes(600)
    assert len({a for each in life.heard for a in each.anomalies}) == 5
    assert life.pending() == 0


def test_an_older_message_that_never_left_is_told_by_the_newer_one(life: Life) -> None:
    life.rule(life.channel(), group_wait=0, group_interval=60)
    life.receivers.failing.add("hook")
    first = life.opens()
    life.passes(10)
    second = life.opens(like=first, model="second")
    life.passes(120)
    life.receivers.failing.clear()
    life.passes(600)
    (only,) = [each for each in life.heard if each.type == "anomaly.opened"]
    assert set(only.anomalies) == {str(first.pk), str(second.pk)}
    assert set(Delivery.objects.values_list("status", flat=True)) == {"superseded", "delivered"}
