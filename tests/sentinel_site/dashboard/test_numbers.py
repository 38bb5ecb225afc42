"""The numbers behind the charts: percentiles, what is usual, what an anomaly comes to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from anomalies.models import Anomaly
from baselines.models import BaselineSnapshot
from baselines.stats import sketch
from baselines.stats.series import Pair
from sentinel_site.dashboard.bands import band
from sentinel_site.dashboard.percentiles import HEAD_BYTES, LATENCY, Entries, quantiles
from sentinel_site.dashboard.sizes import Seen, size_of
from sentinel_site.dashboard.sparks import HEIGHT, spark
from sentinel_site.dashboard.telemetry import Grid
from sentinel_site.dashboard.wording import departure, expected

CHAT, SEARCH = Pair("chat-api", "gpt-4"), Pair("search", "gpt-4")


def random_sketches(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    made = [random.integers(0, 9, sketch.SHAPE).astype(np.uint32) for _ in range(count)]
    made[2][:] = 0
    return made


@pytest.mark.parametrize("metric", ["latency_ms", "cost_usd"])
@pytest.mark.parametrize("q", [0.0, 0.5, 0.95, 1.0])
def test_percentiles_of_many_sketches_are_those_of_each(metric, q):
    counts = random_sketches(6)
    row = sketch.SKETCHED.index(metric)
    cells = np.array([0, 1, 2, 1, 3, 0])
    added = Entries([sketch.encode(each) for each in counts], row).added(cells, 4)
    found = quantiles(added, q, row)
    for cell in range(4):
        merged = sum(each[row].astype(np.uint64) for each, place in zip(counts, cells, strict=True) if place == cell)
        alone = sketch.quantile(merged, metric, q)
        assert np.isnan(found[cell]) if alone is None else found[cell] == pytest.approx(alone)


def test_the_head_of_a_sketch_holds_all_that_is_kept_of_latency():
    full = np.ones(sketch.SHAPE, np.uint32)
    added = Entries([sketch.encode(full)[:HEAD_BYTES]], LATENCY).added(np.zeros(1, np.int64), 1)
    assert added.sum() == sketch.BUCKETS


def baseline(**values: float) -> BaselineSnapshot:
    numbers = {"median": 100.0, "mad": 10.0, "q1": 90.0, "q3": 110.0, "p95": 130.0, "p99": 140.0}
    return BaselineSnapshot(**numbers | {"minimum": 50.0, "maximum": 200.0} | values)


def test_what_is_usual_of_one_pair_lies_between_its_own_quantiles():
    low, high = band({(CHAT, "latency_ms"): baseline()}, [CHAT], "latency_ms")
    assert (low, high) == pytest.approx((90.0, 140.0))


def test_what_is_usual_of_two_pairs_lies_between_both_and_nearer_to_the_busier():
    slow = baseline(minimum=1000.0, q1=1090.0, median=1100.0, q3=1110.0, p95=1130.0, p99=1140.0, maximum=1200.0)
    known = {(CHAT, "latency_ms"): baseline(), (SEARCH, "latency_ms"): slow}
    known |= {(CHAT, "request_rate"): baseline(median=99.0), (SEARCH, "request_rate"): baseline(median=1.0)}
    low, high = band(known, [CHAT, SEARCH], "latency_ms")
    assert 85 < low < 95
    assert 140 < high < 1100


def test_rates_of_several_pairs_add_up_and_their_spread_by_squares():
    known = {(CHAT, "request_rate"): baseline(), (SEARCH, "request_rate"): baseline(median=50.0)}
    low, high = band(known, [CHAT, SEARCH], "request_rate")
    assert (low + high) / 2 == pytest.approx(150.0)
    assert high - low == pytest.approx(2 * 3 * 1.4826 * 10 * 2**0.5)


def test_nothing_is_called_usual_before_every_pair_is_known():
    assert band({(CHAT, "latency_ms"): baseline()}, [CHAT, SEARCH], "latency_ms") is None
    assert band({}, [], "latency_ms") is None


def test_intervals_begin_at_whole_steps_and_reach_to_the_end():
    start = datetime(2026, 3, 2, 12, 3, 20, tzinfo=UTC)
    grid = Grid.over(start, start + timedelta(minutes=10), 300)
    assert grid.begin == datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    assert grid.size == 3
    assert grid.places(grid.times + 299).tolist() == [0, 1, 2]


def test_a_small_chart_breaks_where_nothing_is_known():
    drawn = spark(np.array([1.0, np.nan, 2.0, 3.0]), None)
    assert drawn.path.count("M") == 2
    assert drawn.band_top is None
    assert spark(np.array([np.nan]), None).path == ""
    flat = spark(np.array([0.0, 0.0]), None)
    assert f" {HEIGHT - 2:.1f}" in flat.path


def anomaly(**values: object) -> Anomaly:
    usual = {"metric": "latency_ms", "direction": "up", "value": 5000.0, "baseline_mean": 1000.0}
    return Anomaly(**usual | {"lower": 500.0, "upper": 2000.0, "baseline_median": 900.0} | values)


def counts_at(value: float, metric: str, calls: int) -> np.ndarray:
    row = sketch.SKETCHED.index(metric)
    counts = np.zeros(sketch.BUCKETS)
    counts[sketch.bucket(value, sketch.LOW[row], sketch.LOG_GAMMA[row])] = calls
    return counts


def test_slow_calls_come_to_the_time_that_people_waited_longer():
    size = size_of(anomaly(), Seen(100, 0, 1.0, 1, 10, counts_at(3000, "latency_ms", 100)))
    assert size.amount == "3 min"
    assert size.of_what == "more waiting than usual, over 100 calls"


@pytest.mark.parametrize(
    ("metric", "usual", "amount"),
    [
        ("cost_usd", 0.01, "$9.00"),
        ("cost_per_minute", 0.5, "$5.00"),
        ("error_rate", 0.01, "49"),
        ("request_rate", 30.0, "200"),
    ],
)
def test_what_an_anomaly_comes_to_is_what_went_beyond_the_usual(metric, usual, amount):
    seen = Seen(calls=100, errors=50, cost=10.0, tokens=1e4, minutes=10)
    assert size_of(anomaly(metric=metric, baseline_mean=usual), seen).amount == amount


def test_more_tokens_come_to_the_dollars_that_they_cost():
    seen = Seen(100, 0, 10.0, 1e4, 10, counts_at(400, "completion_tokens", 100))
    size = size_of(anomaly(metric="completion_tokens", baseline_mean=200.0), seen)
    assert float(size.amount.removeprefix("$")) == pytest.approx(5.0, rel=0.03)


def test_nothing_is_made_of_what_cannot_be_told():
    assert size_of(anomaly(metric="quality_score"), Seen(100, 0, 1.0, 1, 10)) is None
    assert size_of(anomaly(), Seen(0, 0, 0, 0, 0)) is None
    assert size_of(anomaly(baseline_mean=None, baseline_median=None), Seen(100, 0, 1.0, 1, 10)) is None


def test_what_was_expected_is_the_band_unless_the_peak_lies_in_it():
    assert departure(anomaly()) == "Latency rose to 5 s, expected 500 ms to 2 s"
    assert expected(anomaly(value=1500.0)) == "about 900 ms"
    assert expected(anomaly(value=1500.0, baseline_median=1600.0)) == "about 1 s"
    assert expected(anomaly(value=800.0)) == "500 ms to 2 s"
