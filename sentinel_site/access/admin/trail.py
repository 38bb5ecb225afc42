"""The admin of the audit trail: who changed what, when and from where. Nobody edits it, and nobody takes from it."""

from __future__ import annotations

from typing import Any

from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateTimeFilter
from unfold.decorators import display

from baselines.admin_exports import ExportingAdmin
from baselines.admin_tools import BoundedPaginator, ReadOnlyAdmin, text_filter
from sentinel_site.access.trail import visible_to

SHOWN_CHARACTERS = 200
ACTION_COLOURS = {"create": "success", "update": "info", "delete": "danger", "access": "warning"}

COLUMNS = {
    "timestamp": "timestamp",
    "who": "additional_data__actor",
    "address": "remote_addr",
    "action": "action",
    "kind": "content_type__model",
    "id": "object_pk",
    "name": "object_repr",
    "changes": "changes",
}

admin.site.unregister(LogEntry)


@admin.register(LogEntry)
class TrailAdmin(ExportingAdmin, ReadOnlyAdmin, ModelAdmin):
    export_columns = COLUMNS
    list_display = ["timestamp", "who", "shown_action", "kind", "object_repr", "shown_changes", "remote_addr"]
    list_display_links = ["timestamp"]
    list_select_related = ["actor", "content_type"]
    list_filter = [
        ("timestamp", RangeDateTimeFilter),
        ("action", ChoicesDropdownFilter),
        text_filter("who", "additional_data__actor"),
        text_filter("address", "remote_addr"),
    ]
    list_filter_submit = True
    search_fields = ["object_repr"]
    search_help_text = "Part of a name, of a kind of thing (channel, alert rule), of who did it, or of what changed"
    sortable_by = ["timestamp"]
    paginator = BoundedPaginator
    show_full_result_count = False
    fields = [
        "timestamp",
        "who",
        "remote_addr",
        "shown_action",
        "kind",
        "object_repr",
        "object_pk",
        "all_changes",
        "cid",
    ]
    readonly_fields = ["who", "shown_action", "kind", "all_changes"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        return visible_to(super().get_queryset(request), request.user)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        for word in search_term.split():
            found = Q(content_type__in=_kinds_called(word)) | Q(object_repr__icontains=word)
            queryset = queryset.filter(found | Q(changes__icontains=word) | Q(additional_data__icontains=word))
        return queryset, False

    @display(description="who")
    def who(self, entry: LogEntry) -> str:
        return str((entry.additional_data or {}).get("actor") or entry.actor or "")

    @display(description="action", label=ACTION_COLOURS)
    def shown_action(self, entry: LogEntry) -> str:
        return str(entry.get_action_display())

    @display(description="kind")
    def kind(self, entry: LogEntry) -> str:
        return str(entry.content_type.name)

    @display(description="changes")
    def shown_changes(self, entry: LogEntry) -> str:
        text = "; ".join(_sentences(entry))
        return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"

    @display(description="changes")
    def all_changes(self, entry: LogEntry) -> str:
        return "\n".join(_sentences(entry))


def _kinds_called(word: str) -> list[int]:
    """The kinds of things whose name has `word` in it; Django remembers them."""
    watched = ContentType.objects.get_for_models(*auditlog.get_models())
    return [kind.pk for model, kind in watched.items() if word.lower() in str(model._meta.verbose_name).lower()]


def _sentences(entry: LogEntry) -> list[str]:
    """What changed, one field each: "min_severity: info → critical", "groups: add operator"."""
    found = []
    for name, change in (entry.changes_dict or {}).items():
        if isinstance(change, dict):
            found.append(f"{name}: {change['operation']} {', '.join(change['objects'])}")
        elif name == "event":
            found.append(str(change[1]))
        else:
            found.append(f"{name}: {change[0]} → {change[1]}")
    return found
