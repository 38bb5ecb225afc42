"""What keeps admin lists fast at a million rows, and to the projects of whoever looks."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Max, Min, Model, QuerySet, Subquery
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import TextFilter

from baselines.models import Service

COUNTED_ROWS = 10_000


class BoundedPaginator(Paginator):
    """Counts up to ten thousand rows and no further: nobody leafs beyond, and a full count of a million is slow."""

    @cached_property
    def count(self) -> int:
        if not isinstance(self.object_list, QuerySet):
            return len(self.object_list)
        return self.object_list.order_by().values("pk")[:COUNTED_ROWS].count()


class CalendarQuerySet(QuerySet):  # type: ignore[type-arg]
    """Answers the admin's date hierarchy from the index: is there any row in this year, month, day?

    Django's own way groups every row by its date, which takes a second at a million.
    """

    def datetimes(self, field_name: str, kind: str, order: str = "ASC", tzinfo: Any = None) -> list[datetime]:  # type: ignore[override]
        """The beginnings of the years, months or days (`kind`) that have rows, in UTC: two queries, however many."""
        rows = self.order_by()
        bounds = rows.aggregate(first=Min(field_name), last=Max(field_name))
        if bounds["first"] is None:
            return []
        starts = _starts(bounds["first"], bounds["last"], kind)
        periods = {f"period_{at}": self._any_within(field_name, start, kind) for at, start in enumerate(starts)}
        answers = rows.annotate(**periods).values_list(*periods)[0]
        found = [start for start, row in zip(starts, answers, strict=True) if row is not None]
        return found if order == "ASC" else found[::-1]

    def _any_within(self, field_name: str, start: datetime, kind: str) -> Subquery:
        """The first row of a period: asked for in order, so that the database walks an index instead of filtering."""
        period = {f"{field_name}__gte": start, f"{field_name}__lt": _after(start, kind)}
        return Subquery(self.order_by(f"-{field_name}", "-pk").filter(**period).values("pk")[:1])


def _starts(first: datetime, last: datetime, kind: str) -> list[datetime]:
    """The beginnings of the periods from that of `first` to that of `last`."""
    start = first.replace(hour=0, minute=0, second=0, microsecond=0)
    start = start.replace(day=1) if kind != "day" else start
    start = start.replace(month=1) if kind == "year" else start
    starts = []
    while start <= last:
        starts.append(start)
        start = _after(start, kind)
    return starts


def _after(start: datetime, kind: str) -> datetime:
    """The beginning of the period after the one that begins at `start`."""
    if kind == "day":
        return start + timedelta(days=1)
    following = start + timedelta(days=32 if kind == "month" else 366)
    return following.replace(day=1) if kind == "month" else following.replace(month=1, day=1)


class ScopedAdmin(ModelAdmin):
    """A list that shows each person the rows of their projects, and counts only as far as anybody leafs."""

    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).visible_to(request.user)  # type: ignore[attr-defined]


class ReadOnlyAdmin(ModelAdmin):
    """Rows that only the machine writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def service_filter(lookup: str = "service") -> type[TextFilter]:
    """A filter by the name of a service. Its id is looked up first: with a join the database finds no good way."""

    class NamedFilter(TextFilter):
        title = parameter_name = "service"

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            if not self.value():
                return queryset
            named = list(Service.objects.filter(name=self.value()).values_list("pk", flat=True))
            return queryset.filter(**{f"{lookup}__in": named})

    return NamedFilter


def text_filter(parameter: str, lookup: str = "") -> type[TextFilter]:
    """A filter that one types into: listing the distinct values would read the whole table."""

    class TypedFilter(TextFilter):
        title = parameter
        parameter_name = parameter

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return queryset.filter(**{lookup or parameter: self.value()}) if self.value() else queryset

    return TypedFilter
