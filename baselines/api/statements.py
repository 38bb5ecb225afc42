"""Lists at their fastest: the SQL of a question that was asked before, and PostgreSQL's answer in binary.

For a page of fifty rows, Django spends more time on writing its SQL and on reading its answer than the database
spends on finding it. So the SQL is kept per question, with marks where moments and positions go. Nothing that was
found is kept, and plans are made anew each time: a quiet hour and a loud one want different indexes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet
from psycopg.adapt import Loader
from psycopg.pq import Format

MOST = 1024


@dataclass(frozen=True)
class Bounds:
    """What differs between two otherwise equal questions."""

    start: datetime
    end: datetime
    position: tuple[datetime, UUID] | None = None


_START, _END, _AT = (datetime(1, 1, 2, microsecond=number, tzinfo=UTC) for number in (111_111, 222_222, 333_333))
_AFTER = UUID("00000000-dead-4bad-8bad-000000000000")
Build = Callable[[Bounds], QuerySet[Any]]

_kept: dict[Hashable, tuple[str, tuple[Any, ...]]] = {}


class _RawJson(Loader):
    """JSON as the text that it is: it is going to be JSON again."""

    format = Format.BINARY

    def load(self, data: Any) -> msgspec.Raw:
        return msgspec.Raw(bytes(data[1:]))  # after the version of the format


def rows_of(build: Build, bounds: Bounds, question: Hashable = None) -> Sequence[tuple[Any, ...]]:
    """The rows of the `values_list` that `build` makes of `bounds`. JSON columns may come as msgspec.Raw.

    `question`, hashable, stands for all that `build` puts in apart from the bounds; None: this is asked only once.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if not is_fast():
        return list(build(bounds))
    try:
        return _asked(connection, *_statement(build, bounds, question))
    except EmptyResultSet:  # Django's word for a question that finds nothing whatever there is: no project is visible
        return []


def is_fast() -> bool:
    """Whether the database is PostgreSQL and nobody listens to what Django asks it."""
    connection = connections[DEFAULT_DB_ALIAS]
    return bool(connection.vendor == "postgresql" and not connection.queries_logged and not connection.execute_wrappers)


def _statement(build: Build, bounds: Bounds, question: Hashable) -> tuple[str, tuple[Any, ...]]:
    """SQL and parameters, kept per question. Raises EmptyResultSet."""
    if question is None:
        return _sql(build(bounds))
    key = (question, bounds.position is None)
    kept = _kept.get(key)  # once: another thread may clear them in between
    if kept is None:
        marked = Bounds(_START, _END, None if bounds.position is None else (_AT, _AFTER))
        kept = _sql(build(marked))
        if len(_kept) >= MOST:
            _kept.clear()
        _kept[key] = kept
    sql, parameters = kept
    values: dict[Any, Any] = {_START: bounds.start, _END: bounds.end}
    if bounds.position is not None:
        values |= zip((_AT, _AFTER), bounds.position, strict=True)
    return sql, tuple(values.get(each, each) for each in parameters)


def _sql(queryset: QuerySet[Any]) -> tuple[str, tuple[Any, ...]]:
    sql, parameters = queryset.query.sql_with_params()
    return sql, tuple(parameters)


def _asked(connection: Any, sql: str, parameters: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]:
    """Ask; once more over a new connection where the old one was broken, for reading twice does no harm."""
    connection.ensure_connection()
    with connection.wrap_database_errors:
        try:
            return _read(connection.connection, sql, parameters)
        except psycopg.OperationalError:
            if connection.in_atomic_block or not connection.connection.broken:
                raise
    connection.close()
    connection.connect()
    with connection.wrap_database_errors:
        return _read(connection.connection, sql, parameters)


def _read(raw: Any, sql: str, parameters: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]:
    # Django itself asks for text, so it is not concerned.
    if not getattr(raw, "reads_raw_json", False):
        raw.adapters.register_loader("jsonb", _RawJson)
        raw.reads_raw_json = True
    with psycopg.Cursor(raw) as cursor:
        cursor.execute(sql, parameters, binary=True)  # type: ignore[arg-type]
        found: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return found
