"""What a rule asks of an anomaly before it takes it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.models import AlertRule
from alerting.rules.table import RuleTable
from alerting.terms import is_frequent, is_frequent_among, terms_of
from baselines.models import Project
from tests.alerting.factories import NOW, a_service, an_anomaly

MINUTE = timedelta(minutes=1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        ({}, True),
        ({"min_severity": "info"}, True),
        ({"min_severity": "critical"}, False),
        ({"project": "default"}, True),
        ({"project": "other"}, False),
        ({"matchers": [{"field": "service", "op": "exact", "value": "mail"}]}, False),
    ],
)
def test_a_row_becomes_terms_of_the_table(rule: dict[str, str], taken: bool) -> None:
    named = {"project": Project.objects.get_or_create(name=rule["project"])[0]} if "project" in rule else {}
    terms = terms_of(AlertRule(name="r", **(rule | named)))
    facts = {"service": "chat-api", "project": "default", "severity": "warning"}
    assert list(RuleTable([terms]).takers(facts)) == ([0] if taken else [])
    assert terms_of(AlertRule(continue_matching=True)).is_continued


@pytest.mark.django_db
def test_an_episode_counts_with_those_of_its_series_that_began_before_it() -> None:
    rule = AlertRule(min_occurrences=3, occurrences_within=600)
    first, second, third = (an_anomaly(first_seen=NOW + at * MINUTE) for at in (0, 5, 9))
    assert [is_frequent(rule, anomaly) for anomaly in (first, second, third)] == [False, False, True]
    late = an_anomaly(first_seen=NOW + 10 * MINUTE)
    assert is_frequent(rule, late), "the first is out of the window, two others and itself are in it"
    later = an_anomaly(first_seen=NOW + 15 * MINUTE)
    assert is_frequent(rule, later)
    for other in ({"model": "other"}, {"metric": "cost_usd"}, {"direction": "down"}, {"service": a_service("mail")}):
        assert not is_frequent(rule, an_anomaly(first_seen=NOW + 9 * MINUTE, **other)), other
    assert is_frequent(AlertRule(), first), "one is enough unless it says more"


@pytest.mark.django_db
def test_without_a_window_a_day_counts() -> None:
    rule = AlertRule(min_occurrences=2)
    an_anomaly(first_seen=NOW)
    assert is_frequent(rule, an_anomaly(first_seen=NOW + timedelta(hours=23)))
    assert not is_frequent(rule, an_anomaly(first_seen=NOW + timedelta(hours=48)))


@pytest.mark.django_db
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True), st.integers(1, 4), st.integers(1, 20))
def test_asking_about_many_at_once_says_the_same(minutes: list[int], least: int, within: int) -> None:
    rule = AlertRule(min_occurrences=least, occurrences_within=within * 60)
    service = a_service("s")
    service.anomalies.all().delete()
    episodes = [an_anomaly(service, first_seen=NOW + at * MINUTE) for at in minutes]
    begun = [episode.first_seen for episode in episodes]
    for episode in episodes:
        assert is_frequent_among(begun, episode.first_seen, rule) is is_frequent(rule, episode)
