"""Histograms of OTLP, explicit and exponential: differences of cumulative ones, and samples that stand for their calls.

A histogram tells how many values lie between two bounds and what all values sum up to, not the values. The samples are
the most even choice that agrees with both: in each bucket evenly spaced, then moved within their buckets until the sum
is the one told. So their number is exact, their sum is exact where the histogram is consistent, and every quantile is
within the bucket it is in.
"""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from ingestion.formats import validation
from ingestion.formats.validation import Rejection

Floats = NDArray[np.float64]
MOST_COUNTED = 2**63 - 1
SCALES = range(-10, 21)
MOST_EXPONENT = 1000.0


class Histogram(msgspec.Struct, frozen=True):
    """Counts of values by bucket.

    Explicit: `bounds` are the upper bounds (inclusive) of all buckets but the last, `counts` one longer. Exponential:
    bucket `offset + i` holds the values in (base^(offset + i), base^(offset + i + 1)], base = 2^(2^-scale); `zeros`
    values lie in [0, zero_bound]; these edges are multiples of `unit`, all other numbers are not.
    """

    count: int
    total: float | None = None
    least: float | None = None
    most: float | None = None
    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    scale: int | None = None
    offset: int = 0
    zeros: int = 0
    zero_bound: float = 0.0
    unit: float = 1.0

    def __post_init__(self) -> None:
        _require(self.total is not None or bool(self.counts) or not self.count, "sum", "is required without buckets")
        _require(0 <= self.count <= MOST_COUNTED, "count", "must be an integer from 0 to 2^63 - 1")
        _require(all(0 <= part <= MOST_COUNTED for part in (self.zeros, *self.counts)), "bucketCounts", "must count")
        for name, number in (("sum", self.total), ("min", self.least), ("max", self.most)):
            _require(number is None or 0 <= number < math.inf, name, "must be finite and not negative")
        if self.scale is None:
            self._check_bounds()
        else:
            self._check_scale()

    def _check_bounds(self) -> None:
        bounds = self.bounds
        _require(all(map(math.isfinite, bounds)), "explicitBounds", "must be finite")
        _require(all(a < b for a, b in pairwise(bounds)), "explicitBounds", "must ascend")
        if self.counts or bounds:
            _require(len(self.counts) == len(bounds) + 1, "bucketCounts", "must be one more than explicitBounds")
            _require(sum(self.counts) == self.count, "bucketCounts", "must add up to count")

    def _check_scale(self) -> None:
        scale = self.scale or 0
        _require(scale in SCALES, "scale", f"must lie in [{SCALES.start}, {SCALES.stop - 1}]")
        furthest = max(abs(self.offset), abs(self.offset + len(self.counts)))
        _require(math.ldexp(furthest, -scale) <= MOST_EXPONENT, "offset", "is beyond what a number can hold")
        _require(0 <= self.zero_bound < math.inf, "zeroThreshold", "must be finite and not negative")
        _require(sum(self.counts) + self.zeros == self.count, "bucketCounts", "must add up to count")

    def since(self, older: Histogram) -> Histogram | None:
        """What was counted after `older` of the same stream; None if it does not continue it."""
        if (self.scale is None) != (older.scale is None) or self.bounds != older.bounds:
            return None
        ours, theirs = self, older
        if self.scale is not None and older.scale is not None:
            scale = min(self.scale, older.scale)
            ours, theirs = self._coarser(scale), older._coarser(scale)
        before = {theirs.offset + place: part for place, part in enumerate(theirs.counts) if part}
        counts = tuple(part - before.pop(ours.offset + place, 0) for place, part in enumerate(ours.counts))
        zeros, count = ours.zeros - theirs.zeros, ours.count - theirs.count
        if before or count < 0 or zeros < 0 or any(part < 0 for part in counts):
            return None
        total = None
        if ours.total is not None and theirs.total is not None:
            total = max(0.0, ours.total - theirs.total)
        return msgspec.structs.replace(ours, count=count, total=total, counts=counts, zeros=zeros)

    def _coarser(self, scale: int) -> Histogram:
        """The same in the larger buckets of a smaller scale."""
        shift = (self.scale or 0) - scale
        if shift == 0 or not self.counts:
            return msgspec.structs.replace(self, scale=scale, offset=self.offset >> shift)
        start = self.offset >> shift
        counts = [0] * (((self.offset + len(self.counts) - 1) >> shift) - start + 1)
        for place, part in enumerate(self.counts):
            counts[((self.offset + place) >> shift) - start] += part
        return msgspec.structs.replace(self, scale=scale, offset=start, counts=tuple(counts))

    def samples(self) -> Floats:
        """`count` values that agree with the buckets and the sum, ascending."""
        lows, highs, counts = self._edges()
        low, high = np.repeat(lows, counts), np.repeat(highs, counts)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        within = (np.arange(len(low)) - first + 0.5) / np.repeat(counts, counts)
        is_open = np.isinf(high)
        values = low + within * np.where(is_open, 0.0, high - low)
        return values if self.total is None else _moved(values, low, high, self.total)

    def _edges(self) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Lower and upper edge and count of each bucket."""
        if self.scale is None:
            edges = np.array([0.0, *self.bounds, math.inf])
            lows, highs = np.maximum(edges[:-1], 0.0), np.maximum(edges[1:], 0.0)
            counts = np.array(self.counts or (self.count,), np.int64)
        else:
            powers = np.exp2(np.ldexp(np.arange(self.offset, self.offset + len(self.counts) + 1.0), -self.scale))
            lows = np.append(0.0, powers[:-1]) * self.unit
            highs = np.append(self.zero_bound, powers[1:]) * self.unit
            counts = np.array((self.zeros, *self.counts), np.int64)
        if self.least is not None:
            lows, highs = np.maximum(lows, self.least), np.maximum(highs, self.least)
        if self.most is not None:
            lows, highs = np.minimum(lows, self.most), np.minimum(highs, self.most)
        return lows, highs, counts


def _require(is_met: bool, field: str, detail: str) -> None:
    if not is_met:
        raise Rejection(validation.INVALID, field, detail)


def _moved(values: Floats, low: Floats, high: Floats, total: float) -> Floats:
    """The values moved within their buckets until they sum up to `total`, or as near as the buckets allow."""
    lacking = total - float(values.sum())
    is_open = np.isinf(high)
    if lacking > 0 and is_open.any():  # what is beyond the last bound takes all that lacks
        return np.where(is_open, values + lacking / max(1, int(is_open.sum())), values)
    room = values - low if lacking < 0 else high - values
    most = float(room.sum())
    if most <= 0:
        return values
    moved: Floats = values + math.copysign(min(1.0, abs(lacking) / most), lacking) * room
    return moved


def whole(values: Floats) -> list[int]:
    """Ascending values as integers with the same sum (rounded): each is off by less than one."""
    sums = np.floor(np.cumsum(values) + 0.5)
    return [int(part) for part in np.diff(sums, prepend=0.0)]


def scattered(count: int, step: float) -> NDArray[np.int64]:
    """An order of `count` places in which neighbours lie far apart, so that no stretch of it shows a trend.

    Successive multiples of an irrational number modulo 1 are spread evenly over every stretch (Weyl).
    """
    return np.argsort(np.arange(1, count + 1) * step % 1.0, kind="stable")
