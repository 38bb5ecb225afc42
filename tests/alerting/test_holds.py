"""What keeps an alert from being told for now, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.rules.active_hours import parse_active_hours
from alerting.rules.holds import Hold, Inhibitor, Lull, Ongoing, Quiet
from alerting.rules.matching import parse_matchers

NOW = datetime(2026, 3, 6, 12, tzinfo=UTC)  # a Friday
HOUR = timedelta(hours=1)


def exact(field: str, value: str) -> Any:
    return parse_matchers([{"field": field, "op": "exact", "value": value}])


def facts(service: str = "a", incident: str = "", **changes: str) -> dict[str, str]:
    usual = {"service": service, "incident": incident or f"of {service}", "project": "default", "provider": "openai"}
    return usual | {"type": "error_rate_increase"} | changes


def lull(**changes: Any) -> Lull:
    return Lull(**{"reason": "silence", "matchers": (), "starts_at": NOW, "ends_at": NOW + HOUR} | changes)


def daily(start: str, end: str) -> Any:
    return parse_active_hours({"timezone": "UTC", "start": start, "end": end})


@pytest.mark.parametrize(
    ("changes", "now", "hold"),
    [
        ({}, NOW, Hold("silence", NOW + HOUR)),
        ({}, NOW - timedelta(microseconds=1), None),
        ({}, NOW + HOUR, None),
        ({"matchers": exact("service", "b")}, NOW, None),
        ({"project": "default"}, NOW, Hold("silence", NOW + HOUR)),
        ({"project": "other"}, NOW, None),
        ({"weekly": daily("11:00", "12:30")}, NOW, Hold("silence", NOW + HOUR / 2)),
        ({"weekly": daily("11:00", "18:00")}, NOW, Hold("silence", NOW + HOUR)),
        ({"weekly": daily("00:00", "24:00")}, NOW, Hold("silence", NOW + HOUR)),
        ({"weekly": daily("12:30", "18:00")}, NOW, None),
        ({"weekly": daily("11:00", "14:00"), "ends_at": NOW}, NOW, None),
    ],
)
def test_a_silence_holds_what_it_matches_while_it_lasts(changes: Any, now: datetime, hold: Hold | None) -> None:
    assert Quiet(lulls=[lull(**changes)]).hold_of(facts(), now) == hold


def test_outside_its_hours_a_rule_says_nothing_until_they_begin() -> None:
    morning = daily("08:00", "10:00")
    assert Quiet().hold_of(facts(), NOW, morning) == Hold("outside the rule's hours", NOW + 20 * HOUR)
    assert Quiet().hold_of(facts(), NOW - 3 * HOUR, morning) is None
    assert Quiet().hold_of(facts(), NOW) is None


def test_of_several_holds_the_one_that_lasts_longest_counts() -> None:
    quiet = Quiet(lulls=[lull(), lull(reason="maintenance", ends_at=NOW + 2 * HOUR), lull(ends_at=NOW + HOUR)])
    assert quiet.hold_of(facts(), NOW) == Hold("maintenance", NOW + 2 * HOUR)
    assert quiet.hold_of(facts(), NOW, daily("15:00", "16:00")) == Hold("outside the rule's hours", NOW + 3 * HOUR)
    errors = Inhibitor("errors", exact("type", "error_rate_increase"), exact("type", "cost_spike"))
    inhibited = Quiet(lulls=quiet.lulls, inhibitors=[errors], ongoing=[Ongoing(facts(), NOW)])
    assert inhibited.hold_of(facts(type="cost_spike"), NOW) == Hold("errors"), "nobody knows how long"


OUTAGE = Inhibitor(
    "provider outage", exact("type", "error_rate_increase"), exact("type", "error_rate_increase"), ("provider",), 3
)


def outage(*services: str, audiences: frozenset[Any] = frozenset({1}), **changes: str) -> list[Ongoing]:
    """Errors in these services, each a minute after the one before."""
    return [
        Ongoing(facts(service, **changes), NOW + timedelta(minutes=at), audiences)
        for at, service in enumerate(services)
    ]


def held(quiet: Quiet, *services: str, audience: int = 1, **changes: str) -> list[str]:
    return [s for s in services if quiet.hold_of(facts(s, **changes), NOW + HOUR, audience=audience) is not None]


def test_an_outage_of_a_provider_is_told_by_the_oldest_alone() -> None:
    quiet = Quiet(inhibitors=[OUTAGE], ongoing=outage("c", "a", "b"))
    assert quiet.hold_of(facts("a"), NOW + HOUR, audience=1) == Hold("provider outage")
    assert held(quiet, "a", "b", "c", "d") == ["a", "b", "d"]
    assert held(quiet, "a", type="cost_spike") == []
    assert held(quiet, "a", provider="anthropic") == []


def test_two_services_are_no_outage_and_two_anomalies_of_one_service_count_once() -> None:
    assert held(Quiet(inhibitors=[OUTAGE], ongoing=outage("a", "b")), "a", "b", "c") == []
    assert held(Quiet(inhibitors=[OUTAGE], ongoing=outage("a", "b", "b")), "a", "b") == []


def test_what_has_no_provider_is_no_part_of_an_outage() -> None:
    unknown = Quiet(inhibitors=[OUTAGE], ongoing=outage("a", "b", "c", provider=""))
    assert held(unknown, "a", "b", "c", provider="") == []


def test_all_of_the_incident_that_speaks_of_the_outage_is_told() -> None:
    quiet = Quiet(inhibitors=[OUTAGE], ongoing=outage("a", "b", "c"))
    other_model = facts("a", model="other")
    assert quiet.hold_of(other_model, NOW + HOUR, audience=1) is None


def test_somebody_is_left_to_tell_every_audience_of_an_outage() -> None:
    ongoing = [
        *outage("a", "b"),
        *outage("c", "d", audiences=frozenset({2})),
        *outage("e", audiences=frozenset({1, 2})),
    ]
    ongoing = [Ongoing(one.facts, NOW + timedelta(minutes=at), one.audiences) for at, one in enumerate(ongoing)]
    quiet = Quiet(inhibitors=[OUTAGE], ongoing=ongoing)
    assert held(quiet, "a", "b", "e") == ["b", "e"]
    assert held(quiet, "c", "d", "e", audience=2) == ["d", "e"]
    assert held(quiet, "a", "b", audience=3) == [], "an audience that hears of no other source"


def test_a_silenced_source_does_not_speak_for_the_others() -> None:
    silenced = lull(matchers=exact("service", "a"), ends_at=NOW + 5 * HOUR)
    quiet = Quiet(lulls=[silenced], inhibitors=[OUTAGE], ongoing=outage("a", "b", "c"))
    assert held(quiet, "a", "b", "c") == ["a", "c"]


def test_a_plain_inhibition_holds_targets_while_a_source_lasts() -> None:
    worse = Inhibitor("critical", exact("severity", "critical"), exact("severity", "warning"), ("service",))
    ongoing = [Ongoing(facts("a", severity="critical"), NOW)]
    quiet = Quiet(inhibitors=[worse], ongoing=ongoing)
    assert held(quiet, "a", "b", severity="warning") == ["a"]
    assert held(quiet, "a", severity="critical") == []
    assert held(Quiet(inhibitors=[worse]), "a", severity="warning") == []


def test_an_inhibition_of_a_project_concerns_that_project() -> None:
    mine = Inhibitor("mine", OUTAGE.sources, OUTAGE.targets, ("provider",), 3, project="blue")
    ongoing = [*outage("a", "b", "c"), *outage("d", "e", project="blue")]
    assert held(Quiet(inhibitors=[mine], ongoing=ongoing), "a", "b", "c") == []
    assert held(Quiet(inhibitors=[mine], ongoing=ongoing), "d", "e", project="blue") == []
    ongoing += outage("f", project="blue")
    assert held(Quiet(inhibitors=[mine], ongoing=ongoing), "d", "e", "f", project="blue") == ["e", "f"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9), st.sampled_from((1, 2)))), st.integers(1, 4))
def test_of_any_outage_every_audience_that_hears_of_a_source_is_told_of_one(
    found: list[tuple[str, int, int]], least: int
) -> None:
    inhibitor = OUTAGE.__class__("x", OUTAGE.sources, OUTAGE.targets, ("provider",), least)
    ongoing = [Ongoing(facts(s), NOW + timedelta(minutes=at), frozenset({who})) for s, at, who in found]
    quiet = Quiet(inhibitors=[inhibitor], ongoing=ongoing)
    for audience in (1, 2):
        mine = {service for service, _, who in found if who == audience}
        told = mine - set(held(quiet, *mine, audience=audience))
        is_outage = len({service for service, _, _ in found}) >= least
        assert len(told) == (1 if is_outage and mine else len(mine))
