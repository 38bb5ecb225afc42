"""Budgets: periods of the calendar, shares that are reached, and when the money runs out at the pace of the last days.

Pace. Let d be the days of the calendar of a time zone, S(d) what was spent on them, and today only as far as it has
gone, e of it (0 to 1).

    w(weekday)  = mean of S over the days of that weekday in the last whole weeks (2 to 4 of them), by the mean of all
                  these days; 1 for every weekday while there are fewer than 14 whole days
    pace        = (S(last whole days) + S(today)) / (sum of w(last whole days) + e w(today))
    forecast    = spent + pace x sum of w over what is left of the period, by parts of days

The last days are six for a month and one for a day, so a change of habits counts within days, a runaway within hours,
and the first hours of a period are carried by what was before. Days before the first one with calls do not count: what
is young is not thrifty. Where nothing is known but less than an hour of today there is no pace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from alerting.rules.active_hours import instant

PERIODS = ("day", "month")
HISTORY = 28
"""Whole days that are looked back on."""
LAST_DAYS = {"day": 1, "month": 6}
LEAST = 1 / 24
"""Of an ordinary day: what must be known at least for a pace."""
SURE_AFTER_DAYS = 3
SURE_AFTER_SHARE = 0.2
MAX_SHARES = 10
HIGHEST_SHARE = 10.0
_DAY = timedelta(days=1)
_ROUNDING = 1e-9


class Period(NamedTuple):
    """A day or month of the calendar of `zone`: [start, end) in UTC, and its first day."""

    start: datetime
    end: datetime
    first: date
    zone: ZoneInfo


class Pace(NamedTuple):
    """Dollars on an ordinary day, and what each weekday (0 = Monday) is of that."""

    per_day: float
    weekdays: tuple[float, ...] = (1.0,) * 7

    def of(self, day: date) -> float:
        return self.per_day * self.weekdays[day.weekday()]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is to be expected of a period. `forecast` is None without a pace, `runs_out_at` also where it does not."""

    forecast: float | None
    runs_out_at: datetime | None
    is_sure: bool


def period_of(kind: str, zone: ZoneInfo, now: datetime) -> Period:
    """The "day" or "month" that `now` (aware) lies in, by the calendar of `zone`."""
    today = now.astimezone(zone).date()
    if kind == "day":
        first, following = today, today + _DAY
    else:
        first = today.replace(day=1)
        following = (first + 31 * _DAY).replace(day=1)
    return Period(_midnight(zone, first), _midnight(zone, following), first, zone)


def _midnight(zone: ZoneInfo, day: date) -> datetime:
    return instant(zone, day, 0, fold=0)


def pace_of(days: Mapping[date, float], zone: ZoneInfo, now: datetime, last_days: int) -> Pace | None:
    """The pace from dollars by day, those without calls absent; None where too little is known."""
    today = now.astimezone(zone).date()
    whole = _whole_days(days, today)
    weekdays = _weekdays(whole, today)
    recent = range(1, min(last_days, len(whole)) + 1)
    start = _midnight(zone, today)
    gone = (now - start) / (_midnight(zone, today + _DAY) - start)
    spent = math.fsum([days.get(today, 0.0), *(whole[-back] for back in recent)])
    weight = math.fsum(
        [gone * weekdays[today.weekday()], *(weekdays[(today - back * _DAY).weekday()] for back in recent)]
    )
    return Pace(spent / weight, weekdays) if weight >= LEAST else None


def _whole_days(days: Mapping[date, float], today: date) -> list[float]:
    """What was spent on each day before today since the first with calls, oldest first, `HISTORY` at most."""
    first = min((day for day in days if day <= today), default=today)
    count = min((today - first).days, HISTORY)
    return [days.get(today - back * _DAY, 0.0) for back in range(count, 0, -1)]


def _weekdays(whole: Sequence[float], today: date) -> tuple[float, ...]:
    weeks = len(whole) // 7
    total = math.fsum(whole[len(whole) - 7 * weeks :])
    if weeks < 2 or total <= 0:
        return (1.0,) * 7
    shape = [0.0] * 7
    for back in range(1, 7 * weeks + 1):
        shape[(today - back * _DAY).weekday()] += whole[-back] * 7 / total
    return tuple(shape)


def outlook(
    spent: float, amount: float, days: Mapping[date, float], kind: str, period: Period, now: datetime
) -> Outlook:
    """What becomes of `amount` in the period at the pace of `days`; `now` lies in the period."""
    pace = pace_of(days, period.zone, now, LAST_DAYS[kind])
    if pace is None:
        return Outlook(None, now if spent >= amount else None, is_sure=False)
    today = now.astimezone(period.zone).date()
    gone = (now - period.start) / (period.end - period.start)
    is_sure = len(_whole_days(days, today)) >= SURE_AFTER_DAYS or gone >= SURE_AFTER_SHARE
    return Outlook(forecast(spent, pace, now, period), runs_out_at(spent, amount, pace, now, period), is_sure)


def forecast(spent: float, pace: Pace, now: datetime, period: Period) -> float:
    """What will have been spent by the end of the period."""
    return spent + math.fsum(dollars for _, _, dollars in _ahead(pace, now, period))


def runs_out_at(spent: float, amount: float, pace: Pace, now: datetime, period: Period) -> datetime | None:
    """When `amount` will be spent: `now` where it is; None where that is not before the end of the period."""
    left = amount - spent
    if left <= 0:
        return now
    for begin, end, dollars in _ahead(pace, now, period):
        if dollars >= left:
            return min(begin + (end - begin) * (left / dollars), end)
        left -= dollars
    return None


def _ahead(pace: Pace, now: datetime, period: Period) -> Iterator[tuple[datetime, datetime, float]]:
    """The days that are left of the period, today from `now` on: beginning, end, dollars."""
    day, begin = now.astimezone(period.zone).date(), now
    while begin < period.end:
        start, end = _midnight(period.zone, day), _midnight(period.zone, day + _DAY)
        # A zone that moves over the date line leaves a day out.
        if end > begin:
            yield begin, end, pace.of(day) * ((end - begin) / (end - start))
            begin = end
        day += _DAY


def reached(spent: float, amount: float, shares: Sequence[float]) -> float | None:
    """The highest of `shares` of `amount` that is spent; None where none is."""
    return max((share for share in shares if spent >= share * amount * (1 - _ROUNDING)), default=None)


def severity_of(share: float) -> str:
    """How loud it is that a share is reached: critical once all is spent, warning once three quarters are."""
    return "critical" if share >= 1 else "warning" if share >= 0.75 else "info"


def problems_of_shares(shares: object) -> str:
    """What is wrong with a list of shares; empty where it can be used."""
    if not isinstance(shares, list) or not 1 <= len(shares) <= MAX_SHARES:
        return f"must be a list of 1 to {MAX_SHARES} numbers"
    if not all(isinstance(share, int | float) and not isinstance(share, bool) for share in shares):
        return "must be numbers: 0.8 is 80 %"
    if not all(0 < share <= HIGHEST_SHARE for share in shares):
        return f"must be above 0 and at most {HIGHEST_SHARE:g}: 0.8 is 80 %"
    if any(later <= former for former, later in pairwise(shares)):
        return "must rise: each share above the one before it"
    return ""
