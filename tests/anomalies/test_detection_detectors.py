"""What every detector must do, and each one against a plain implementation of its own."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from anomalies.detection import cusum, iqr, mad, zscore
from anomalies.detection.arrays import Columns
from anomalies.detection.cusum import CUSUM_STATE
from anomalies.detection.settings import CLASSIC, DetectionSettings
from anomalies.detection.spread import RELATIVE_STDDEV
from anomalies.detection.verdicts import Detection
from tests.support.telemetry import batch, engine, latencies, watching

MODULES = [f"anomalies.detection.{name}" for name in ("zscore", "iqr", "mad", "cusum")]
EVERY_DETECTOR = pytest.mark.parametrize("detector", CLASSIC)


def detections(detector: str, values: object, **parameters: object) -> list[Detection]:
    return engine(watching(detector, **parameters)).score(latencies(np.asarray(values, float)))


def noise(events: int, seed: int = 1, mean: float = 500.0, stddev: float = 50.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(mean, stddev, events)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_the_documentation_run(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(module))
    assert outcome.attempted > 0
    assert outcome.failed == 0


# Shared by all


@EVERY_DETECTOR
@pytest.mark.parametrize("level", [0.0, 0.1, 123.456, 1e9])
def test_a_constant_series_does_not_fire_on_rounding(detector: str, level: float) -> None:
    assert detections(detector, np.append(np.full(200, level), np.nextafter(level, 1e300))) == []


@EVERY_DETECTOR
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_step_of_a_constant_series_fires_in_its_direction(detector: str, direction: str) -> None:
    after = 130.0 if direction == "up" else 70.0
    found = detections(detector, np.append(np.full(200, 100.0), np.full(5, after)))
    assert found
    assert {(each.direction, each.detector) for each in found} == {(direction, detector)}
    assert found[0].event == 200


@EVERY_DETECTOR
@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, 1e200])
def test_what_is_no_number_neither_fires_nor_is_learned(detector: str, missing: float) -> None:
    values = noise(300)
    holes = values.copy()
    holes[50::50] = missing
    with_holes, without = (engine(watching(detector)) for _ in range(2))
    found = with_holes.score(latencies(holes))
    expected = without.score(latencies(np.delete(values, np.s_[50::50])))
    assert [each.score for each in found] == [each.score for each in expected]
    assert with_holes.tables.series["learned"][0] == 295
    np.testing.assert_array_equal(with_holes.tables.rings[0], without.tables.rings[0])


@EVERY_DETECTOR
def test_scores_and_bands_are_finite_for_extreme_values(detector: str) -> None:
    random = np.random.default_rng(3)
    values = np.exp(random.normal(0, 12, 400)) * random.choice([-1, 0, 1], 400)
    found = detections(detector, np.clip(values, -1e15, 1e15))
    assert found
    assert np.isfinite([(each.score, each.value, each.expected) for each in found]).all()
    assert np.isfinite([limit for each in found for limit in (each.lower, each.upper) if limit is not None]).all()


@EVERY_DETECTOR
@pytest.mark.parametrize(("quiet", "fires"), [(9, False), (10, True)])
def test_detection_begins_after_ten_samples(detector: str, quiet: int, fires: bool) -> None:
    assert bool(detections(detector, np.append(noise(quiet), 1e5))) is fires


@EVERY_DETECTOR
def test_only_the_metrics_that_it_watches_are_flagged(detector: str) -> None:
    made = engine(watching(detector))
    spike = np.append(noise(100), 1e6)
    found = made.score(batch(101, latency_ms=noise(101), total_tokens=spike, ttft_ms=spike, cost_usd=spike))
    assert {each.key.metric for each in found} <= {"latency_ms"}


@EVERY_DETECTOR
def test_a_failed_call_is_neither_flagged_nor_learned(detector: str) -> None:
    made = engine(watching(detector))
    made.score(latencies(noise(100)))
    assert made.score(latencies(np.full(50, 1e6), failed=True)) == []
    assert made.tables.series["learned"][0] == 100


@EVERY_DETECTOR
def test_a_raised_minimum_silences_baselines_that_rest_on_less(detector: str) -> None:
    assert detections(detector, np.append(noise(60), 1e6))
    assert not detections(detector, np.append(noise(60), 1e6), min_samples=61)


# Against plain implementations


def plain_scores(detector: str, value: float, window: NDArray[np.float64]) -> float:
    """The score of one value by the textbook, from the samples themselves."""
    floor = max(RELATIVE_STDDEV * abs(np.median(window)), 1e-12)
    if detector == "zscore":
        return float(abs(value - window.mean()) / max(window.std(), floor) / 3.0)
    if detector == "mad":
        deviation = max(scipy.stats.median_abs_deviation(window), floor * scipy.stats.norm.ppf(0.75))
        return float(0.6745 * abs(value - np.median(window)) / deviation / 3.5)
    low, high = np.quantile(window, [0.25, 0.75])
    outside = max(low - value, value - high, 0.0)
    return float(outside / max(high - low, 2 * floor * scipy.stats.norm.ppf(0.75)) / 1.5)


def plain_band(detector: str, window: NDArray[np.float64]) -> tuple[float, float]:
    """Where the score reaches 1, found by bisection on `plain_scores`."""
    ends = []
    for sign in (-1, 1):
        inside, outside = float(np.median(window)), float(np.median(window)) + sign * 1e7
        for _ in range(200):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if plain_scores(detector, middle, window) < 1 else (inside, middle)
        ends.append(outside)
    return ends[0], ends[1]


@pytest.mark.parametrize("detector", ["zscore", "iqr", "mad"])
def test_every_score_is_that_of_a_plain_implementation(detector: str) -> None:
    """The window of the last refresh is rebuilt with NumPy, sample by sample, clipped as it is learned."""
    values = np.exp(np.random.default_rng(7).normal(6, 0.6, 260)).astype(np.float32).astype(np.float64)
    learned: list[float] = []
    basis, grown, band, expected = np.zeros(0), 0.0, (-np.inf, np.inf), {}
    for event, value in enumerate(values):
        if len(basis):
            score = plain_scores(detector, value, basis)
            if score >= 1:
                expected[event] = score
        learned.append(float(np.float32(np.clip(value, *band))))
        if len(learned) >= 10 and len(learned) >= 1.25 * grown:
            basis, grown = np.array(learned[-100:]), len(learned) if len(learned) < 100 else np.inf
            band = plain_band(detector, basis)
    found = detections(detector, values, window=100, refresh_ms=10**9)
    assert {each.event: pytest.approx(each.score, rel=1e-6) for each in found} == expected
    assert len(expected) > 5


@pytest.mark.parametrize("shift", [0.0, 0.8, -1.5])
def test_cusum_is_that_of_a_plain_loop(shift: float) -> None:
    values = noise(400) + shift * 50 * (np.arange(400) >= 150)
    reference, upper, lower, expected = values[:10], 0.0, 0.0, {}
    for event in range(10, 400):
        z = (values[event] - reference.mean()) / reference.std()
        upper, lower = max(0.0, upper + z - 0.5), max(0.0, lower - z - 0.5)
        if (score := max(upper, lower) / 5.0) >= 1:
            expected[event] = (score, "up" if upper >= lower else "down")
            upper = lower = 0.0
    state = np.zeros(1, CUSUM_STATE)
    cusum.start(state[0], reference.mean(), reference.std(), np.median(reference), 10)
    found = {}
    for event in range(10, 400):
        if (score := cusum.update(state[0], values[event], 5.0, 0.5)) >= 1:
            found[event] = (pytest.approx(score), "up" if cusum.is_upward(state[0]) else "down")
            cusum.start(state[0], reference.mean(), reference.std(), np.median(reference), 10)
    assert found == expected


@pytest.mark.parametrize(
    ("detector", "parameters", "looser"),
    [
        ("zscore", {"zscore_threshold": 3.0}, {"zscore_threshold": 4.0}),
        ("iqr", {"iqr_multiplier": 1.5}, {"iqr_multiplier": 3.0}),
        ("mad", {"mad_threshold": 3.5}, {"mad_threshold": 6.0}),
        ("cusum", {"cusum_threshold": 5.0}, {"cusum_threshold": 9.0}),
        ("cusum", {"cusum_drift": 0.5}, {"cusum_drift": 1.0}),
    ],
)
def test_parameters_take_effect(detector: str, parameters: dict[str, float], looser: dict[str, float]) -> None:
    values = np.exp(np.random.default_rng(2).normal(6, 0.5, 3000))
    assert len(detections(detector, values, **parameters)) > len(detections(detector, values, **looser)) > 0


@pytest.mark.parametrize(("detector", "rate"), [("zscore", 0.0027), ("iqr", 0.00698), ("mad", 0.00046)])
def test_the_false_alarm_rate_on_normal_data_is_the_documented_one(detector: str, rate: float) -> None:
    events = 60_000
    found = detections(detector, noise(events, seed=11), refresh_ms=10_000)
    assert len(found) / events == pytest.approx(rate, rel=0.35)


def test_cusum_rings_once_in_some_930_normal_samples() -> None:
    random = np.random.default_rng(4)
    state, lengths, length = np.zeros(1, CUSUM_STATE), [], 0
    cusum.start(state[0], 0.0, 1.0, 0.0, 10)
    for value in random.normal(0, 1, 400_000):
        length += 1
        if cusum.update(state[0], value, 5.0, 0.5) >= 1:
            lengths.append(length)
            length = 0
            cusum.start(state[0], 0.0, 1.0, 0.0, 10)
    assert np.mean(lengths) == pytest.approx(930 / 2, rel=0.12)


@pytest.mark.parametrize(
    ("band", "score", "arguments"),
    [
        (zscore.band, zscore.score, (500.0, 40.0, 480.0, 3.0)),
        (iqr.band, iqr.score, (400.0, 600.0, 480.0, 1.5)),
        (mad.band, mad.score, (480.0, 30.0, 3.5)),
    ],
)
def test_the_ends_of_a_band_score_1(band: object, score: object, arguments: tuple[float, ...]) -> None:
    for end in band(*arguments):  # type: ignore[operator]
        assert score(end, *arguments) == pytest.approx(1.0)  # type: ignore[operator]


# Learning


@pytest.mark.parametrize("detector", ["zscore", "iqr", "mad"])
def test_an_outlier_is_learned_as_the_end_of_the_band(detector: str) -> None:
    made = engine(watching(detector))
    made.score(latencies(noise(100)))
    [found] = made.score(latencies([1e9], event_ms=1_790_000_200_000))
    assert made.tables.rings[0, 100] == pytest.approx(found.upper, rel=1e-6)
    assert made.tables.rings[0].max() < 1000


def test_a_sample_is_learned_as_the_most_patient_detector_allows() -> None:
    made = engine(watching("zscore", "mad", zscore_threshold=10.0))
    made.score(latencies(noise(100)))
    [found] = made.score(latencies([760.0]))
    assert found.upper is not None
    assert found.upper < 760.0
    assert made.tables.rings[0, 100] == 760.0


def test_an_outage_of_a_minute_does_not_become_normal() -> None:
    made = engine()
    made.score(latencies(noise(1000)))
    found = made.score(latencies(np.full(60, 30_000.0), event_ms=1_790_001_040_000 + 1000 * np.arange(60)))
    assert len(found) == 60
    assert made.tables.series["median"][0] == pytest.approx(500, rel=0.05)


# Settings


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"metrics": {"sorcery": ("latency_ms",)}}, "sorcery"),
        ({"metrics": {"mad": ("speed",)}}, "speed"),
        ({"min_samples": 1}, "min_samples"),
        ({"min_samples": 20, "window": 10}, "window of 10"),
        ({"zscore_threshold": 0.0}, "zscore_threshold"),
        ({"mad_threshold": float("inf")}, "mad_threshold"),
        ({"cusum_drift": -0.1}, "cusum_drift"),
        ({"quiet_ms": 0}, "quiet_ms"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        DetectionSettings(**wrong)  # type: ignore[arg-type]


def test_rows_that_do_not_exist_are_refused() -> None:
    for row in (-1, 1):
        with pytest.raises(IndexError, match=r"\[0, 1\)"):
            engine().score(latencies([1.0], pair=row))


def test_the_columns_of_the_caller_stay_as_they_are() -> None:
    columns = latencies([1.0, np.inf, np.nan])
    before = Columns(*(column.copy() for column in columns))
    engine().score(columns)
    np.testing.assert_equal(columns._asdict(), before._asdict())
