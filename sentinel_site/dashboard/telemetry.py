"""The minutes and hours that a page shows, as arrays: one row of sums per (service, model) and interval."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.db.models import BigIntegerField, BinaryField, Func, QuerySet
from django.db.models.functions import Substr
from numpy.typing import NDArray

from baselines.models import ServedModel, TelemetryHour, TelemetryMinute
from baselines.rollup import hour_of
from baselines.stats.series import Pair
from baselines.stats.sketch import BUCKETS
from sentinel_site.dashboard.momentary import Momentary
from sentinel_site.dashboard.percentiles import HEAD_BYTES, Counts, Entries
from sentinel_site.dashboard.selection import HOUR, MINUTE, Selection

MOST_ROWS = 20_000
"""Minutes that a page reads at most; where there are more it makes do with hours."""
SUMS = ("count", "errors", "cost_usd", "total_tokens")
CALLS, ERRORS, COST, TOKENS = range(len(SUMS))
LONG = 10 * MINUTE
SPARKS = 48
"""Points of the small charts beside each pair."""
_FRESH = timedelta(hours=2)
_HEAD = Substr("sketches", 1, HEAD_BYTES, output_field=BinaryField())


class Epoch(Func):
    """A time as whole seconds since 1970: twenty thousand numbers arrive in a fraction of the time of as many dates."""

    output_field = BigIntegerField()
    template = "CAST(EXTRACT(EPOCH FROM %(expressions)s) AS bigint)"

    def as_sqlite(self, compiler: Any, connection: Any) -> Any:
        return self.as_sql(compiler, connection, template="CAST(strftime('%%%%s', %(expressions)s) AS INTEGER)")


@dataclass(frozen=True)
class Grid:
    """Intervals of equal length, side by side: the first begins at `start` (s since 1970)."""

    start: int
    step: int
    size: int

    @classmethod
    def over(cls, start: datetime, end: datetime, step: int) -> Grid:
        first = int(start.timestamp()) // step * step
        return cls(first, step, max(1, -(-(int(end.timestamp()) - first) // step)))

    @property
    def begin(self) -> datetime:
        return datetime.fromtimestamp(self.start, UTC)

    @property
    def times(self) -> NDArray[np.int64]:
        """When each begins, s since 1970."""
        return self.start + self.step * np.arange(self.size, dtype=np.int64)

    def places(self, moments: NDArray[np.int64]) -> NDArray[np.int64]:
        """In which interval each moment (s since 1970) lies; those outside are with the nearest."""
        return np.clip((moments - self.start) // self.step, 0, self.size - 1)


@dataclass(frozen=True)
class Telemetry:
    """What was seen of some pairs. `sums` float64[pairs, grid.size, len(SUMS)]; `latency` and `sparks` are counts of
    sketch buckets, float64[grid.size, BUCKETS] and float64[pairs, spark_grid.size, BUCKETS]."""

    pairs: tuple[Pair, ...]
    grid: Grid
    spark_grid: Grid
    sums: NDArray[np.float64]
    latency: Counts
    sparks: Counts
    known: tuple[int, int]
    """From when to when something is known (s since 1970): minutes arrive some time after they are over."""

    @property
    def minutes(self) -> NDArray[np.float64]:
        """The length of the part of each interval of which something can be known, in minutes; NaN where none is."""
        starts = np.maximum(self.grid.times, self.known[0])
        ends = np.minimum(self.grid.times + self.grid.step, self.known[1])
        length = (ends - starts) / MINUTE
        return np.where(length > 0, length, np.nan)


long_ranges: Momentary[Telemetry] = Momentary(60.0)


def pairs_of(principal: object, selection: Selection) -> list[ServedModel]:
    """The pairs that `principal` may see and that called something in the range or later, by name."""
    rows = ServedModel.objects.visible_to(principal).select_related("service")
    since = min(selection.start, selection.end - timedelta(days=1))
    return list(rows.filter(last_seen__gte=since).order_by("service__name", "name"))


def read(principal: Hashable, selection: Selection, pairs: Sequence[Pair], now: datetime) -> Telemetry:
    """The telemetry of `pairs`: from minutes as long as these are not too many, else from hours.

    Points that are hours apart are not read anew within the minute: nobody would see a difference.
    """
    if selection.step < LONG:
        return _read(principal, selection, pairs, now)
    key = (principal, tuple(pairs), selection.span or (selection.start, selection.end))
    return long_ranges.get(key, lambda: _read(principal, selection, pairs, now))


def _read(principal: object, selection: Selection, pairs: Sequence[Pair], now: datetime) -> Telemetry:
    is_fine = len(pairs) * selection.seconds / MINUTE <= MOST_ROWS and selection.start >= minutes_kept_since(now)
    grid = Grid.over(selection.start, selection.end, selection.step if is_fine else max(selection.step, HOUR))
    cut = grid.begin if is_fine else settled_before(now)
    found = list(rows(principal, pairs, grid.begin, selection.end, cut))
    return _added(found, tuple(pairs), grid, _spark_grid(grid))


def minutes_kept_since(now: datetime) -> datetime:
    return now - timedelta(days=settings.SENTINEL.storage.retention.minutes)


def settled_before(now: datetime) -> datetime:
    """Hours from then on may not have been added up yet."""
    return hour_of(now - _FRESH)


def rows(
    principal: object, pairs: Sequence[Pair], start: datetime, end: datetime, cut: datetime, sketch: Any = _HEAD
) -> Iterable[tuple[Any, ...]]:
    """(service, model, s since 1970, *SUMS, sketch) of the services of `pairs`.

    Of hours until `cut`, from then on of minutes.
    """
    if start < cut:
        hours = TelemetryHour.objects.filter(hour__gte=start, hour__lt=min(end, cut))
        yield from _chosen(hours, principal, pairs).values_list("service", "model", Epoch("hour"), *SUMS, sketch)
    if cut < end:
        minutes = TelemetryMinute.objects.filter(minute__gte=max(start, cut), minute__lt=end)
        yield from _chosen(minutes, principal, pairs).values_list("service", "model", Epoch("minute"), *SUMS, sketch)


def _chosen(rows: QuerySet[Any], principal: object, pairs: Sequence[Pair]) -> QuerySet[Any]:
    # Names of services, of which there are few; what they call besides is dropped when it is added up.
    services = sorted({pair.service for pair in pairs})
    return rows.visible_to(principal).filter(service__in=services).order_by()  # type: ignore[attr-defined]


def _spark_grid(grid: Grid) -> Grid:
    step = grid.step * max(1, -(-grid.size // SPARKS))
    return Grid(grid.start, step, -(-grid.size * grid.step // step))


def _added(rows: list[tuple[Any, ...]], pairs: tuple[Pair, ...], grid: Grid, sparks: Grid) -> Telemetry:
    index = {pair: place for place, pair in enumerate(pairs)}
    places = [index.get((row[0], row[1]), -1) for row in rows]  # type: ignore[call-overload]
    rows = [row for row, place in zip(rows, places, strict=True) if place >= 0]
    of_pair = np.array([place for place in places if place >= 0], np.int64)
    times = np.array([row[2] for row in rows], np.int64)
    bucket, spark = grid.places(times), sparks.places(times)
    cell = of_pair * grid.size + bucket
    sums = np.empty((len(pairs), grid.size, len(SUMS)))
    for place in range(len(SUMS)):
        values = np.array([row[3 + place] for row in rows], np.float64)
        sums[:, :, place] = np.bincount(cell, values, len(pairs) * grid.size).reshape(len(pairs), grid.size)
    entries = Entries([row[-1] for row in rows])
    small = entries.added(of_pair * sparks.size + spark, len(pairs) * sparks.size)
    known = (int(times.min()), int(times.max()) + MINUTE) if len(times) else (0, 0)
    return Telemetry(
        pairs=pairs,
        grid=grid,
        spark_grid=sparks,
        sums=sums,
        latency=entries.added(bucket, grid.size),
        sparks=small.reshape(len(pairs), sparks.size, BUCKETS),
        known=known,
    )
