"""Pages by key instead of by number: stable while rows arrive, and as fast on page 10 000 as on page 1."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from django.db.models import Q, QuerySet

Kinds = TypeVar("Kinds", bound=tuple[Any, ...])


def encode_cursor(position: Sequence[Any]) -> str:
    """An opaque, URL-safe word for a position."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(position))).decode().rstrip("=")


def decode_cursor(cursor: str, kinds: type[Kinds]) -> Kinds:
    """The position of a cursor as a tuple of `kinds`; ValueError or MsgspecError when it is none."""
    raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    return msgspec.json.decode(raw, type=kinds)


@dataclass(frozen=True)
class Keyset:
    """An order of rows, by `columns` that together are unique; all descending or all ascending."""

    columns: tuple[str, ...]
    descending: bool = False

    def page(
        self, queryset: QuerySet[Any], fields: dict[str, str], limit: int, position: Sequence[Any] | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Up to `limit` rows after `position` as dicts (`fields`: key → column), and the cursor of what follows.

        Plain dicts: a list of 50 costs a fraction of what model serializers take.
        """
        return self.dicts(self.select(queryset, fields.values(), limit, position), fields, limit)

    def select(
        self, queryset: QuerySet[Any], columns: Iterable[str], limit: int, position: Sequence[Any] | None
    ) -> QuerySet[Any, Any]:
        """These columns of the `limit` rows after `position` and of one more, in order; then those of the order."""
        ordered = queryset.order_by(*(f"-{column}" if self.descending else column for column in self.columns))
        if position is not None:
            ordered = ordered.filter(self.after(position))
        return ordered.values_list(*dict.fromkeys((*columns, *self.columns)))[: limit + 1]

    def dicts(
        self, found: Iterable[tuple[Any, ...]], fields: dict[str, str], limit: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Rows of `select` as dicts, at most `limit`, and the cursor of what follows them."""
        keys, found = tuple(fields), list(found)
        rows = [dict(zip(keys, row, strict=False)) for row in found[:limit]]
        if len(found) <= limit:
            return rows, None
        columns = list(dict.fromkeys((*fields.values(), *self.columns)))
        return rows, encode_cursor([found[limit - 1][columns.index(column)] for column in self.columns])

    def after(self, position: Sequence[Any]) -> Q:
        """Rows after `position`: (a, b) > (x, y) is a > x, or a = x and b > y."""
        beyond = "lt" if self.descending else "gt"
        condition = Q()
        for index, column in enumerate(self.columns):
            equal = Q(**dict(zip(self.columns[:index], position[:index], strict=True)))
            condition |= equal & Q(**{f"{column}__{beyond}": position[index]})
        # Implied by the rest, but a bound on the first column alone is what an index scan can start from.
        return Q(**{f"{self.columns[0]}__{beyond}e": position[0]}) & condition
