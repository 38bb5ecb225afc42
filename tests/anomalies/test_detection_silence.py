"""Silence: learned from gaps, asked by a timer."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomalies.detection import silence, spike
from anomalies.detection.missing import LARGEST
from anomalies.detection.silence import SHORTEST_MS, SILENCE_STATE, WARM
from anomalies.detection.spike import SPIKE_STATE

HOUR_MS, DAY_MS = 3_600_000.0, 86_400_000.0
Gaps = NDArray[np.float64]


def learned(gaps: Gaps, state: np.void | None = None) -> np.void:
    state = np.zeros(1, SILENCE_STATE)[0] if state is None else state
    for gap in gaps:
        silence.update(state, gap)
    return state


def poisson(gaps: int, mean_ms: float, seed: int = 1) -> Gaps:
    return np.random.default_rng(seed).exponential(mean_ms, gaps)


def alarms(gaps: Gaps, state: np.void) -> int:
    """How many of the gaps would have been called silences before the event that ended them."""
    count = 0
    for gap in gaps:
        count += gap >= silence.deadline_ms(state)
        silence.update(state, gap)
    return count


def alternating(days: int, silent_ms: float) -> Gaps:
    """Days of 500 events in what a night leaves of them."""
    busy = poisson(500 * days, (DAY_MS - silent_ms) / 500).reshape(days, 500)
    return np.column_stack([busy, np.full(days, silent_ms)]).ravel()


@pytest.mark.parametrize("mean_ms", [20.0, 5_000.0, 600_000.0])
def test_the_deadline_is_where_the_score_reaches_one(mean_ms: float) -> None:
    state = learned(poisson(1500, mean_ms))
    deadline = silence.deadline_ms(state)
    assert silence.score(state, deadline) == pytest.approx(1.0)
    assert not silence.is_silent(state, deadline * (1 - 1e-9))
    assert silence.is_silent(state, deadline * (1 + 1e-9))


def test_the_tail_is_fitted_above_the_98_percent_quantile_of_the_logarithms() -> None:
    gaps = np.exp(np.random.default_rng(1).exponential(0.3, 30_000) + 12.0)  # a Pareto tail of index 1 / 0.3
    state = learned(gaps)
    assert state["quantile"] == pytest.approx(np.quantile(np.log(gaps), 0.98), abs=0.2)
    assert state["excess"] == pytest.approx(0.3, abs=0.1)
    expected = math.exp(state["quantile"] + state["excess"] * (math.log(1e5) - math.log(50)))
    assert silence.deadline_ms(state) == pytest.approx(expected)
    truth = 12.0 + 0.3 * math.log(1e5)
    assert math.log(silence.deadline_ms(state)) == pytest.approx(truth, abs=1.0)


def test_ordinary_traffic_is_never_called_silent() -> None:
    gaps = poisson(20_000, 30_000.0)
    assert alarms(gaps[1000:], learned(gaps[:1000])) == 0


def test_traffic_that_swings_over_the_day_is_never_called_silent() -> None:
    units, now, gaps = poisson(20_000, 1.0), 0.0, []
    for unit in units:
        gaps.append(unit * 10_000.0 / (1 + 0.9 * math.sin(2 * math.pi * now / DAY_MS)))
        now += gaps[-1]
    assert alarms(np.array(gaps[1000:]), learned(np.array(gaps[:1000]))) == 0


def test_a_service_of_twenty_calls_a_second_is_silent_after_a_minute() -> None:
    state = learned(poisson(5000, 50.0))
    assert silence.deadline_ms(state) == SHORTEST_MS
    assert silence.deadline_ms(state, shortest_ms=1.0) < 5_000.0


def test_what_beats_like_a_clock_is_missed_at_the_second_beat() -> None:
    state = learned(np.full(2000, 300_000.0))
    assert 1.5 * 300_000 < silence.deadline_ms(state) <= 2.2 * 300_000


def test_a_stricter_level_waits_longer() -> None:
    state = learned(poisson(2000, 30_000.0))
    assert silence.deadline_ms(state, level=1e-9) > silence.deadline_ms(state, level=1e-3)


def test_a_young_series_is_given_more_time() -> None:
    gaps = np.tile(poisson(100, 60_000.0), 20)
    young = learned(gaps[:100])
    grown = young.copy()
    grown["seen"] = 2000
    assert silence.deadline_ms(young) > 2 * silence.deadline_ms(grown)


@pytest.mark.parametrize("gaps", [0, 1, WARM - 1])
def test_nothing_is_said_of_a_series_hardly_known(gaps: int) -> None:
    state = learned(poisson(gaps, 1000.0))
    assert silence.deadline_ms(state) == math.inf
    assert silence.score(state, DAY_MS) == 0.0


# Long gaps


def test_nights_are_reported_until_known_and_then_expected() -> None:
    nights = alternating(8, 12 * HOUR_MS)
    state = learned(alternating(1, 0.0))
    assert [alarms(night, state) for night in nights.reshape(8, -1)] == [1, 1, 0, 0, 0, 0, 0, 0]
    assert silence.is_silent(state, 24 * HOUR_MS)


def test_an_outage_is_not_expected_to_come_again() -> None:
    state = learned(poisson(3000, 10_000.0))
    before = silence.deadline_ms(state)
    learned(np.append(3 * HOUR_MS, poisson(400, 10_000.0)), state)
    assert silence.deadline_ms(state) < 1.2 * before
    assert silence.is_silent(state, 3 * HOUR_MS)


def test_an_outage_that_stray_events_interrupt_is_one() -> None:
    state = learned(poisson(3000, 10_000.0))
    learned(np.full(4, 1.5 * HOUR_MS), state)
    assert silence.is_silent(state, 1.5 * HOUR_MS)


def test_what_came_twice_is_forgotten_in_the_end() -> None:
    state = learned(alternating(4, 12 * HOUR_MS))
    assert not silence.is_silent(state, 12 * HOUR_MS)
    learned(alternating(90, 0.0), state)
    assert silence.is_silent(state, 12 * HOUR_MS)


def test_a_service_that_has_become_rare_is_believed_after_some_events() -> None:
    state = learned(poisson(3000, 1_000.0))
    assert alarms(np.full(40, 2 * HOUR_MS), state) <= 8


# Shared by all


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, 2 * LARGEST])
def test_what_is_no_number_is_neither_learned_nor_silent(missing: float) -> None:
    state = learned(poisson(500, 1000.0))
    before = state.tobytes()
    silence.update(state, missing)
    assert state.tobytes() == before
    assert silence.score(state, missing) == 0.0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, LARGEST), min_size=1, max_size=20), st.floats(-1e6, LARGEST), st.integers(0, 1000))
def test_scores_are_finite_for_every_finite_input(some: list[float], elapsed_ms: float, seed: int) -> None:
    state = learned(np.random.default_rng(seed).choice(some, 200))
    assert 0.0 <= silence.score(state, elapsed_ms) < math.inf
    assert silence.deadline_ms(state) >= SHORTEST_MS
    assert silence.is_silent(state, elapsed_ms) == (silence.score(state, elapsed_ms) >= 1.0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.lists(st.floats(0.0, 1e9), min_size=2, max_size=20))
def test_the_score_never_falls_while_nothing_comes(seed: int, elapsed_ms: list[float]) -> None:
    state = learned(poisson(300, 1000.0, seed))
    scores = [silence.score(state, elapsed) for elapsed in sorted(elapsed_ms)]
    assert scores == sorted(scores)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_saved_and_loaded_at_any_point_it_continues_to_the_bit(seed: int, cut: int) -> None:
    gaps = np.random.default_rng(seed).lognormal(8, 2, 1000)
    whole, first = learned(gaps), learned(gaps[:cut])
    loaded = np.frombuffer(bytearray(first.tobytes()), SILENCE_STATE)[0]
    assert learned(gaps[cut:], loaded).tobytes() == whole.tobytes()


def test_the_tail_is_learned_as_spike_learns_it() -> None:
    gaps, state = poisson(1000, 1000.0), np.zeros(1, SPIKE_STATE)[0]
    for gap in gaps:
        spike.update(state, math.log(max(gap, 1.0)), silence.MEMORY, silence.LEVEL)
    found = learned(gaps)
    for name in SPIKE_STATE.names or ():
        np.testing.assert_array_equal(found[name], state[name])


def test_the_examples_of_the_documentation_run() -> None:
    outcome = doctest.testmod(silence)
    assert outcome.attempted > 0
    assert outcome.failed == 0
