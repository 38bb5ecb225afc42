"""Statistics of a window against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from baselines.stats import window
from baselines.stats.ordering import ascending
from baselines.stats.window import SERIES

WINDOW = 64
SAMPLES = arrays.arrays(
    np.float64, st.integers(1, 3 * WINDOW), elements=st.floats(-1e6, 1e6, allow_nan=False, width=32)
)


def learned(samples: NDArray[np.float64], size: int = WINDOW) -> tuple[NDArray[np.float32], NDArray[np.void]]:
    rings, series = np.zeros((1, size), np.float32), np.zeros(1, SERIES)
    for sample in samples:
        window.learn(rings, 0, series[0], float(sample))
    window.refresh(rings[0], series[0], 77)
    return rings, series


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_statistics_are_those_of_the_last_samples_as_float32(samples: NDArray[np.float64]) -> None:
    series = learned(samples)[1][0]
    kept = samples[-WINDOW:].astype(np.float32).astype(np.float64)
    expected = {
        "mean": np.mean(kept),
        "stddev": np.std(kept),
        "median": np.median(kept),
        "mad": scipy.stats.median_abs_deviation(kept),
        "minimum": kept.min(),
        "maximum": kept.max(),
    } | {name: np.quantile(kept, q) for name, q in (("q1", 0.25), ("q3", 0.75), ("p95", 0.95), ("p99", 0.99))}
    for name, value in expected.items():
        assert series[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name
    assert (series["samples"], series["learned"], series["refreshed_at"]) == (len(kept), len(samples), 77)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, st.integers(0, 3000), elements=st.floats(allow_nan=False, width=32)))
def test_the_radix_sort_orders_as_numpy_does(values: NDArray[np.float32]) -> None:
    before = values.copy()
    np.testing.assert_array_equal(ascending(values), np.sort(values))
    np.testing.assert_array_equal(values, before)


def test_heavy_tails_and_equal_samples_have_exact_quantiles() -> None:
    random = np.random.default_rng(5)
    samples = np.concatenate([np.exp(random.normal(6, 2, 700)).round(), np.full(300, 400.0)])
    random.shuffle(samples)
    series = learned(samples, 1000)[1][0]
    assert series["p99"] == pytest.approx(np.quantile(samples.astype(np.float32).astype(np.float64), 0.99), rel=1e-9)
    assert series["mad"] == pytest.approx(scipy.stats.median_abs_deviation(samples), rel=1e-6)


def due(now_ms: int = 100_000, is_patient: bool = False, **fields: int) -> bool:
    series = np.zeros(1, SERIES)
    for name, value in fields.items():
        series[name] = value
    return bool(window.is_refresh_due(series[0], now_ms, 1000, 10, 60_000, is_patient))


def test_the_first_statistics_come_with_the_tenth_sample() -> None:
    assert [due(learned=count) for count in (9, 10, 11)] == [False, True, True]


def test_statistics_are_renewed_when_a_filling_window_has_grown_by_a_quarter() -> None:
    state = {"refreshed_learned": 40, "samples": 40, "refreshed_at": 100_000}
    assert [due(learned=count, **state) for count in (49, 50)] == [False, True]


def test_statistics_of_a_full_window_are_renewed_by_event_time_and_only_for_new_samples() -> None:
    full = {"refreshed_learned": 5000, "samples": 1000}
    assert not due(learned=9000, refreshed_at=40_001, **full)
    assert due(learned=5001, refreshed_at=40_000, **full)
    assert not due(learned=5000, refreshed_at=0, **full)


def test_who_is_patient_waits_for_a_quarter_of_the_window_or_ten_intervals() -> None:
    known = {"samples": 1000, "refreshed_learned": 5000, "refreshed_at": 100_000}
    assert due(160_000, is_patient=True, learned=5250, **known)
    assert not due(160_000, is_patient=True, learned=5249, **known)
    assert not due(699_999, is_patient=True, learned=5249, **known)
    assert due(700_000, is_patient=True, learned=5001, **known)


def test_who_is_patient_renews_a_window_that_fills_as_often_as_anybody() -> None:
    known = {"samples": 100, "refreshed_learned": 100, "refreshed_at": 100_000}
    assert due(100_001, is_patient=True, learned=125, **known)
