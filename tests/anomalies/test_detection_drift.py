"""Drift: against SciPy, against distributions that did and did not change, and what every detector must do."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomalies.detection import drift
from anomalies.detection.drift import DRIFT_STATE, RECENT, REFERENCE
from anomalies.detection.missing import LARGEST

Values = NDArray[np.float64]
BOTH = REFERENCE + RECENT


def learned(values: Values, state: np.void | None = None) -> np.void:
    state = np.zeros(1, DRIFT_STATE)[0] if state is None else state
    for value in values:
        drift.update(state, value)
    return state


def noise(count: int, seed: int = 1) -> Values:
    return np.random.default_rng(seed).normal(100.0, 10.0, count)


# Kolmogorov-Smirnov

SAMPLES = st.lists(st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float)), min_size=4, max_size=60)


@settings(max_examples=300, deadline=None)
@given(SAMPLES, SAMPLES)
def test_the_distance_is_scipys(some: list[float], others: list[float]) -> None:
    first, second = np.sort(np.round(some, 3)), np.sort(np.round(others, 3) * 4)
    apart = np.diff(np.unique(np.concatenate([first, second])))
    if apart.size and apart.min() < 1.0:  # closer than a millionth of their size they would be one value
        first, second = np.floor(first), np.floor(second)
    expected = scipy.stats.ks_2samp(first, second, method="asymp").statistic
    assert drift.ks_distance(first, second) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("first", "second"), [(500, 500), (1000, 300), (60, 5000)])
@pytest.mark.parametrize("shift", [0.0, 0.05, 0.2, 0.4])
def test_the_probability_is_scipys(first: int, second: int, shift: float) -> None:
    random = np.random.default_rng(7)
    some, others = np.sort(random.normal(size=first)), np.sort(random.normal(size=second) + shift)
    expected = scipy.stats.ks_2samp(some, others, method="asymp")
    found = drift.ks_p_value(drift.ks_distance(some, others), first, second)
    assert found == pytest.approx(expected.pvalue, rel=0.1, abs=1e-12)


def test_the_probability_falls_from_one_to_zero() -> None:
    found = [drift.ks_p_value(distance, 500, 500) for distance in np.linspace(0, 1, 500)]
    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1] < 1e-200) == (1.0, True)


# Population stability


def test_the_index_is_the_formula() -> None:
    expected, found = np.array([0.2, 0.3, 0.5]), np.array([0.3, 0.3, 0.4])
    index = (0.3 - 0.2) * math.log(0.3 / 0.2) + (0.4 - 0.5) * math.log(0.4 / 0.5)
    assert drift.stability_index(expected * 1000, found * 400) == pytest.approx(index)


def test_the_index_of_equal_shares_is_zero_and_of_an_empty_bin_finite() -> None:
    assert drift.stability_index(np.array([10.0, 20.0]), np.array([40.0, 80.0])) == pytest.approx(0.0)
    assert 1.0 < drift.stability_index(np.array([100.0, 0.0]), np.array([0.0, 100.0])) < math.inf


@pytest.mark.parametrize("bins", [2, 3, 5, 10, 19])
def test_chance_is_a_quantile_of_chi_square_or_a_little_more(bins: int) -> None:
    expected = scipy.stats.chi2.isf(1e-5, bins - 1) * (1 / 500 + 1 / 250)
    assert 1.0 <= drift.chance_index(bins, 500.0, 250.0) / expected <= 1.0 + 0.25 / bins


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=300), SAMPLES)
def test_every_value_falls_into_one_bin(some: list[float], others: list[float]) -> None:
    reference, recent = np.sort(some), np.sort(others)
    edges = drift.bin_edges(reference)
    assert (np.diff(edges) > 0).all()
    for values in (reference, recent):
        counts = drift.binned(values, edges)
        expected = np.histogram(values, np.concatenate([[-np.inf], np.nextafter(edges, np.inf), [np.inf]]))[0]
        np.testing.assert_array_equal(counts, expected)


def test_the_bins_of_a_continuous_reference_are_its_deciles() -> None:
    reference = np.sort(noise(500))
    counts = drift.binned(reference, drift.bin_edges(reference))
    assert len(counts) == 10
    assert (np.abs(counts - 50) <= 1).all()


def test_a_frequent_value_has_a_bin_of_its_own() -> None:
    reference = np.sort(np.append(np.zeros(300), np.arange(-100.0, 101.0)))
    counts = drift.binned(reference, drift.bin_edges(reference))
    assert 301 in counts


# The score


def test_nothing_is_said_until_both_windows_are_full() -> None:
    state = learned(np.append(noise(REFERENCE), noise(RECENT - 1) + 100))
    assert drift.score(state) == 0.0
    drift.update(state, 200.0)
    assert drift.score(state) > 1.0


@pytest.mark.parametrize("seed", range(5))
def test_what_does_not_change_does_not_drift(seed: int) -> None:
    values, state = noise(6000, seed), np.zeros(1, DRIFT_STATE)[0]
    assert max(drift.score(learned(part, state)) for part in values.reshape(-1, 50)) < 1.0


CHANGES = {
    "shift": lambda x: x + 10,
    "spread": lambda x: 100 + 3 * (x - 100),
    "mixture": lambda x: np.where(x > 100, x + 40, x),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_distribution_drifts(change: str) -> None:
    values = np.append(noise(BOTH), CHANGES[change](noise(RECENT, 2)))
    assert drift.score(learned(values[:BOTH])) < 1.0
    assert drift.score(learned(values)) >= 1.0


def test_the_reference_stays_frozen_so_that_a_creeping_change_is_found() -> None:
    state = learned(noise(8000) + np.arange(8000) * 0.003)
    np.testing.assert_allclose(state["reference"], np.sort(noise(8000)[:500] + np.arange(500) * 0.003), rtol=1e-6)
    assert drift.score(state) >= 1.0


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_it_says_which_way_the_values_went(factor: float) -> None:
    state = learned(np.append(noise(BOTH), noise(RECENT) * factor))
    assert drift.score(state) > 1.0
    assert drift.is_upward(state) == (factor > 1)


def test_an_adopted_change_is_the_new_reference() -> None:
    state = learned(np.append(noise(BOTH), noise(RECENT) + 50))
    assert drift.score(state) > 1.0
    drift.adopt(state)
    learned(noise(BOTH, 3) + 50, state)
    assert drift.score(state) < 1.0
    assert drift.score(learned(noise(RECENT, 4), state)) > 1.0


@pytest.mark.parametrize("level", [0.0, 0.1, 123.456, -7.0, 1e9])
def test_a_constant_series_does_not_drift_by_rounding_but_by_a_step(level: float) -> None:
    constant = np.full(BOTH, level)
    assert drift.score(learned(np.append(constant, np.full(RECENT, level + 1e-7 * abs(level))))) == 0.0
    for step in (level * 1.3 + 1.0, level * 0.7 - 1.0):
        assert drift.score(learned(np.append(constant, np.full(RECENT, step)))) > 1.0


def test_categories_drift_by_their_shares() -> None:
    usual = np.array([9500.0, 400.0, 100.0, 0.0])
    assert drift.category_score(usual, usual / 20) == pytest.approx(0.0, abs=0.05)
    assert drift.category_score(usual, np.array([300.0, 180.0, 10.0, 10.0])) > 1.0
    assert drift.category_score(usual, np.array([2.0, 1.0, 0.0, 0.0])) < 1.0  # three calls prove nothing
    assert drift.category_score(usual, np.zeros(4)) == 0.0


# Shared by all


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, 2 * LARGEST])
def test_what_is_no_number_leaves_no_trace(missing: float) -> None:
    state = learned(noise(700))
    before = state.tobytes()
    drift.update(state, missing)
    assert state.tobytes() == before


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-LARGEST, LARGEST), min_size=1, max_size=30), st.integers(0, 1000))
def test_scores_are_finite_for_every_finite_input(some: list[float], seed: int) -> None:
    assert 0.0 <= drift.score(learned(np.random.default_rng(seed).choice(some, BOTH + 100))) < math.inf


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 2000))
def test_saved_and_loaded_at_any_point_it_continues_to_the_bit(seed: int, cut: int) -> None:
    values = noise(2000, seed)
    whole, first = learned(values), learned(values[:cut])
    loaded = learned(values[cut:], np.frombuffer(bytearray(first.tobytes()), DRIFT_STATE)[0])
    assert loaded.tobytes() == whole.tobytes()
    assert drift.score(loaded) == drift.score(whole)


def test_the_examples_of_the_documentation_run() -> None:
    outcome = doctest.testmod(drift)
    assert outcome.attempted > 0
    assert outcome.failed == 0
