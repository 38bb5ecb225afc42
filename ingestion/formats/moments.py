"""Many RFC 3339 timestamps at once, where they are written as nearly all are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.stats.compiled import inlined, lean

UNUSUAL = -1
DASH, COLON, POINT, T, ZERO, Z = (ord(character) for character in "-:.T0Z")
WHOLE_SECONDS = 19  # characters of "2024-11-06T10:25:00"
FIRST_YEAR, LAST_YEAR = 1970, 2261  # the last one whose nanoseconds fit 64 bits as a whole
BILLION = 1_000_000_000


def moments(texts: Sequence[str]) -> list[int]:
    """Nanoseconds since 1970 of timestamps in UTC such as "2024-11-06T10:25:00.25Z" or "...+00:00".

    UNUSUAL for all else, right or wrong: `timestamps.unix_nanoseconds` knows the whole grammar.
    """
    joined = "".join(texts)
    if not joined.isascii():
        return [UNUSUAL] * len(texts)
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    found: list[int] = _parsed(np.frombuffer(joined.encode(), np.uint8), ends).tolist()
    return found


def warm_up() -> None:
    """Have compiled, or loaded, what `moments` needs."""
    moments([""])


@inlined
def _number(text: NDArray[np.uint8], start: int, length: int) -> int:
    """The number that some digits write, negative if one of them is none."""
    number: Any = 0
    for place in range(start, start + length):
        digit = np.int64(text[place]) - ZERO
        if digit < 0 or digit > 9:
            return UNUSUAL
        number = number * 10 + digit
    return int(number)


@inlined
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970 in the Gregorian calendar, negative for a day that is not in it.

    Hinnant, "chrono-compatible low-level date algorithms": years begin in March, so that a leap day is their last.
    """
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    length = 30 + (month + month // 8) % 2 - (month == 2) * (2 - is_leap)
    if year < FIRST_YEAR or year > LAST_YEAR or month < 1 or month > 12 or day < 1 or day > length:
        return UNUSUAL
    moved = year - (month < 3)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return moved * 365 + moved // 4 - moved // 100 + moved // 400 + of_year - 719_468


@inlined
def _has_marks(text: NDArray[np.uint8], start: int) -> bool:
    is_date: bool = text[start + 4] == DASH and text[start + 7] == DASH and text[start + 10] == T
    is_time: bool = text[start + 13] == COLON and text[start + 16] == COLON
    return is_date and is_time


@inlined
def _is_utc(text: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether what follows the fraction is "Z" or "+00:00"."""
    if end - start != 6:
        return end - start == 1 and text[start] == Z
    is_zero = _number(text, start + 1, 2) == 0 and _number(text, start + 4, 2) == 0
    return text[start] == ord("+") and text[start + 3] == COLON and is_zero


@inlined
def _moment(text: NDArray[np.uint8], start: int, end: int) -> int:
    if end - start <= WHOLE_SECONDS or not _has_marks(text, start):
        return UNUSUAL
    days = _days(_number(text, start, 4), _number(text, start + 5, 2), _number(text, start + 8, 2))
    hour, minute = _number(text, start + 11, 2), _number(text, start + 14, 2)
    second, rest = _number(text, start + 17, 2), start + WHOLE_SECONDS
    if days < 0 or hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return UNUSUAL
    fraction: Any = 0
    scale = BILLION
    if text[rest] == POINT:
        rest += 1
        while rest < end and scale > 1 and ZERO <= text[rest] <= ZERO + 9:
            scale //= 10
            fraction += (np.int64(text[rest]) - ZERO) * scale
            rest += 1
        if scale == BILLION:
            return UNUSUAL
    if not _is_utc(text, rest, end):
        return UNUSUAL
    return ((days * 24 + hour) * 60 + minute) * 60 * BILLION + second * BILLION + int(fraction)


@lean
def _fill(text: NDArray[np.uint8], ends: NDArray[np.int64], found: NDArray[np.int64]) -> None:
    start = 0
    for place in range(len(ends)):
        found[place] = _moment(text, start, ends[place])
        start = ends[place]


def _parsed(text: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    found = np.empty(len(ends), np.int64)
    _fill(text, ends, found)
    return found
