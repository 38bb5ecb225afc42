"""The admin of what is not told: silences, maintenance windows, inhibitions."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from alerting.models import Inhibition, Silence
from baselines.admin import OwnedAdmin
from baselines.people import name_of

STATE_COLOURS = {"pending": "info", "active": "warning", "ended": "success"}
MATCHERS = (
    'A list of conditions that must all hold: [{"field": "labels.team", "op": "exact", "value": "search"}]. '
    "Anomalies are recorded all the same, and what still lasts afterwards is told then."
)


@admin.register(Silence)
class SilenceAdmin(OwnedAdmin):
    """None is ever deleted: it is the record of what was kept from whom."""

    list_display = ["starts_at", "ends_at", "shown_state", "kind", "comment", "author", "project"]
    list_display_links = ["starts_at", "comment"]
    list_select_related = ["project"]
    list_filter = [("kind", ChoicesDropdownFilter)]
    search_fields = ["comment", "author"]
    readonly_fields = ["author", "created_at", "updated_at"]
    actions = ["end_selected"]
    actions_submit_line = ["save_and_end"]
    fieldsets = [
        ("What", {"fields": ["kind", "matchers", "project"], "description": MATCHERS}),
        ("When", {"fields": ["starts_at", "ends_at", "weekly"]}),
        ("Why", {"fields": ["comment", "author", "created_at", "updated_at"]}),
    ]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """One that is over stays as it was."""
        is_over = obj is not None and obj.ends_at <= timezone.now()
        return not is_over and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Silence, form: Any, change: bool) -> None:
        if not change:
            obj.author = name_of(request.user)
        if "ends_at" in form.changed_data:
            obj.announced_at = None
        super().save_model(request, obj, form, change)

    @display(description="state", label=STATE_COLOURS)
    def shown_state(self, silence: Silence) -> str:
        return silence.state(timezone.now())

    @action(description="End now", permissions=["end"])
    def end_selected(self, request: HttpRequest, queryset: QuerySet[Silence]) -> None:
        now = timezone.now()
        mine = [silence for silence in queryset if self._owns(request, silence)]
        ended = sum(silence.end(now) for silence in mine)
        self.message_user(request, f"{ended} ended.", messages.SUCCESS if ended else messages.WARNING)

    @action(description="End now", permissions=["end"])
    def save_and_end(self, request: HttpRequest, obj: Silence) -> None:
        if self._owns(request, obj) and obj.end(timezone.now()):
            self.message_user(request, "It is ended.", messages.SUCCESS)

    def has_end_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("alerting.change_silence"))  # type: ignore[union-attr]


@admin.register(Inhibition)
class InhibitionAdmin(OwnedAdmin):
    list_display = ["name", "enabled", "min_services", "equal", "project", "updated_at"]
    list_select_related = ["project"]
    list_filter = ["enabled"]
    search_fields = ["name"]
    fieldsets = [
        (None, {"fields": ["name", "enabled", "project"]}),
        (
            "While",
            {
                "fields": ["source_matchers", "min_services", "equal"],
                "description": "Something that matches the source matchers goes on, in so many services, with equal "
                "values of these facts.",
            },
        ),
        (
            "Hold back",
            {
                "fields": ["target_matchers"],
                "description": "What matches and has the same values. Of the sources themselves the oldest is told.",
            },
        ),
    ]
