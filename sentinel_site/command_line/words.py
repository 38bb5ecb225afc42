"""Reads the words of a command: lengths of time, ids, queries. What is wrong is said with what is allowed."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import timedelta
from uuid import UUID

from alerting.rules.matching import FIELDS, LABEL_PREFIX
from anomalies.queries import Query, QueryError
from anomalies.queries import parse as parse_query

LONGEST = timedelta(days=366)
_LENGTH = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_PART = re.compile(r"([0-9]+)([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_MATCHER = re.compile(r"(?P<field>[^=!~]+)(?P<op>!=|=~|=)(?P<value>.*)", re.DOTALL)


def length(text: str) -> timedelta:
    """A length of time: 90s, 30m, 2h, 1h30m, 7d."""
    found = timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text)))
    if not _LENGTH.fullmatch(text) or not timedelta(0) < found <= LONGEST:
        raise ArgumentTypeError(f"{text!r} is no length of time such as 90s, 30m, 2h, 1h30m or 7d (at most 366d)")
    return found


def seconds(text: str) -> float:
    """A length of time in seconds, of at least a tenth: 0.5, 2, 1m."""
    try:
        found = float(text)
    except ValueError:
        found = length(text).total_seconds()
    if not 0.1 <= found <= 3600:
        raise ArgumentTypeError(f"{text!r} is not between 0.1 and 3600 seconds")
    return found


def count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 10_000:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 to 10000")
    return int(text)


def identity(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no id of an anomaly or incident (a UUID)") from None


def query(text: str) -> Query:
    try:
        return parse_query(text)
    except QueryError as error:
        raise ArgumentTypeError(str(error)) from None


def matcher(text: str) -> dict[str, str]:
    """A condition of a silence: service=chat-api, model=gpt-*, labels.team!=search, service=~"chat-(a|b)"."""
    found = _MATCHER.fullmatch(text)
    field = found["field"].strip() if found else ""
    if found is None or (field not in FIELDS and not field.startswith(LABEL_PREFIX)):
        fields = ", ".join((*FIELDS, f"{LABEL_PREFIX}<name>"))
        raise ArgumentTypeError(f"{text!r} is no field=value, field!=value or field=~expression of one of: {fields}")
    has_star = "*" in found["value"]
    op = {"!=": "not", "=~": "regex", "=": "glob" if has_star else "exact"}[found["op"]]
    return {"field": field, "op": op, "value": found["value"]}
