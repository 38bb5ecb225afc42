"""The admin of incidents: what happened to a service, and all that showed it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from anomalies import story
from anomalies.admin.acting import ActingAdmin
from anomalies.admin.anomalies import page_of
from anomalies.models import Anomaly, Incident, Status
from baselines.admin_exports import ExportingAdmin
from baselines.admin_tools import CalendarQuerySet, service_filter, text_filter

MEMBERS_SHOWN = 200
_SAME = "id title type severity state status anomaly_count first_seen last_seen"
COLUMNS = {name: name for name in _SAME.split()} | {"service": "service__name"}


@admin.register(Incident)
class IncidentAdmin(ExportingAdmin, ActingAdmin):
    export_columns = COLUMNS
    list_display = ["first_seen", "shown_severity", "title", "anomaly_count", "shown_status", "state", "last_seen"]
    list_display_links = ["first_seen", "title"]
    list_filter = [
        ("severity", ChoicesDropdownFilter),
        ("status", ChoicesDropdownFilter),
        ("state", ChoicesDropdownFilter),
        service_filter(),
        text_filter("type"),
    ]
    list_filter_submit = True
    date_hierarchy = "first_seen"
    sortable_by = ["first_seen"]
    change_form_outer_before_template = "anomalies/admin/incident.html"
    fields = ["service", "type", "severity", "state", "status", "anomaly_count", "first_seen", "last_seen", "id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        rows = super().get_queryset(request).current()
        return CalendarQuerySet(rows.model, query=rows.query, using=rows.db)

    def anomalies_of(self, rows: QuerySet[Any]) -> QuerySet[Anomaly]:
        return Anomaly.objects.filter(incident__in=list(rows.order_by().values_list("pk", flat=True)))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        incident = self.get_object(request, object_id)
        if incident is None and (successor := self._successor(request, object_id)):
            return HttpResponseRedirect(reverse("admin:anomalies_incident_change", args=[successor]))
        page = {} if incident is None else happening(incident) | {"may_act": self.has_change_permission(request)}
        return super().change_view(request, object_id, form_url, (extra_context or {}) | page)

    def _successor(self, request: HttpRequest, object_id: str) -> object:
        """The incident that has what this one had, where it turned out to be part of another."""
        try:
            identity = UUID(object_id)
        except ValueError:
            return None
        merged = Incident.objects.visible_to(request.user).filter(pk=identity)
        return merged.values_list("merged_into", flat=True).first()


def happening(incident: Incident) -> dict[str, Any]:
    """What the page of an incident shows beside its fields."""
    members = incident.anomalies.select_related("service").order_by("first_seen", "id")[:MEMBERS_SHOWN]
    return {
        "incident": incident,
        "members": [(page_of(member.pk), story.sentence(member), member) for member in members],
        "list_url": reverse("admin:anomalies_incident_changelist"),
        "is_resolved": incident.status == Status.RESOLVED,
        "is_open": incident.status == Status.OPEN,
    }
