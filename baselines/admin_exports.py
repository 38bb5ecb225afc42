"""Lists of the admin as files: what is filtered, row by row, so that a million rows take no more memory than one."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Protocol

import msgspec
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.urls import path, reverse
from django.utils import timezone
from unfold.admin import ModelAdmin

ROWS_AT_ONCE = 500
# Excel takes the wide ones, too.
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class _Sink(Protocol):
    def writerow(self, row: Iterable[object]) -> Any: ...


class _Echo:
    """A file that gives back what is written into it."""

    def write(self, text: str) -> str:
        return text


def defused(value: object) -> object:
    """A cell as spreadsheets may have it: a text that they would run as a formula gets an apostrophe before it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    text = value if isinstance(value, str) else _as_text(value)
    return f"'{text}" if text.startswith(FORMULAS) else text


def _as_text(value: object) -> str:
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else str(value)


def as_csv(names: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A header and the rows, texts defused."""
    writer: _Sink = csv.writer(_Echo())
    yield writer.writerow(names)
    for row in rows:
        yield writer.writerow(map(defused, row))


def as_json(names: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """An array with one object a line; values as they are."""
    lead = "[\n"
    for row in rows:
        yield lead + msgspec.json.encode(dict(zip(names, row, strict=True))).decode()
        lead = ",\n"
    yield "[]\n" if lead == "[\n" else "\n]\n"


FORMATS = {"csv": (as_csv, "text/csv; charset=utf-8"), "json": (as_json, "application/json")}


class ExportingAdmin(ModelAdmin):
    """A list that can be taken along, as it is filtered, by whoever may see it."""

    export_columns: dict[str, str] = {}
    """The columns of the file by name, each with where its value is found: "service__name"."""
    list_after_template = "baselines/admin/exports.html"

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        return [path("export/<slug:form>/", self.admin_site.admin_view(self.export), name=name), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"export_forms": list(FORMATS)} | (extra_context or {}))

    def export(self, request: HttpRequest, form: str) -> HttpResponseBase:
        """The rows of the list, with the filters of its address, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if form not in FORMATS:
            raise Http404(f"There is no export as {form}.")
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"))
        write, content_type = FORMATS[form]
        lines = write(list(self.export_columns), self._rows(rows))
        file = f"{self.opts.model_name}-{timezone.now():%Y%m%dT%H%M%SZ}.{form}"
        headers = {"Content-Disposition": f'attachment; filename="{file}"', "Cache-Control": "no-store"}
        return StreamingHttpResponse(_chunks(lines), content_type=content_type, headers=headers)

    def _rows(self, rows: QuerySet[Any]) -> Iterator[Sequence[object]]:
        columns = rows.prefetch_related(None).values_list(*self.export_columns.values())
        return columns.iterator(chunk_size=ROWS_AT_ONCE)


def _chunks(lines: Iterator[str]) -> Iterator[str]:
    """Several lines at once: a thousand small writes would take longer than what they write."""
    while chunk := "".join(islice(lines, ROWS_AT_ONCE)):
        yield chunk
