"""What each scenario does to the traffic, and that it does nothing else."""

from collections import Counter
from functools import cache
from itertools import chain

import numpy as np
import pytest

from ingestion.formats.event import Event
from ingestion.simulation import calls
from ingestion.simulation.fleet import fleet
from ingestion.simulation.generator import Traffic
from ingestion.simulation.scenarios import SCENARIOS, SECOND_NS, Incident, Planned, Recurring

NOON = 1_767_960_000 * SECOND_NS
STREAMS = fleet(2)
TARGET = STREAMS[0]
START = NOON + 123 * SECOND_NS + 456_000_000  # in the middle of a slot


def hit(event: Event) -> bool:
    return (event.service, event.model) == (TARGET.service, TARGET.model)


@cache
def around(name: str | None) -> tuple[Incident, list[Event]]:
    """15 minutes of traffic at 40 calls a second, with the incident (if named) after some two minutes."""
    incident = Incident(SCENARIOS[name or "silence"], TARGET, START)
    schedule = Planned([incident] if name else [])
    batches = Traffic(STREAMS, 40, 11, schedule).batches(NOON, NOON + 900 * SECOND_NS)
    return incident, list(chain.from_iterable(batches))


def within(incident: Incident, events: list[Event]) -> list[Event]:
    return [e for e in events if hit(e) and incident.start_ns <= e.timestamp_ns < incident.end_ns]


def pairs(name: str) -> tuple[list[Event], list[Event]]:
    """The successful calls of the incident, and the same calls as they would have been without it."""
    incident, events = around(name)
    quiet = {e.event_id: e for e in around(None)[1]}
    own = [e for e in within(incident, events) if not e.error and not quiet[e.event_id].error]
    return own, [quiet[e.event_id] for e in own]


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_nothing_changes_outside_the_incident(name):
    incident, events = around(name)
    affected = {e.event_id for e in within(incident, around(None)[1]) + within(incident, events)}
    outside = [e for e in events if e.event_id not in affected]
    assert outside == [e for e in around(None)[1] if e.event_id not in affected]
    assert affected


@pytest.mark.parametrize(("name", "factor"), [("latency_shift", 1.3), ("latency_spike", 8.0)])
def test_latency_and_time_to_first_token_are_multiplied(name, factor):
    during, usual = pairs(name)
    assert len(during) > 100
    ratios = [d.latency_ms / u.latency_ms for d, u in zip(during, usual, strict=True)]
    assert ratios == pytest.approx([factor] * len(ratios), rel=1e-4)
    assert all(d.cost_usd == u.cost_usd for d, u in zip(during, usual, strict=True))
    first = [(d.ttft_ms, u.ttft_ms) for d, u in zip(during, usual, strict=True) if u.ttft_ms]
    assert [d / u for d, u in first] == pytest.approx([factor] * len(first), rel=1e-4)


def test_costs_double_while_tokens_stay():
    during, usual = pairs("cost_double")
    assert [d.cost_usd for d in during] == pytest.approx([2 * u.cost_usd for u in usual], abs=2e-9)
    assert [d.total_tokens for d in during] == [u.total_tokens for u in usual]


def test_a_token_explosion_makes_answers_longer_slower_and_dearer():
    during, usual = pairs("token_explosion")
    grown = [(d, u) for d, u in zip(during, usual, strict=True) if d.completion_tokens < calls.MOST_COMPLETION_TOKENS]
    ratios = [d.completion_tokens / u.completion_tokens for d, u in grown if u.completion_tokens > 50]
    assert np.median(ratios) == pytest.approx(6.0, rel=0.01)
    assert all(d.latency_ms > u.latency_ms and d.cost_usd > u.cost_usd for d, u in grown)
    assert {d.finish_reason for d in during} == {"stop", "length"}


def test_a_quarter_fails_in_an_error_burst():
    incident, events = around("error_burst")
    during = within(incident, events)
    assert np.mean([e.error for e in during]) == pytest.approx(0.25, abs=0.03)
    assert len(during) == len(within(incident, around(None)[1]))


def test_silence_is_silent():
    incident, events = around("silence")
    assert within(incident, events) == []
    assert len(within(incident, around(None)[1])) > 1000


def test_a_throughput_drop_leaves_a_fifth_of_the_calls():
    incident, events = around("throughput_drop")
    left, usual = len(within(incident, events)), len(within(incident, around(None)[1]))
    assert left / usual == pytest.approx(0.2, abs=0.02)


def test_an_abusing_user_adds_to_what_the_others_send():
    incident, events = around("user_abuse")
    during, usual = within(incident, events), within(incident, around(None)[1])
    added = Counter(e.user_id for e in during) - Counter(e.user_id for e in usual)
    assert list(added) == [f"user-{calls.ABUSER:03d}"]
    assert added.total() / len(usual) == pytest.approx(0.6, rel=0.06)
    assert len({e.event_id for e in during}) == len(during)


def test_quality_drops_by_two_fifths():
    during, usual = pairs("quality_drop")
    scored = [(d.quality_score, u.quality_score) for d, u in zip(during, usual, strict=True) if u.quality_score]
    assert len(scored) > 300
    assert [d for d, _ in scored] == pytest.approx([0.6 * u for _, u in scored], abs=1e-4)


def test_every_scenario_lasts_as_long_as_it_says():
    for name, scenario in SCENARIOS.items():
        incident = Incident(scenario, TARGET, START)
        assert scenario.name == name
        assert incident.end_ns - incident.start_ns == scenario.seconds * SECOND_NS


def recurring() -> Recurring:
    chosen = [SCENARIOS["silence"], SCENARIOS["cost_double"]]
    return Recurring(chosen, STREAMS, every_ns=1000 * SECOND_NS, anchor_ns=NOON)


def test_recurring_incidents_take_turns_before_and_after_the_anchor():
    found = list(recurring().during(NOON - 1000 * SECOND_NS, NOON + 1001 * SECOND_NS))
    assert [i.start_ns for i in found] == [NOON - 1000 * SECOND_NS, NOON, NOON + 1000 * SECOND_NS]
    assert [i.scenario.name for i in found] == ["cost_double", "silence", "cost_double"]
    assert [i.stream for i in found] == [STREAMS[3], STREAMS[0], STREAMS[1]]


def test_a_recurring_incident_is_found_by_any_moment_of_it():
    last = NOON + 300 * SECOND_NS - 1
    assert [i.start_ns for i in recurring().during(last, last + 1)] == [NOON]
    assert list(recurring().during(last + 1, last + 2)) == []
    assert list(recurring().during(NOON - 1, NOON)) == []
