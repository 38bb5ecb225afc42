"""Pages as they were written before, for as long as PostgreSQL tells that no row in them is another now.

To find a page's rows is cheap; to carry fifty rows of forty columns out of the database and to write them as JSON is
most of what a list costs. So the database is asked each time, but first only for which rows there are and in which
version, and the rest only where that is not what it was. An answer is never older than its question.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec
from django.db.models import Expression, TextField

from anomalies.api.rows import NEWEST
from anomalies.models import Anomaly

LONGEST = 200
"""Rows of a page that is kept. Dashboards ask for short ones, over and over; a long one is asked once."""
MOST = 64
"""Pages kept by a process: some 60 kB each, at 50 rows."""


class SystemColumn(Expression):
    """A column that PostgreSQL itself gives to every row."""

    def __init__(self, name: str) -> None:
        super().__init__(output_field=TextField())
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return f'"{Anomaly._meta.db_table}"."{self.name}"', []


# Which transaction wrote a version of a row, and where it stands: no two versions of one row share both.
MARKS = {"version_by": SystemColumn("xmin"), "version_at": SystemColumn("ctid")}
VERSION = (*NEWEST.columns, *MARKS)
"""What says that a row is what it was. The name of its service, of another table, is never changed."""

Rows = Sequence[tuple[Any, ...]]


class Written:
    """Pages by their questions. Threads may share it: at worst two of them write the same page."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._pages: dict[Hashable, tuple[Rows, msgspec.Raw]] = {}

    def get(
        self,
        question: Hashable,
        versions: Callable[[], Rows],
        write: Callable[[], tuple[Rows, msgspec.Raw]],
    ) -> msgspec.Raw:
        """The page of a question: the kept one if `versions` are still those it was made of, else one that `write`
        makes, with its versions as they were read together with its rows."""
        kept = self._pages.get(question)
        if kept is not None and kept[0] == versions():
            return kept[1]
        if len(self._pages) >= self._most:
            self._pages.clear()
        written = self._pages[question] = write()
        return written[1]


pages = Written()
