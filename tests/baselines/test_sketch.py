"""Quantile sketches: their promised error, their encoding, their merging."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from baselines.stats import sketch
from baselines.stats.sketch import BUCKETS, LOG_GAMMA, LOW, SHAPE, SKETCHED

COUNTS = arrays.arrays(np.uint32, SHAPE, elements=st.integers(0, 2**32 - 1), fill=st.just(0))


def counted(values: NDArray[np.float64], metric: str) -> NDArray[np.uint32]:
    row, counts = SKETCHED.index(metric), np.zeros(BUCKETS, np.uint32)
    for value in values:
        counts[sketch.bucket(float(value), LOW[row], LOG_GAMMA[row])] += 1
    return counts


@pytest.mark.parametrize("metric", SKETCHED)
@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.95, 0.99, 1.0])
def test_quantiles_lie_within_the_promised_relative_error(metric: str, q: float) -> None:
    row = SKETCHED.index(metric)
    top = LOW[row] * math.exp(LOG_GAMMA[row] * (BUCKETS - 1))
    values = np.exp(np.random.default_rng(row).uniform(math.log(LOW[row]), math.log(top), 2000))
    exact = np.quantile(values, q, method="inverted_cdf")
    promised = math.exp(LOG_GAMMA[row] / 2) - 1 + 1e-9
    assert promised < (0.0393 if metric == "cost_usd" else 0.0254)
    assert sketch.quantile(counted(values, metric), metric, q) == pytest.approx(exact, rel=promised)


def test_the_covered_ranges_are_those_that_are_documented() -> None:
    tops = {name: LOW[row] * math.exp(LOG_GAMMA[row] * (BUCKETS - 1)) for row, name in enumerate(SKETCHED)}
    assert tops["latency_ms"] > 340_000
    assert tops["total_tokens"] > 340_000
    assert tops["cost_usd"] > 300


@pytest.mark.parametrize("value", [-5.0, 0.0, 1.0])
def test_what_lies_below_the_range_counts_in_the_first_bucket(value: float) -> None:
    assert sketch.bucket(value, LOW[0], LOG_GAMMA[0]) == 0


def test_what_lies_above_the_range_counts_in_the_last_bucket() -> None:
    assert sketch.bucket(1e15, LOW[0], LOG_GAMMA[0]) == BUCKETS - 1


@settings(max_examples=40, deadline=None)
@given(COUNTS)
def test_decoding_gives_back_what_was_encoded(counts: NDArray[np.uint32]) -> None:
    np.testing.assert_array_equal(sketch.decode(sketch.encode(counts)), counts)


@settings(max_examples=25, deadline=None)
@given(st.lists(COUNTS, min_size=1, max_size=4), st.data())
def test_encoding_many_at_once_is_encoding_each(sketches: list[NDArray[np.uint32]], data: st.DataObject) -> None:
    rows = np.array(data.draw(st.lists(st.integers(0, len(sketches) - 1), max_size=5)), np.int64)
    assert sketch.encode_rows(np.stack(sketches), rows) == [sketch.encode(sketches[row]) for row in rows]


def test_a_sketch_of_nothing_is_one_byte_and_has_no_quantile() -> None:
    assert sketch.encode(sketch.empty()) == b"\x01"
    assert sketch.quantile(sketch.empty()[0], "latency_ms", 0.5) is None


def test_merged_sketches_are_the_sketch_of_all_values() -> None:
    random = np.random.default_rng(1)
    parts = [random.integers(0, 2**32 - 1, SHAPE, np.uint32) for _ in range(3)]
    merged = sketch.merge(sketch.encode(counts) for counts in parts)
    np.testing.assert_array_equal(merged, sum(counts.astype(np.uint64) for counts in parts))


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x01\x00", b"\x01" + b"\xff" * 6])
def test_bytes_that_are_no_sketch_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="sketch"):
        sketch.decode(data)


def test_a_quantile_outside_0_to_1_or_of_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        sketch.quantile(sketch.empty()[0], "latency_ms", 1.5)
    with pytest.raises(ValueError, match="quality_score"):
        sketch.quantile(sketch.empty()[0], "quality_score", 0.5)
