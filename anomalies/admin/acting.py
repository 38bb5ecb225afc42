"""Lists of things that happened: people look through them, acknowledge and resolve; nobody edits or deletes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import action, display
from unfold.forms import ActionForm

from anomalies import lifecycle
from anomalies.models import Anomaly
from baselines.admin_tools import ScopedAdmin

SEVERITY_COLOURS = {"info": "info", "warning": "warning", "critical": "danger"}
STATUS_COLOURS = {"open": "danger", "acknowledged": "warning", "resolved": "success"}


class NoteForm(ActionForm):
    """The action to take on the selected rows, and why."""

    note = forms.CharField(
        required=False,
        label="",
        widget=forms.TextInput(
            {"placeholder": "Note", "aria-label": "Note", "class": "px-3 py-1 rounded-default text-base-700 bg-white"}
        ),
    )


class ActingAdmin(ScopedAdmin):
    """Rows with a severity and a status that stand for anomalies (`anomalies_of`)."""

    action_form = NoteForm
    actions = ["acknowledge_selected", "resolve_selected"]

    def anomalies_of(self, rows: QuerySet[Any]) -> QuerySet[Anomaly]:
        return rows

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """People act on what happened; they do not edit it."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @display(description="severity", label=SEVERITY_COLOURS)
    def shown_severity(self, row: Any) -> str:
        return str(row.severity)

    @display(description="status", label=STATUS_COLOURS)
    def shown_status(self, row: Any) -> str:
        return str(row.status)

    @action(description="Acknowledge", permissions=["change"])
    def acknowledge_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self.act(request, queryset, lifecycle.acknowledge, "acknowledged")

    @action(description="Resolve", permissions=["change"])
    def resolve_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self.act(request, queryset, lifecycle.resolve, "resolved")

    def act(
        self, request: HttpRequest, rows: QuerySet[Any], perform: Callable[..., int], done: str
    ) -> HttpResponse | None:
        """Perform something on the anomalies of the rows, and say how many changed."""
        changed = perform(self.anomalies_of(rows), request.user, note=request.POST.get("note", "").strip())
        self.message_user(request, f"{changed} {done}.", messages.SUCCESS if changed else messages.WARNING)
        if "asked_from" in request.POST:  # the page of one row: back to it
            page = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
            return HttpResponseRedirect(reverse(page, args=[request.POST["asked_from"]]))
        return None
