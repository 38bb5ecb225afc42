"""Hours of the week in a time zone: when a rule speaks, when a recurring maintenance window is open.

Hours are what clocks on the wall show. Where a clock jumps forward over the beginning or the end of a window, that is
the moment of the jump; where it jumps back, the repeated time counts twice: a window ends when it is over for good.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
KEYS = ("timezone", "days", "start", "end")
MAX_WINDOWS = 20
DAY_MINUTES = 24 * 60
LOOK_AHEAD = timedelta(days=15)
"""Further than a week, because a zone that moves over the date line skips a whole day."""
_CLOCK = re.compile(r"(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")

Span = tuple[datetime, datetime]
"""Beginning and end in UTC; the end is not part of it."""


class HoursError(ValueError):
    """Hours that cannot be used; the text says where, what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end`, minutes after midnight, on days (0 = Monday) that are those of the beginning.

    One whose end is not after its start goes over midnight.
    """

    zone: ZoneInfo
    days: frozenset[int]
    start: int
    end: int

    def spans(self, first: datetime, last: datetime) -> Iterator[Span]:
        """Those that overlap with the time from `first` to `last`, in order; nothing for days the zone skipped."""
        day = first.astimezone(self.zone).date() - timedelta(days=2)
        while day <= last.astimezone(self.zone).date():
            if day.weekday() in self.days:
                begin, end = self._span_of(day)
                if begin < end and first < end and begin <= last:
                    yield begin, end
            day += timedelta(days=1)

    def _span_of(self, day: date) -> Span:
        end = self.end if self.end > self.start else self.end + DAY_MINUTES
        return instant(self.zone, day, self.start, fold=0), instant(self.zone, day, end, fold=1)


@dataclass(frozen=True, slots=True)
class ActiveHours:
    """Windows of the week; active is what lies in any of them."""

    windows: tuple[Window, ...]

    def is_active(self, now: datetime) -> bool:
        """Whether `now` (aware) is within the hours."""
        return any(next(window.spans(now, now), None) for window in self.windows)

    def next_start(self, now: datetime) -> datetime | None:
        """When the hours begin after `now`, in UTC; `now` within them. None if that is not within `LOOK_AHEAD`."""
        spans = self._spans(now)
        return max(spans[0][0], now) if spans else None

    def next_end(self, now: datetime) -> datetime | None:
        """When the hours that `now` is in are over, in UTC; None outside them, and if they never are."""
        spans = self._spans(now)
        if not spans or spans[0][0] > now:
            return None
        return spans[0][1] if spans[0][1] < now + LOOK_AHEAD else None

    def _spans(self, now: datetime) -> list[Span]:
        """What is ahead of `now`, with windows that touch made one."""
        merged: list[Span] = []
        for begin, end in sorted(span for window in self.windows for span in window.spans(now, now + LOOK_AHEAD)):
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        return merged


def parse_active_hours(data: object) -> ActiveHours | None:
    """Hours from their JSON form: `{"timezone", "days", "start", "end"}` or a list of such; None (always) from null.

    `days` are `mon` to `sun`, all where absent; times are "HH:MM" up to "24:00". Raises `HoursError`.
    """
    if data is None:
        return None
    items = data if isinstance(data, list) else [data]
    if not 1 <= len(items) <= MAX_WINDOWS:
        raise HoursError(f"must be one window or a list of 1 to {MAX_WINDOWS}; null means always")
    single = not isinstance(data, list)
    return ActiveHours(tuple(_window("" if single else f"[{index}]", item) for index, item in enumerate(items)))


def _window(where: str, item: object) -> Window:
    if not isinstance(item, Mapping):
        raise HoursError(f"{where or 'it'} must be an object with {', '.join(KEYS)}, not {type(item).__name__}")
    if unknown := sorted(str(key) for key in item.keys() - set(KEYS)):
        raise HoursError(f"{where}.{unknown[0]} is not known; allowed are {', '.join(KEYS)}".lstrip("."))
    at = f"{where}." if where else ""
    zone = zone_named(f"{at}timezone", item.get("timezone"))
    days = _days(f"{at}days", item.get("days", list(DAYS)))
    start, end = _minutes(f"{at}start", item.get("start")), _minutes(f"{at}end", item.get("end"))
    if start == end:
        raise HoursError(f"{at}start and end are the same; for whole days say 00:00 to 24:00")
    if start == DAY_MINUTES:
        raise HoursError(f"{at}start is 24:00; say 00:00 on the day after")
    return Window(zone, days, start, end)


def zone_named(where: str, name: object) -> ZoneInfo:
    """The time zone of that name; raises `HoursError`, which begins with `where`."""
    if not isinstance(name, str) or name not in _zones():
        raise HoursError(f"{where} is {name!r}; allowed are names of the IANA database such as Europe/Berlin or UTC")
    return ZoneInfo(name)


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _days(where: str, names: object) -> frozenset[int]:
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        raise HoursError(f"{where} must be a list of some of {', '.join(DAYS)}")
    if wrong := [name for name in names if name not in DAYS]:
        raise HoursError(f"{where} has {wrong[0]!r}; allowed are {', '.join(DAYS)}")
    return frozenset(DAYS.index(name) for name in names)


def _minutes(where: str, text: object) -> int:
    found = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise HoursError(f'{where} is {text!r}; allowed are times such as "08:00" up to "24:00"')
    return int(found[1]) * 60 + int(found[2]) if found[1] else DAY_MINUTES


def instant(zone: ZoneInfo, day: date, minutes: int, fold: int) -> datetime:
    """When the clock of `zone` shows that time, in UTC; of two such moments the one that `fold` says."""
    days, minutes = divmod(minutes, DAY_MINUTES)
    wall = datetime.combine(day + timedelta(days=days), time(minutes // 60, minutes % 60))
    found = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == wall:
        return found
    return _jump(zone, wall)


def _jump(zone: ZoneInfo, wall: datetime) -> datetime:
    """The moment at which the clock jumped over `wall`, in UTC: the first at which it shows that time or later."""
    early, late = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    while late - early > timedelta(seconds=1):
        middle = (early + (late - early) / 2).replace(microsecond=0)
        if middle.astimezone(zone).replace(tzinfo=None) < wall:
            early = middle
        else:
            late = middle
    return late
