"""Novelty against the formula written out over whole arrays, and what every detector must do."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomalies.detection import novelty, series_scores
from anomalies.detection.missing import LARGEST
from anomalies.detection.novelty import CALIBRATION, DELAY, NOVELTY_STATE, SHAPE, WINDOW
from anomalies.detection.series_scores import ALERT, score_series

Series = NDArray[np.float64]


def fresh() -> np.void:
    return np.zeros(1, NOVELTY_STATE)[0]


def scores(values: Series, state: np.void | None = None) -> Series:
    state = fresh() if state is None else state
    return np.array([novelty.update(state, value) for value in values])


def series(samples: int, seed: int = 1) -> Series:
    """A day that repeats, some noise, a slow walk."""
    random = np.random.default_rng(seed)
    walk = np.cumsum(random.normal(0, 0.02, samples))
    return np.sin(np.arange(samples) / 30.0) + walk + random.normal(0, 0.1, samples)


# The formula, from its definition: nothing is carried from one sample to the next but the emission.


def ranges(values: Series) -> Series:
    return np.maximum.accumulate(values) - np.minimum.accumulate(values) + 1e-12


def components(values: Series) -> tuple[Series, Series, Series]:
    """By value, by shape distance (not yet ranked), by level."""
    count = len(values)
    recent = [values[max(0, now - 19) : now + 1] for now in range(count)]
    means, deviations = np.array([each.mean() for each in recent]), np.array([each.std() for each in recent])
    value_range, mean_range, deviation_range = ranges(values), ranges(means), ranges(deviations)
    by_value, distances, by_level = np.zeros(count), np.zeros(count), np.zeros(count)
    for now in range(count):
        old = slice(max(0, now - 4000), max(0, now - 15))
        if now >= 21:
            by_value[now] = np.abs(values[now] - values[old]).min() / value_range[now]
            of_means = np.abs(means[now] - means[old]) / mean_range[now]
            of_deviations = np.abs(deviations[now] - deviations[old]) / deviation_range[now]
            by_level[now] = np.maximum(of_means, of_deviations).min()
        if now >= 127:
            earlier = values[max(0, now - 4063) : now - 63]
            shapes = np.lib.stride_tricks.sliding_window_view(earlier, 64)
            distances[now] = np.sqrt(((shapes - values[now - 63 : now + 1]) ** 2).mean(axis=1).min())
    return by_value, distances, by_level


def improbability(known: Series, distance: float, floor: float) -> float:
    ordered = np.sort(known)
    count = len(ordered)
    first = min(int(0.95 * count), count - 2)
    if distance <= ordered[first]:
        return -math.log10(((ordered >= distance).sum() + 1) / (count + 1))
    threshold = ordered[first] + floor
    excess = np.log((ordered[first + 1 :] + floor) / threshold)
    index = (excess.sum() + 10 * 0.2) / (len(excess) + 10)
    return -math.log10((count - first) / (count + 1)) + math.log10((distance + floor) / threshold) / index


def plain(values: Series) -> Series:
    by_value, distances, by_level = components(values)
    floors = 1e-6 * ranges(values)
    habituation, loudest, alerted_at, result = 0.0, 0.0, -1000, np.zeros(len(values))
    for now in range(len(values)):
        known = distances[max(0, now - 20 - 5000) : max(0, now - 20)]
        by_shape = improbability(known, distances[now], floors[now]) if len(known) >= 100 else 0.0
        strength = math.hypot(by_value[now] / 0.013, by_shape / 0.78, by_level[now] / 0.058)
        habituation *= math.exp(-1 / 6000)
        score = strength / (1 + habituation)
        if now - alerted_at > 100:
            loudest = 0.0
        if score > 2 * loudest:
            result[now] = loudest = score
            alerted_at = now
            habituation += 0.4 if score >= 1 else 0.0
    return result


@pytest.mark.parametrize(("samples", "seed"), [(1500, 1), (5600, 2)])
def test_it_is_the_formula_written_out_sample_by_sample(samples: int, seed: int) -> None:
    values = series(samples, seed)
    values[samples // 2 : samples // 2 + 30] += 1.5
    np.testing.assert_allclose(scores(values), plain(values), rtol=0, atol=1e-9)


def test_the_ordered_distances_are_those_of_the_ring_after_many_laps() -> None:
    state, samples = fresh(), 2 * (CALIBRATION + DELAY)
    scores(series(samples), state)
    count = len(state["nearest"])
    ranked = [state["nearest"][number % count] for number in range(samples - DELAY - CALIBRATION, samples - DELAY)]
    np.testing.assert_array_equal(state["ordered"], np.sort(ranked))


# What it is for


def after(values: Series, *changed: float) -> Series:
    """The scores of values that follow a series."""
    return scores(np.append(values, changed))[len(values) :]


def test_a_value_never_seen_is_reported_at_once_and_only_once() -> None:
    found = after(series(3000), *[9.0] * 50)
    assert found[0] >= 1.0
    assert (found[1:] < 1.0).all()


@pytest.mark.parametrize("kind", ["flat", "faster"])
def test_a_shape_never_seen_is_reported_though_all_its_values_were(kind: str) -> None:
    random, day = np.random.default_rng(1), np.sin(np.arange(3000) / 30.0)
    values = day + random.normal(0, 0.02, 3000)
    turned = np.full(200, values[-1]) if kind == "flat" else np.sin(np.arange(3000, 3600, 3.0) / 30.0)
    assert scores(values)[750:].max() < 1.0
    assert after(values, *(turned + random.normal(0, 0.02, 200))).max() >= 1.0


def test_noise_rings_no_oftener_than_its_documentation_says() -> None:
    noise = [np.random.default_rng(seed).normal(size=6000) for seed in range(4)]
    alerts = sum((scores(values)[750:] >= 1.0).sum() for values in noise)
    assert alerts <= 21  # 1 in 1 000


@pytest.mark.parametrize("level", [0.0, 0.1, 123.456, -7.0, 1e9])
def test_a_constant_series_does_not_fire_on_rounding_but_on_a_step(level: float) -> None:
    constant = np.full(2000, level)
    assert scores(constant).max() == 0.0
    assert after(constant, *[np.nextafter(level, 1e300)] * 70).max() < 1e-6
    assert after(constant, level * 1.3 + 1.0)[0] >= 1.0


def test_a_series_gets_used_to_what_is_always_new() -> None:
    climbing = np.arange(4000.0) ** 1.5
    alerts = scores(climbing) >= 1.0
    assert alerts[:1000].sum() > alerts[3000:].sum()


# Shared by all


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, 2 * LARGEST])
def test_what_is_no_number_neither_fires_nor_leaves_a_trace(missing: float) -> None:
    with_holes, without = fresh(), fresh()
    values = series(600)
    holes = np.insert(values, np.arange(50, 600, 50), missing)
    found = scores(holes, with_holes)
    np.testing.assert_array_equal(found[np.isin(holes, values)], scores(values, without))
    assert not found[~np.isin(holes, values)].any()
    assert with_holes.tobytes() == without.tobytes()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-LARGEST, LARGEST), min_size=1, max_size=60), st.integers(0, 1000))
def test_scores_are_finite_for_every_finite_input(some: list[float], seed: int) -> None:
    found = scores(np.random.default_rng(seed).choice(some, 400))
    assert np.isfinite(found).all()
    assert (found >= 0.0).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 5500))
def test_saved_and_loaded_at_any_point_it_continues_to_the_bit(seed: int, cut: int) -> None:
    values = series(5500, seed)
    whole, first = fresh(), fresh()
    expected = scores(values, whole)
    head = scores(values[:cut], first)
    loaded = np.frombuffer(bytearray(first.tobytes()), NOVELTY_STATE)[0]
    np.testing.assert_array_equal(np.append(head, scores(values[cut:], loaded)), expected)
    assert loaded.tobytes() == whole.tobytes()


def test_the_state_is_as_large_as_documented() -> None:
    assert NOVELTY_STATE.itemsize == 208_280
    assert NOVELTY_STATE["values"].shape == (WINDOW + SHAPE + 1,)


# Whole series


def test_the_scores_of_a_series_are_those_of_the_stream_below_one() -> None:
    values = series(1500)
    streamed = scores(values)
    found = score_series(values, np.arange(1500) * 60.0)
    np.testing.assert_array_equal(found, streamed / (streamed + 1.0))
    np.testing.assert_array_equal(found >= ALERT, streamed >= 1.0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1500))
def test_no_score_knows_what_comes_later(seed: int, cut: int) -> None:
    values = series(1500, seed)
    np.testing.assert_array_equal(score_series(values, values)[:cut], score_series(values[:cut], values[:cut]))


@pytest.mark.parametrize(("values", "times"), [((3,), (2,)), ((2, 2), (2, 2)), ((), ())])
def test_a_series_needs_one_timestamp_per_value(values: tuple[int, ...], times: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one timestamp per value"):
        score_series(np.zeros(values), np.zeros(times))


def test_a_series_without_samples_has_no_scores() -> None:
    assert score_series(np.zeros(0), np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("module", [novelty, series_scores])
def test_the_examples_of_the_documentation_run(module: object) -> None:
    outcome = doctest.testmod(module)  # type: ignore[arg-type]
    assert outcome.attempted > 0
    assert outcome.failed == 0
