"""The list of anomalies: which of them, in pages."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from django.db.models import Q, QuerySet
from django.utils import timezone

from anomalies import search
from anomalies.api import written
from anomalies.api.rows import NEWEST, Position, columns_of, shown
from anomalies.models import Anomaly
from baselines.api.pages import decode_cursor
from baselines.api.parameters import chosen
from baselines.api.statements import Bounds, is_fast, rows_of
from baselines.models import Service

_encode = msgspec.json.encode
COLUMNS = ("severity", "model", "metric", "detector", "type", "status", "state")


class Listing:
    """The anomalies of some services (ids; None for all of them) that a checked AnomalyQuery asks for."""

    def __init__(self, services: Sequence[int] | None, query: dict[str, Any]) -> None:
        self._services, self._query, self._now = services, query, timezone.now()
        self._names: tuple[str, ...] | None = query.get("fields")
        self._columns = columns_of(self._names)

    def page(self, limit: int, position: Position | None) -> tuple[list[dict[str, Any]], str | None]:
        """Rows of the API, newest first_seen first, and the cursor of the next page."""
        return self._shown(self._found(tuple(self._columns.values()), limit, position), limit)

    def first_page(self, limit: int) -> dict[str, Any] | msgspec.Raw:
        """The first page as the API answers it, written already where it was written before and nothing changed."""
        question = self._question(limit) if self._names is None else None  # a few columns are carried as fast
        if question is None or limit > written.LONGEST or not is_fast():
            return page(*self.page(limit, None))
        return written.pages.get(
            question, lambda: self._found(written.VERSION, limit, None), lambda: self._write_first(limit)
        )

    def _write_first(self, limit: int) -> tuple[written.Rows, msgspec.Raw]:
        columns = tuple(dict.fromkeys((*self._columns.values(), *written.VERSION)))
        found = self._found(columns, limit, None)
        versions = map(itemgetter(*map(columns.index, written.VERSION)), found)
        return list(versions), msgspec.Raw(_encode(page(*self._shown(found, limit))))

    def _found(self, columns: tuple[str, ...], limit: int, position: Position | None) -> Sequence[tuple[Any, ...]]:
        """These columns of the rows of a page and of the one after it; then those that the page is ordered by."""
        bounds = Bounds(self._query["start"], self._query["end"], position)
        question = self._question(limit)
        return rows_of(lambda within: self._select(columns, limit, within), bounds, question and (question, columns))

    def _shown(self, found: Sequence[tuple[Any, ...]], limit: int) -> tuple[list[dict[str, Any]], str | None]:
        rows, following = NEWEST.dicts(found, self._columns, limit)
        return chosen([shown(row) for row in rows], self._names), following

    def page_after(self, limit: int, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """The same by the cursor of the page before."""
        return self.page(limit, None if cursor is None else decode_cursor(cursor, Position))

    def _select(self, columns: tuple[str, ...], limit: int, within: Bounds) -> QuerySet[Any]:
        of_services = Anomaly.objects.of_services(self._services)
        found = of_services.filter(overlapping(within) & matching(self._query))
        if "q" in self._query:
            found = search.filter(found, self._query["q"], self._now)
        marks = {name: mark for name, mark in written.MARKS.items() if name in columns}
        return NEWEST.select(found.annotate(**marks), columns, limit, within.position)

    def _question(self, limit: int) -> Hashable:
        """What the SQL depends on beside the bounds; None where that is more, such as names that are looked up."""
        if self._query.get("q"):
            return None
        asked = tuple(self._query.get(name) for name in (*COLUMNS, "service", "fields"))
        return ("anomalies", asked, limit, None if self._services is None else tuple(self._services))


def overlapping(within: Bounds) -> Q:
    """Episodes with [first_seen, last_seen] in common with the range."""
    return Q(first_seen__lte=within.end, last_seen__gte=within.start)


def matching(query: dict[str, Any]) -> Q:
    """The filters by column, and by the name of the service."""
    condition = Q(**{column: query[column] for column in COLUMNS if column in query})
    if "service" in query:
        # A scalar subquery, not a join: so the index by service and time gives the rows in their order.
        condition &= Q(service=Service.objects.filter(name=query["service"]).order_by().values("id")[:1])
    return condition


def page(rows: list[dict[str, Any]], following: str | None) -> dict[str, Any]:
    """A page as the API answers it."""
    return {"anomalies": rows, "count": len(rows), "next": following}
