"""Histograms: samples that agree with what is told, differences of cumulative ones."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.formats.otlp.histograms import Histogram, scattered, whole
from ingestion.formats.validation import Rejection

BOUNDS = (0.0, 5.0, 10.0, 25.0, 100.0, 1000.0)
VALUES = st.lists(st.floats(0, 5000), min_size=1, max_size=60)


def explicit(values: list[float], *, extremes: bool = True) -> Histogram:
    counts = [0] * (len(BOUNDS) + 1)
    for value in values:
        counts[bisect_left(BOUNDS, value)] += 1
    low, high = (min(values), max(values)) if extremes and values else (None, None)
    return Histogram(len(values), sum(values), low, high, bounds=BOUNDS, counts=tuple(counts))


def exponential(values: list[float], scale: int, offset: int = -80, size: int = 400) -> Histogram:
    counts = [0] * size
    zeros = 0
    for value in values:
        if value == 0:
            zeros += 1
        else:
            counts[math.ceil(math.log2(value) * 2**scale) - 1 - offset] += 1
    return Histogram(len(values), sum(values), counts=tuple(counts), scale=scale, offset=offset, zeros=zeros)


@given(VALUES, st.booleans())
def test_samples_have_the_count_the_sum_and_the_buckets(values: list[float], extremes: bool) -> None:
    told = explicit(values, extremes=extremes)
    samples = told.samples().tolist()
    assert len(samples) == len(values)
    assert sum(samples) == pytest.approx(sum(values), rel=1e-9, abs=1e-6)
    for sample, value in zip(sorted(samples), sorted(values), strict=True):
        at = bisect_left(BOUNDS, value)
        low, high = max(0.0, BOUNDS[at - 1] if at else 0.0), BOUNDS[at] if at < len(BOUNDS) else math.inf
        assert low - 1e-6 <= sample <= high + 1e-6


@given(st.lists(st.one_of(st.just(0.0), st.floats(0.01, 1000)), min_size=1, max_size=60))
def test_an_exponential_histogram_has_samples_near_its_values(values: list[float]) -> None:
    samples = np.sort(exponential(values, scale=3).samples())
    assert samples.sum() == pytest.approx(sum(values), rel=1e-9)
    for sample, value in zip(samples, sorted(values), strict=True):
        assert value / 1.1 <= sample <= value * 1.1


def test_without_buckets_all_samples_are_the_mean() -> None:
    assert Histogram(4, 10.0).samples().tolist() == [2.5] * 4


@given(VALUES, VALUES)
def test_the_difference_is_what_was_counted_in_between(before: list[float], after: list[float]) -> None:
    for counted in (explicit, lambda values: exponential([v for v in values if v == 0 or v > 0.01], 2)):
        found = counted(before + after).since(counted(before))
        expected = counted(after)
        assert found is not None
        assert (found.count, found.counts, found.zeros) == (expected.count, expected.counts, expected.zeros)
        assert found.total == pytest.approx(expected.total, abs=1e-6)


def test_a_change_of_scale_continues_the_stream() -> None:
    before, after = [1.0, 3.0, 900.0], [2.0, 70.0]
    found = exponential(before + after, 1).since(exponential(before, 3))
    assert found is not None
    assert (found.count, found.total) == (2, 72.0)
    assert sorted(found.samples()) == pytest.approx([2.0, 70.0], rel=0.5)


def test_counts_that_fell_do_not_continue_the_stream() -> None:
    assert explicit([1.0]).since(explicit([1.0, 2.0])) is None
    assert explicit([1.0, 2.0, 3.0]).since(explicit([500.0])) is None
    assert exponential([1.0, 2.0], 2).since(exponential([500.0], 2)) is None
    assert exponential([1.0], 2).since(explicit([1.0])) is None
    assert (
        Histogram(2, 3.0, bounds=(1.0,), counts=(1, 1)).since(Histogram(1, 3.0, bounds=(2.0,), counts=(1, 0))) is None
    )


@pytest.mark.parametrize(
    "told",
    [
        {"count": -1, "total": 1.0},
        {"count": 2**63, "total": 1.0},
        {"count": 1},
        {"count": 1, "total": math.nan},
        {"count": 1, "total": -1.0},
        {"count": 1, "total": math.inf},
        {"count": 1, "total": 1.0, "least": math.nan},
        {"count": 1, "total": 1.0, "bounds": (1.0,), "counts": (1,)},
        {"count": 1, "total": 1.0, "bounds": (1.0,), "counts": (1, 1)},
        {"count": 1, "total": 1.0, "bounds": (1.0,), "counts": (2, -1)},
        {"count": 1, "total": 1.0, "bounds": (2.0, 1.0), "counts": (1, 0, 0)},
        {"count": 1, "total": 1.0, "bounds": (math.nan,), "counts": (1, 0)},
        {"count": 1, "total": 1.0, "bounds": (math.inf,), "counts": (1, 0)},
        {"count": 1, "total": 1.0, "counts": (1,), "scale": 21},
        {"count": 1, "total": 1.0, "counts": (1,), "scale": -11},
        {"count": 1, "total": 1.0, "counts": (1,), "scale": 0, "offset": 2**31},
        {"count": 1, "total": 1.0, "counts": (1,), "scale": -10, "offset": -2},
        {"count": 2, "total": 1.0, "counts": (1,), "scale": 0},
        {"count": 1, "total": 1.0, "zeros": 1, "scale": 0, "zero_bound": math.nan},
    ],
)
def test_a_histogram_that_cannot_be_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(Rejection):
        Histogram(**told)


@given(VALUES)
def test_whole_numbers_have_the_same_sum(values: list[float]) -> None:
    found = whole(np.sort(np.array(values)))
    assert sum(found) == math.floor(sum(values) + 0.5) or abs(sum(found) - sum(values)) < 1
    assert all(abs(a - b) < 1 for a, b in zip(found, sorted(values), strict=True))


def test_scattered_samples_show_no_trend() -> None:
    for step in (0.6180339887498949, 0.41421356237309515, 0.7320508075688772):
        for count in (2, 10, 100, 5000):
            order = scattered(count, step)
            assert sorted(order.tolist()) == list(range(count))
            if count >= 100:
                assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 0.1
                halves = order[: count // 2].mean(), order[count // 2 :].mean()
                assert halves[0] == pytest.approx(halves[1], rel=0.1)
