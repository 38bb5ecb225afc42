"""Adding minutes up to hours, exactly: sums and merged sketches, whatever comes late and however often it is done.

An hour is added up anew from all its minutes whenever one of them was written (DueHour). Once its minutes are deleted
for their age it is final: what comes later still is added to it, and deleted, in one transaction.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from django.db import connection, transaction
from django.db.models import QuerySet

from baselines.batches import batched
from baselines.models import DueHour, TelemetryHour, TelemetryMinute
from baselines.stats.sketch import encode, merge

HOUR = timedelta(hours=1)
# A minute closes 30 s after its end; the rest is what the pipeline may lag before an hour is added up a second time.
SETTLED_AFTER = timedelta(minutes=2)
HOURS_AT_ONCE = 50
NOTES_AT_ONCE = 5000
LOCK = 0x40E5

COUNTS = (
    *("count", "errors", "prompt_tokens", "completion_tokens", "total_tokens"),
    *("unpriced_calls", "unpriced_tokens"),
)
_VALUES = (*COUNTS, "cost_usd", "sketches")
_KEY = ["service", "model", "hour"]


class HourKey(NamedTuple):
    """One hour of one (service, model)."""

    service: str
    model: str
    hour: datetime


def hour_of(moment: datetime) -> datetime:
    """The beginning of the hour that `moment` (UTC) lies in."""
    return moment.replace(minute=0, second=0, microsecond=0)


def runs(hours: Iterable[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Adjacent hours as ranges [start, end)."""
    start = end = None
    for hour in sorted(hours):
        if end is not None and start is not None and hour > end:
            yield start, end
            start = None
        start, end = start or hour, hour + HOUR
    if start is not None and end is not None:
        yield start, end


def mark_due(minutes: Iterable[TelemetryMinute]) -> None:
    """Note the hours of minutes, within the transaction that writes them."""
    keys = {HourKey(row.service, row.model, hour_of(row.minute)) for row in minutes}
    DueHour.objects.bulk_create([DueHour(**key._asdict()) for key in sorted(keys)], batch_size=500)


def roll_up(now: datetime) -> int:
    """Add up every due hour that has ended; returns how many there were.

    Hours that become due meanwhile are left to the next time.
    """
    ended = hour_of(now - SETTLED_AFTER)
    newest = DueHour.objects.order_by("-id").values_list("id", flat=True).first() or 0
    rolled = 0
    while notes := _notes(newest, ended):
        by_key: defaultdict[HourKey, list[int]] = defaultdict(list)
        for note, *key in notes:
            by_key[HourKey(*key)].append(note)
        for keys in _groups(by_key):
            _roll(keys, [note for key in keys for note in by_key[key]])
            rolled += len(keys)
    return rolled


def _notes(newest: int, ended: datetime) -> list[tuple[Any, ...]]:
    due = DueHour.objects.filter(id__lte=newest, hour__lt=ended).order_by("hour", "service", "model")
    return list(due.values_list("id", *_KEY)[:NOTES_AT_ONCE])


def _groups(keys: Iterable[HourKey]) -> Iterable[list[HourKey]]:
    """Keys of one hour each, so many that a transaction stays short."""
    by_hour: defaultdict[datetime, list[HourKey]] = defaultdict(list)
    for key in keys:
        by_hour[key.hour].append(key)
    for of_hour in by_hour.values():
        yield from batched(of_hour, HOURS_AT_ONCE)


@transaction.atomic
def _roll(keys: list[HourKey], notes: list[int]) -> None:
    _lock()
    fold(keys)
    for some in batched(notes, 500):
        DueHour.objects.filter(pk__in=some).delete()


def finish(before: datetime) -> int:
    """Delete the minutes of hours that ended by `before` and make these hours final; returns how many minutes.

    Minutes that no hour has yet are added up first, so nothing of them is lost.
    """
    deleted = 0
    while True:
        old = TelemetryMinute.objects.filter(minute__lt=hour_of(before)).order_by("minute")
        oldest = old.values_list("minute", flat=True).first()
        if oldest is None:
            return deleted
        hour = hour_of(oldest)
        pairs = TelemetryMinute.objects.filter(minute__gte=hour, minute__lt=hour + HOUR).order_by()
        keys = sorted(HourKey(*pair, hour) for pair in pairs.values_list("service", "model").distinct())
        for some in batched(keys, HOURS_AT_ONCE):
            deleted += _finish(some)


@transaction.atomic
def _finish(keys: list[HourKey]) -> int:
    _lock()
    in_hour = _in_hour(keys)
    # Read before the notes: then each of these minutes is in its hour, unless there is a note of it.
    rows = [(pk, HourKey(*pair, keys[0].hour)) for pk, *pair in in_hour.values_list("pk", "service", "model")]
    added_up = _added_up(keys)
    done = set(keys) & added_up
    used = [pk for pk, key in rows if key in done]
    TelemetryHour.objects.filter(pk__in=[pk for key, pk in _pks(keys) if key in done]).update(is_final=True)
    _delete(used)
    rest = [key for key in keys if key not in done]
    return len(used) + (fold(rest, is_last=True) if rest else 0)


def _added_up(keys: Sequence[HourKey]) -> set[HourKey]:
    """Those hours, not final yet, that hold all of their minutes."""
    noted = DueHour.objects.filter(hour=keys[0].hour, service__in={key.service for key in keys}).order_by()
    due = {HourKey(*row) for row in noted.values_list(*_KEY).distinct()}
    hours = _hours_of(keys).filter(is_final=False)
    return {HourKey(*row) for row in hours.values_list(*_KEY)} - due


def _pks(keys: Sequence[HourKey]) -> list[tuple[HourKey, int]]:
    return [(HourKey(*row), pk) for pk, *row in _hours_of(keys).values_list("pk", *_KEY)]


def _delete(minutes: Sequence[int]) -> None:
    for some in batched(minutes, 1000):
        TelemetryMinute.objects.filter(pk__in=some).delete()


def fold(keys: Sequence[HourKey], *, is_last: bool = False) -> int:
    """Write the hours `keys`, which are of one hour, from their minutes; returns how many minutes it deleted.

    With `is_last` they become final. To be called within a transaction, under the lock.
    """
    minutes = _minutes_of(keys)
    known = {HourKey(row.service, row.model, row.hour): row for row in _hours_of(keys)}
    written, used = [], []
    for key in keys:
        rows, former = minutes.get(key, []), known.get(key)
        is_final = former is not None and former.is_final
        if not rows and (former is None or is_final):
            continue
        written.append(_hour(key, [*rows, former] if is_final else rows, is_final=is_final or is_last))
        if is_final or is_last:
            used += [row.pk for row in rows]
    TelemetryHour.objects.bulk_create(
        written, update_conflicts=True, unique_fields=_KEY, update_fields=[*_VALUES, "is_final"], batch_size=500
    )
    _delete(used)
    return len(used)


def _minutes_of(keys: Sequence[HourKey]) -> dict[HourKey, list[TelemetryMinute]]:
    hour, wanted = keys[0].hour, set(keys)
    found: defaultdict[HourKey, list[TelemetryMinute]] = defaultdict(list)
    for row in _in_hour(keys):
        if (key := HourKey(row.service, row.model, hour)) in wanted:
            found[key].append(row)
    return found


def _in_hour(keys: Sequence[HourKey]) -> QuerySet[TelemetryMinute]:
    """The minutes of the hour of `keys`, of these pairs and perhaps some more."""
    hour = keys[0].hour
    names = {"service__in": {key.service for key in keys}, "model__in": {key.model for key in keys}}
    return TelemetryMinute.objects.filter(minute__gte=hour, minute__lt=hour + HOUR, **names).order_by()


def _hours_of(keys: Sequence[HourKey]) -> QuerySet[TelemetryHour]:
    return TelemetryHour.objects.filter(hour=keys[0].hour, service__in={key.service for key in keys})


def _hour(key: HourKey, parts: Sequence[Any], *, is_final: bool) -> TelemetryHour:
    sums = {name: sum(getattr(part, name) for part in parts) for name in COUNTS}
    # Exactly rounded, so that the order in which rows are read makes no difference.
    cost = math.fsum(part.cost_usd for part in parts)
    sketches = encode(merge(bytes(part.sketches) for part in parts).astype(np.uint32))
    return TelemetryHour(**key._asdict(), **sums, cost_usd=cost, sketches=sketches, is_final=is_final)


def _lock() -> None:
    """One at a time, until the transaction ends. SQLite has one writer anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
