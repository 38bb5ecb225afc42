"""How many calls, errors, dollars and milliseconds there were per interval.

Intervals of whole hours are taken from hours where these are whole and added up, longer ones than a minute from
minutes, and what lies at the edges, or is younger or shorter, from single events.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from baselines.models import DueHour, TelemetryHour, TelemetryMinute
from baselines.rollup import HOUR, hour_of, runs
from baselines.stats.sketch import SKETCHED, decode
from ingestion.telemetry_store import Summary, SummaryQuery, Tally, TelemetryStore

MINUTE = timedelta(minutes=1)
# A minute closes 30 s after its end; the rest is what the pipeline may lag before a summary misses something.
SETTLED_AFTER = timedelta(minutes=2)

_LATENCY = SKETCHED.index("latency_ms")
_CHUNK = 2000
_SUMS = ("service", "model", "count", "errors", "cost_usd", "sketches")


class TooFine(Exception):
    """Shorter intervals than hours were asked for of a time of which only hours are left, those before `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"Before {until:%Y-%m-%dT%H:%MZ} only whole hours are kept")
        self.until = until


def summarize(store: TelemetryStore, query: SummaryQuery, now: datetime) -> Summary:
    """Tallies of [start, end). Raises StoreUnavailable, and TooFine where only hours are left of a part of the range.

    An hour of which only the sum is left counts as a whole if the range begins within it.
    """
    query = _widened(query)
    first = _ceiling(query.start, MINUTE)
    last = min(_floor(query.end), _floor(now - SETTLED_AFTER))
    if query.seconds < MINUTE.total_seconds() or first >= last:
        return store.summary(query)
    result = of_minutes_and_hours(replace(query, start=first, end=last))
    for edge in (replace(query, end=first), replace(query, start=last)):
        if edge.start < edge.end:
            _merge(result, store.summary(edge))
    return result


def of_minutes_and_hours(query: SummaryQuery) -> Summary:
    """Tallies of whole minutes: from hours where intervals, and the range, are of whole hours, else from minutes."""
    first, last = _ceiling(query.start, HOUR), hour_of(query.end)
    if query.seconds % HOUR.total_seconds() or first >= last:
        return of_minutes(query)
    result = of_hours(replace(query, start=first, end=last))
    for edge in (replace(query, end=first), replace(query, start=last)):
        if edge.start < edge.end:
            _merge(result, of_minutes(edge))
    return result


def of_minutes(query: SummaryQuery) -> Summary:
    """Tallies from the one-minute aggregates of all partitions."""
    minutes = _chosen(TelemetryMinute.objects.filter(minute__gte=query.start, minute__lt=query.end), query)
    return _added(minutes.values_list("minute", *_SUMS), query.seconds)


def of_hours(query: SummaryQuery) -> Summary:
    """Tallies of whole hours: from the hours, and of those that are to be added up again from their minutes.

    Minutes that came after an hour was final count beside it.
    """
    due = set(_chosen(_in_range(DueHour, query), query).values_list("service", "model", "hour"))
    result: Summary = {}
    for start, end in runs({hour for _, _, hour in due}):
        minutes = _chosen(TelemetryMinute.objects.filter(minute__gte=start, minute__lt=end), query)
        rows = minutes.values_list("minute", *_SUMS)
        _merge(result, _added((row for row in rows.iterator(_CHUNK) if _key(row) in due), query.seconds))
    hours = _chosen(_in_range(TelemetryHour, query), query).values_list("hour", *_SUMS, "is_final")
    added_up = (row for row in hours.iterator(_CHUNK) if row[-1] or _key(row) not in due)
    _merge(result, _added(added_up, query.seconds))
    return result


def _in_range(model: Any, query: SummaryQuery) -> Any:
    return model.objects.filter(hour__gte=query.start, hour__lt=query.end)


def _chosen(rows: Any, query: SummaryQuery) -> Any:
    if query.services is not None:
        rows = rows.filter(service__in=query.services)
    if query.model is not None:
        rows = rows.filter(model=query.model)
    return rows.order_by()


def _key(row: tuple[Any, ...]) -> tuple[str, str, datetime]:
    return row[1], row[2], hour_of(row[0])


def _added(rows: Any, seconds: int) -> Summary:
    result: Summary = {}
    for time, _, _, count, errors, cost, sketches, *_ in rows.iterator(_CHUNK) if hasattr(rows, "iterator") else rows:
        start = int(time.timestamp()) // seconds * seconds
        latencies = decode(bytes(sketches))[_LATENCY].astype(np.uint64)
        result.setdefault(start, Tally()).add(Tally(count, errors, cost, latencies))
    return result


def _widened(query: SummaryQuery) -> SummaryQuery:
    """The query, from the beginning of its first hour where only the sum is left of that. Raises TooFine."""
    final = _chosen(TelemetryHour.objects.filter(is_final=True, hour__lt=query.end), query)
    final = final.filter(hour__gte=hour_of(query.start))
    if query.seconds % HOUR.total_seconds():
        newest = final.order_by("-hour").values_list("hour", flat=True).first()
        if newest is not None:
            raise TooFine(newest + HOUR)
        return query
    if query.start != hour_of(query.start) and final.filter(hour=hour_of(query.start)).exists():
        return replace(query, start=hour_of(query.start))
    return query


def _merge(into: Summary, other: Summary) -> None:
    for start, tally in other.items():
        into.setdefault(start, Tally()).add(tally)


def _floor(time: datetime) -> datetime:
    return time.replace(second=0, microsecond=0)


def _ceiling(time: datetime, unit: timedelta) -> datetime:
    floor = _floor(time) if unit == MINUTE else hour_of(time)
    return floor if floor == time else floor + unit
