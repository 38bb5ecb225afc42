"""Reads the value of a term as its field understands it."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from anomalies.queries.fields import Field, Kind
from anomalies.queries.terms import Pattern, Span, Value

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_COUNT = re.compile(r"[+-]?[0-9]{1,18}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.+Zz-]{5,27})?")
_AGE = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_AGE_PART = re.compile(r"([0-9]+)([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_OLDEST = 100 * 365 * 86_400
_DATE_LENGTH = len("2026-03-02")
_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, ":": operator.eq}


def read(field: Field, comparison: str, pattern: Pattern) -> Value:
    """The value of `field` in `pattern`; ValueError, which says what is allowed, when it is none."""
    if field.kind is Kind.TEXT:
        return pattern
    if field.words:
        return _words(field, comparison, pattern)
    if not pattern.is_exact:
        raise ValueError(f"{field.name} takes {field.kind.value}")
    try:
        return _READERS[field.kind](pattern.parts[0])
    except (ValueError, OverflowError):
        raise ValueError(f"{field.name} takes {field.kind.value}") from None


def _words(field: Field, comparison: str, pattern: Pattern) -> tuple[str, ...]:
    """The words of `field` that satisfy the term."""
    named = [place for place, word in enumerate(field.words) if pattern.matches(word)]
    if not named or (comparison != ":" and not pattern.is_exact):
        raise ValueError(f"{field.name} takes {', '.join(field.words)}")
    compare = _COMPARE[comparison]
    return tuple(word for place, word in enumerate(field.words) if any(compare(place, each) for each in named))


def _number(text: str) -> float:
    number = float(_whole(_NUMBER, text))
    if not math.isfinite(number):
        raise ValueError
    return number


def _count(text: str) -> int:
    return int(_whole(_COUNT, text))


def _moment(text: str) -> Span:
    found = datetime.fromisoformat(_whole(_MOMENT, text))
    start = found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    return Span(start, start + timedelta(days=1) if len(text) == _DATE_LENGTH else start)


def _age(text: str) -> timedelta:
    seconds = sum(int(count) * _UNITS[unit] for count, unit in _AGE_PART.findall(_whole(_AGE, text)))
    if seconds > _OLDEST:
        raise ValueError
    return timedelta(seconds=seconds)


def _element(text: str) -> str:
    return text


def _whole(form: re.Pattern[str], text: str) -> str:
    if not form.fullmatch(text):
        raise ValueError
    return text


_READERS: dict[Kind, Callable[[str], Value]] = {
    Kind.NUMBER: _number,
    Kind.COUNT: _count,
    Kind.MOMENT: _moment,
    Kind.AGE: _age,
    Kind.IDENTITY: UUID,
    Kind.ELEMENT: _element,
}
