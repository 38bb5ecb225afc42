"""Which channels hear of an alert."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import DjangoAssertNumQueries, Settings

from alerting.channels.base import Answer
from alerting.hearing import remember
from alerting.models import Alert, AlertRule, Channel, Delivery, SeverityChannel
from alerting.quiet import load_quiet
from alerting.routing import load_routing_table, route_pending
from alerting.telling import tell_due
from anomalies.models import Anomaly
from baselines.models import Project
from tests.alerting.factories import NOW, a_service, a_webhook, alerting_settings, an_alert, an_anomaly

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback_allowed")]


def a_rule(*channels: Channel, name: str = "rule", **changes: Any) -> AlertRule:
    rule = AlertRule.objects.create(name=name, **({"group_wait": 0} | changes))
    rule.channels.set(channels)
    return rule


def heard() -> set[tuple[str, str]]:
    """Who is to hear: channel and status of every delivery."""
    return set(Delivery.objects.values_list("channel__name", "status"))


def route(now: datetime = NOW) -> int:
    """Empty the outbox and tell what is due."""
    count = route_pending(now)
    while tell_due(now, load_quiet(now))[0]:
        pass
    return count


def matcher(field: str, value: str, op: str = "exact") -> list[dict[str, str]]:
    return [{"field": field, "op": op, "value": value}]


def test_until_a_rule_exists_the_channels_of_the_configuration_hear_everything(settings: Settings) -> None:
    settings.SENTINEL = alerting_settings(rabbitmq={"enabled": True, "url": "memory://"})
    a_webhook("http://127.0.0.1:1/", name="bystander")
    alert = an_alert(an_anomaly(severity="info"))
    assert route() == 1
    assert heard() == {("config:rabbitmq", "pending")}
    alert.refresh_from_db()
    assert (alert.outcome, alert.routed_at) == ("routed", NOW)


def test_a_rule_takes_the_place_of_the_built_in_one(settings: Settings) -> None:
    settings.SENTINEL = alerting_settings(rabbitmq={"enabled": True, "url": "memory://"})
    a_rule(a_webhook("http://127.0.0.1:1/"), matchers=matcher("service", "other"))
    alert = an_alert()
    route()
    alert.refresh_from_db()
    assert heard() == set()
    assert alert.outcome == "no_channel"


def test_a_rule_of_another_project_leaves_the_built_in_one_in_force(settings: Settings) -> None:
    settings.SENTINEL = alerting_settings(rabbitmq={"enabled": True, "url": "memory://"})
    a_rule(a_webhook("http://127.0.0.1:1/"), project=Project.objects.create(name="other"))
    an_alert()
    route()
    assert heard() == {("config:rabbitmq", "pending")}


def test_the_first_rule_that_matches_decides() -> None:
    first, second = (a_webhook("http://127.0.0.1:1/", name=name) for name in ("first", "second"))
    a_rule(second, name="later", order=20)
    a_rule(first, name="earlier", order=10, matchers=matcher("model", "gpt-*", "glob"))
    an_alert()
    route()
    assert heard() == {("first", "pending")}
    assert Delivery.objects.get().rule == AlertRule.objects.get(name="earlier")


def test_a_rule_that_says_so_lets_the_following_ones_speak_too_and_nobody_hears_twice() -> None:
    first, second = (a_webhook("http://127.0.0.1:1/", name=name) for name in ("first", "second"))
    a_rule(first, name="a", order=1, continue_matching=True)
    a_rule(first, second, name="b", order=2)
    a_rule(a_webhook("http://127.0.0.1:1/", name="third"), name="c", order=3)
    an_alert()
    route()
    assert heard() == {("first", "pending"), ("second", "pending")}
    assert Delivery.objects.get(channel=first).rule == AlertRule.objects.get(name="a")


@pytest.mark.parametrize(
    ("changes", "takes"),
    [
        ({"min_severity": "critical"}, True),
        ({"matchers": matcher("severity", "critical")}, True),
        ({"matchers": matcher("severity", "warning")}, False),
        ({"matchers": matcher("labels.team", "search")}, True),
        ({"matchers": matcher("labels.team", "ads")}, False),
        ({"matchers": matcher("event", "anomaly.opened")}, True),
        ({"matchers": matcher("project", "default")}, True),
        ({"enabled": False}, False),
    ],
)
def test_a_rule_takes_what_fits_all_it_says(changes: dict[str, Any], takes: bool) -> None:
    a_rule(a_webhook("http://127.0.0.1:1/"), **changes)
    an_alert(an_anomaly(a_service(team="search")))
    route()
    assert bool(heard()) is takes


def test_the_severity_of_the_event_counts_and_not_that_of_today() -> None:
    a_rule(a_webhook("http://127.0.0.1:1/"), min_severity="critical")
    an_alert(an_anomaly(severity="critical"), severity="warning")
    route()
    assert heard() == set()


def test_a_rule_that_was_spoilt_behind_the_back_of_its_validation_stops_nobody_else() -> None:
    a_rule(name="spoilt", order=1, matchers=matcher("service", "(", "regex"))
    a_rule(a_webhook("http://127.0.0.1:1/"), name="good", order=2)
    an_alert()
    route()
    assert heard() == {("hook", "pending")}


def test_matchers_that_cannot_work_are_refused_when_a_rule_is_saved() -> None:
    with pytest.raises(ValidationError, match=r"matchers\[0\]\.value is no regular expression"):
        AlertRule(name="x", matchers=matcher("service", "(", "regex")).full_clean()


def test_a_channel_hears_only_of_its_own_project() -> None:
    other = Project.objects.create(name="other")
    foreign = a_webhook("http://127.0.0.1:1/", name="foreign", project=other)
    a_rule(foreign, a_webhook("http://127.0.0.1:1/", name="common"))
    an_alert(an_anomaly(a_service("chat-api", "default")))
    route()
    assert heard() == {("common", "pending")}


def test_a_disabled_channel_hears_nothing() -> None:
    a_rule(a_webhook("http://127.0.0.1:1/", enabled=False))
    alert = an_alert()
    route()
    alert.refresh_from_db()
    assert (heard(), alert.outcome) == (set(), "no_channel")


@pytest.mark.parametrize("status", ["acknowledged", "resolved"])
@pytest.mark.parametrize("event", [Alert.Type.OPENED, Alert.Type.ESCALATED])
def test_what_somebody_has_seen_to_is_muted(status: str, event: str) -> None:
    a_rule(a_webhook("http://127.0.0.1:1/"))
    alert = an_alert(an_anomaly(status=status), event)
    route()
    alert.refresh_from_db()
    assert (heard(), alert.outcome) == (set(), "muted")


def test_the_end_of_an_acknowledged_anomaly_is_told_where_its_opening_was() -> None:
    hook = a_webhook("http://127.0.0.1:1/")
    rule = a_rule(hook)
    anomaly = an_anomaly()
    an_alert(anomaly)
    route()
    Anomaly.objects.update(status="acknowledged")
    AlertRule.objects.update(enabled=False)  # the rules of today do not matter: they heard, so they hear the end
    a_rule(a_webhook("http://127.0.0.1:1/", name="newcomer"), name="new")
    an_alert(anomaly, Alert.Type.RESOLVED)
    route()
    told = Delivery.objects.filter(notification__type=Alert.Type.RESOLVED)
    assert [(delivery.channel, delivery.rule) for delivery in told] == [(hook, rule)]


def test_the_end_of_what_nobody_heard_of_is_told_to_nobody() -> None:
    a_rule(a_webhook("http://127.0.0.1:1/"))
    alert = an_alert(event=Alert.Type.RESOLVED)
    route()
    alert.refresh_from_db()
    assert (heard(), alert.outcome) == (set(), "no_channel")


def test_opening_and_end_in_one_batch_go_to_the_same_channels() -> None:
    a_rule(a_webhook("http://127.0.0.1:1/"))
    anomaly = an_anomaly()
    an_alert(anomaly, Alert.Type.RESOLVED)
    an_alert(anomaly, Alert.Type.OPENED)
    assert route() == 2
    assert set(Delivery.objects.values_list("notification__type", flat=True)) == {"anomaly.opened", "anomaly.resolved"}


def deliver_first(minutes_ago: float, **anomaly: Any) -> None:
    """Another anomaly of the same series, told to everybody some minutes ago."""
    an_alert(an_anomaly(**anomaly))
    route()
    for delivery in Delivery.objects.all():
        remember(delivery, Answer(200), NOW - timedelta(minutes=minutes_ago))
    Delivery.objects.update(status="delivered")


@pytest.mark.parametrize(
    ("minutes", "first", "then", "status"),
    [
        (4.9, {}, {}, "deduplicated"),
        (5, {}, {}, "pending"),
        (1, {}, {"model": "claude"}, "pending"),
        (1, {}, {"type": "cost_spike"}, "pending"),
        (1, {"severity": "warning"}, {"severity": "critical"}, "pending"),
    ],
)
def test_the_same_is_told_once_within_the_window(
    minutes: float, first: dict[str, str], then: dict[str, str], status: str
) -> None:
    a_rule(a_webhook("http://127.0.0.1:1/"))
    deliver_first(minutes, **first)
    alert = an_alert(an_anomaly(**then))
    route()
    assert Delivery.objects.get(notification__anomalies=alert.anomaly).status == status


def test_a_failed_send_silences_nobody() -> None:
    a_rule(a_webhook("http://127.0.0.1:1/"))
    an_alert(an_anomaly())
    route()
    Delivery.objects.update(status="dead")
    alert = an_alert(an_anomaly())
    route()
    assert Delivery.objects.get(notification__anomalies=alert.anomaly).status == "pending"


def test_without_deduplication_everything_is_told(settings: Settings) -> None:
    settings.SENTINEL = alerting_settings(deduplication={"enabled": False}, rabbitmq={"enabled": False})
    a_rule(a_webhook("http://127.0.0.1:1/"))
    deliver_first(1)
    alert = an_alert(an_anomaly())
    route()
    assert Delivery.objects.get(notification__anomalies=alert.anomaly).status == "pending"


def test_an_escalation_within_the_window_passes() -> None:
    a_rule(a_webhook("http://127.0.0.1:1/"))
    anomaly = an_anomaly(severity="warning")
    an_alert(anomaly)
    route()
    remember(Delivery.objects.get(), Answer(200), NOW)
    Delivery.objects.update(status="delivered")
    an_alert(anomaly, Alert.Type.ESCALATED, severity="critical")
    route()
    assert set(Delivery.objects.values_list("status", flat=True)) == {"delivered", "pending"}


def test_routing_the_same_alert_again_makes_no_second_delivery() -> None:
    a_rule(a_webhook("http://127.0.0.1:1/"))
    an_alert()
    route()
    before = list(Delivery.objects.values_list("id", "created_at"))
    Alert.objects.update(outcome="pending")  # as if the first transaction had been lost but for this row
    route(NOW + timedelta(seconds=1))
    assert list(Delivery.objects.values_list("id", "created_at")) == before


def test_routing_goes_batch_by_batch_and_telling_says_what_is_to_be_sent() -> None:
    a_rule(a_webhook("http://127.0.0.1:1/"))
    for _ in range(3):
        an_alert(an_anomaly())
    assert [route_pending(NOW, limit=2) for _ in range(3)] == [2, 1, 0]
    looks = [tell_due(NOW, load_quiet(NOW), limit=2) for _ in range(3)]
    assert [count for count, _ in looks] == [2, 1, 0]
    assert {d for _, found in looks for d in found} == set(Delivery.objects.values_list("id", flat=True))


def test_loading_the_rules_takes_five_queries_however_many_there_are(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(5):
        rule = a_rule(a_webhook("http://127.0.0.1:1/", name=f"hook {number}"), name=f"rule {number}")
        SeverityChannel.objects.create(rule=rule, severity="critical", channel=rule.channels.get())
    load_routing_table()
    with django_assert_num_queries(5):
        table = load_routing_table()
    assert [route.channels_for("critical")[0].name for route in table.rules] == [f"hook {n}" for n in range(5)]


def test_the_rules_are_compiled_anew_only_when_they_say_something_else() -> None:
    a_rule(a_webhook("http://127.0.0.1:1/"), matchers=matcher("service", "chat-*", "glob"))
    before = load_routing_table().table
    AlertRule.objects.update(group_wait=1)
    assert load_routing_table().table is before
    AlertRule.objects.update(matchers=matcher("service", "mail-*", "glob"))
    assert load_routing_table().table is not before
