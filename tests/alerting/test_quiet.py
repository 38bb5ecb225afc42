"""Rows that keep alerts from being told: what they mean, who may be left out, and what cannot be saved."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import DjangoAssertNumQueries

from alerting.facts import facts_of, providers_of
from alerting.models import AlertGroup, AlertRule, GroupMember, Inhibition, Silence
from alerting.quiet import Hold, audience_of, hours_of, load_quiet
from alerting.rules.matching import FIELDS
from anomalies.models import Anomaly
from baselines.models import Project, ServedModel
from tests.alerting.factories import NOW, a_service, an_anomaly

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
FAILURE = {"type": "error_rate_increase", "metric": "error_rate"}


def matcher(field: str, value: str, op: str = "exact") -> list[dict[str, str]]:
    return [{"field": field, "op": op, "value": value}]


def a_silence(**changes: Any) -> Silence:
    values = {"matchers": matcher("service", "chat-*", "glob"), "starts_at": NOW, "ends_at": NOW + HOUR}
    silence = Silence(**(values | changes))
    silence.full_clean()
    silence.save()
    return silence


def firing(service: str, rule: AlertRule | None = None, at: timedelta = timedelta(0), **changes: Any) -> Anomaly:
    """A burst of errors that a group of a rule has, of a model that OpenAI serves."""
    owner = a_service(service)
    ServedModel.objects.get_or_create(
        service=owner, name="gpt-4", defaults={"provider": "openai", "first_seen": NOW, "last_seen": NOW}
    )
    anomaly = an_anomaly(owner, **FAILURE, first_seen=NOW + at, **changes)
    group = AlertGroup.objects.create(rule=rule, project=owner.project, key=uuid.uuid4().hex)
    GroupMember.objects.create(group=group, anomaly=anomaly, severity="critical", occurred_at=NOW, ready_at=NOW)
    return anomaly


def hold_of(anomaly: Anomaly, rule: AlertRule | None = None) -> Hold | None:
    facts = facts_of(anomaly, anomaly.severity, "anomaly.opened", providers_of([anomaly]))
    return load_quiet(NOW).hold_of(facts, NOW, hours_of(rule), audience_of(rule))


def test_facts_are_what_matchers_may_ask_about() -> None:
    anomaly = firing("chat-api")
    facts = facts_of(anomaly, "warning", "anomaly.opened", providers_of([anomaly]))
    assert set(FIELDS) | {"incident"} == set(facts)
    assert (facts["provider"], facts["severity"], facts["incident"]) == ("openai", "warning", str(anomaly.incident_id))


def test_a_silence_holds_what_it_matches_until_it_ends_or_is_ended() -> None:
    anomaly, silence = an_anomaly(), a_silence(comment="we know")
    assert hold_of(anomaly) == Hold(f"silence {silence.pk}: we know", NOW + HOUR)
    assert silence.end(NOW)
    assert hold_of(anomaly) is None
    assert not silence.end(NOW), "it is over"
    later = a_silence(starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    assert later.end(NOW)
    assert later.ends_at == later.starts_at == NOW, "one that had not begun never does"


def test_a_silence_of_a_project_concerns_its_services() -> None:
    a_silence(project=Project.objects.create(name="other"))
    assert hold_of(an_anomaly()) is None
    a_silence(project=Project.objects.get(name="default"))
    assert hold_of(an_anomaly()) is not None


def test_maintenance_recurs_within_its_time() -> None:
    sunday_noon = {"timezone": "UTC", "days": ["sun"], "start": "11:30", "end": "12:30"}  # NOW is a Sunday, 12:00
    window = a_silence(kind="maintenance", weekly=sunday_noon, starts_at=NOW - 30 * HOUR, ends_at=NOW + 900 * HOUR)
    assert hold_of(an_anomaly()) == Hold(f"maintenance {window.pk}", NOW + HOUR / 2)
    window.weekly = sunday_noon | {"days": ["mon"]}
    window.save()
    assert hold_of(an_anomaly()) is None


def test_a_rule_outside_its_hours_is_held_until_they_begin() -> None:
    night = AlertRule(name="n", active_hours={"timezone": "UTC", "start": "22:00", "end": "06:00"})
    assert hold_of(an_anomaly(), night) == Hold("outside the rule's hours", NOW + 10 * HOUR)


def test_an_outage_of_a_provider_is_told_once_per_rule_by_its_oldest_anomaly() -> None:
    rule = AlertRule.objects.create(name="all")
    late, first, second = (firing(name, rule, at * HOUR) for name, at in (("late", 2), ("first", 0), ("second", 1)))
    outage = Hold("provider outage")
    assert [hold_of(anomaly, rule) for anomaly in (first, second, late)] == [None, outage, outage]
    assert hold_of(an_anomaly(late.service), rule) is None, "a latency spike is no part of it"
    GroupMember.objects.filter(anomaly=first).update(is_firing=False)
    assert hold_of(late, rule) is None, "two services are no outage"


def test_an_inhibition_that_is_disabled_holds_nothing() -> None:
    anomalies = [firing(name) for name in ("a", "b", "c")]
    assert sum(hold_of(anomaly) is not None for anomaly in anomalies) == 2
    Inhibition.objects.update(enabled=False)
    assert [hold_of(anomaly) for anomaly in anomalies] == [None] * 3


def test_what_was_spoilt_behind_the_back_of_its_validation_holds_nothing_and_harms_nobody() -> None:
    Silence.objects.create(matchers=[{"field": "?"}], ends_at=NOW + HOUR, starts_at=NOW)
    Silence.objects.create(weekly="noon", ends_at=NOW + HOUR, starts_at=NOW)
    Inhibition.objects.create(name="x", source_matchers={"a": 1})
    spoilt = AlertRule.objects.create(name="r", active_hours={"start": "noon"})
    assert hold_of(an_anomaly(), spoilt) is None
    sound = a_silence()
    hold = hold_of(an_anomaly(), spoilt)
    assert hold is not None
    assert hold.reason == f"silence {sound.pk}"


def test_loading_takes_few_queries_however_much_goes_on(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(5):
        firing(f"s{number}")
        a_silence()
    with django_assert_num_queries(6):
        load_quiet(NOW)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"matchers": []}, "matchers", "at least one"),
        ({"matchers": matcher("colour", "red")}, "matchers", "allowed are service"),
        ({"ends_at": NOW}, "ends_at", "after starts_at"),
        ({"weekly": {"timezone": "UTC", "start": "08:00", "end": "09:00"}}, "weekly", "maintenance only"),
        ({"kind": "maintenance", "weekly": {"timezone": "?"}}, "weekly", "IANA"),
    ],
)
def test_a_silence_that_cannot_work_is_refused_by_field(changes: Any, field: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        a_silence(**changes)
    assert list(caught.value.message_dict) == [field]
    assert words in caught.value.message_dict[field][0]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"matchers": matcher("service", "(", "regex")}, "matchers", "no regular expression"),
        ({"active_hours": {"timezone": "Mars/Olympus"}}, "active_hours", "IANA"),
        ({"group_by": ["colour"]}, "group_by", "labels.<name>"),
        ({"group_by": ["service", "service"]}, "group_by", "second time"),
        ({"group_by": "service"}, "group_by", "must be a list"),
        ({"min_occurrences": 0}, "min_occurrences", "greater than or equal to 1"),
        ({"repeat_interval": 0}, "repeat_interval", "greater than or equal to 1"),
        ({"group_wait": 40 * 24 * 3600}, "group_wait", "31 days"),
        ({"min_severity": "fatal"}, "min_severity", "fatal"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_by_field(changes: Any, field: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AlertRule(**({"name": "r"} | changes)).full_clean()
    assert list(caught.value.message_dict) == [field]
    assert words in caught.value.message_dict[field][0]


def test_a_rule_groups_by_any_label_or_by_nothing() -> None:
    for group_by in ([], ["labels.team", "provider"], ["incident"]):
        AlertRule(name="r", group_by=group_by).full_clean()


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"source_matchers": []}, "source_matchers"), ({"equal": ["x"]}, "equal"), ({"min_services": 0}, "min_services")],
)
def test_an_inhibition_that_cannot_work_is_refused_by_field(changes: Any, field: str) -> None:
    usual = {"name": "i", "source_matchers": matcher("type", "silence"), "equal": ["provider"]}
    Inhibition(**usual).full_clean()
    with pytest.raises(ValidationError) as caught:
        Inhibition(**(usual | changes)).full_clean()
    assert list(caught.value.message_dict) == [field]
