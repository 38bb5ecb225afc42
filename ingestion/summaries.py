"""How many calls, errors, dollars and milliseconds there were per interval."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from baselines.models import TelemetryMinute
from baselines.stats.sketch import SKETCHED, decode
from ingestion.telemetry_store import Summary, SummaryQuery, Tally, TelemetryStore

MINUTE = timedelta(minutes=1)
# A minute closes 30 s after its end; the rest is what the pipeline may lag before a summary misses something.
SETTLED_AFTER = timedelta(minutes=2)

_LATENCY = SKETCHED.index("latency_ms")
_CHUNK = 2000


def summarize(store: TelemetryStore, query: SummaryQuery, now: datetime) -> Summary:
    """Tallies of [start, end): from minutes where these are whole and settled, from single events at the edges.

    Intervals shorter than a minute come from single events alone. Raises StoreUnavailable.
    """
    first = _ceiling(query.start)
    last = min(_floor(query.end), _floor(now - SETTLED_AFTER))
    if query.seconds < MINUTE.total_seconds() or first >= last:
        return store.summary(query)
    result = of_minutes(replace(query, start=first, end=last))
    for edge in (replace(query, end=first), replace(query, start=last)):
        if edge.start < edge.end:
            _merge(result, store.summary(edge))
    return result


def of_minutes(query: SummaryQuery) -> Summary:
    """Tallies from the one-minute aggregates of all partitions."""
    minutes = TelemetryMinute.objects.filter(minute__gte=query.start, minute__lt=query.end)
    if query.services is not None:
        minutes = minutes.filter(service__in=query.services)
    if query.model is not None:
        minutes = minutes.filter(model=query.model)
    result: Summary = {}
    rows = minutes.order_by().values_list("minute", "count", "errors", "cost_usd", "sketches")
    for minute, count, errors, cost, sketches in rows.iterator(_CHUNK):
        start = int(minute.timestamp()) // query.seconds * query.seconds
        latencies = decode(bytes(sketches))[_LATENCY].astype(np.uint64)
        result.setdefault(start, Tally()).add(Tally(count, errors, cost, latencies))
    return result


def _merge(into: Summary, other: Summary) -> None:
    for start, tally in other.items():
        into.setdefault(start, Tally()).add(tally)


def _floor(time: datetime) -> datetime:
    return time.replace(second=0, microsecond=0)


def _ceiling(time: datetime) -> datetime:
    floor = _floor(time)
    return floor if floor == time else floor + MINUTE
