"""The admin of what happened: alerts, and what became of each delivery, to look through and to replay."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from alerting.models import Alert, Attempt, Delivery
from baselines.admin_exports import ExportingAdmin
from baselines.admin_tools import ReadOnlyAdmin, ScopedAdmin, service_filter, text_filter

STATUS_COLOURS = {
    "pending": "info",
    "delivered": "success",
    "superseded": "info",
    "deduplicated": "info",
    "muted": "info",
    "dead": "danger",
}
_SAME = "id created_at status attempt_count delivered_at next_attempt_at replayed_at last_error"
COLUMNS = {name: name for name in _SAME.split()} | {
    "type": "notification__type",
    "severity": "notification__severity",
    "channel": "channel__name",
    "rule": "rule__name",
}
SEVERITY_COLOURS = {"info": "info", "warning": "warning", "critical": "danger"}


class HistoryAdmin(ReadOnlyAdmin, ScopedAdmin):
    """What happened, newest first."""

    sortable_by: list[str] = []
    list_filter_submit = True


@admin.register(Alert)
class AlertAdmin(HistoryAdmin):
    list_display = ["created_at", "type", "shown_severity", "what", "outcome"]
    list_select_related = ["anomaly__service"]
    list_filter = [("outcome", ChoicesDropdownFilter), service_filter("anomaly__service")]

    @display(description="severity", label=SEVERITY_COLOURS)
    def shown_severity(self, alert: Alert) -> str:
        return alert.severity

    @display(description="anomaly")
    def what(self, alert: Alert) -> str:
        return alert.anomaly.title


class AttemptInline(TabularInline):
    model = Attempt
    fields = readonly_fields = ["number", "started_at", "latency_ms", "ok", "status_code", "error", "answer"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Delivery)
class DeliveryAdmin(ExportingAdmin, HistoryAdmin):
    export_columns = COLUMNS
    list_display = ["created_at", "channel", "event", "what", "shown_status", "attempt_count", "last_error"]
    list_select_related = ["channel", "notification__group"]
    list_filter = [("status", ChoicesDropdownFilter), text_filter("channel", "channel__name")]
    fields = [
        "id",
        "notification",
        "channel",
        "rule",
        "status",
        "created_at",
        "next_attempt_at",
        "attempt_count",
        "delivered_at",
        "replayed_at",
        "last_error",
    ]
    inlines = [AttemptInline]
    actions = ["replay_dead"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("notification__anomalies__service")

    @display(description="event")
    def event(self, delivery: Delivery) -> str:
        return delivery.notification.type

    @display(description="anomalies")
    def what(self, delivery: Delivery) -> str:
        return delivery.notification.title

    @display(description="status", label=STATUS_COLOURS)
    def shown_status(self, delivery: Delivery) -> str:
        return delivery.status

    @action(description="Replay dead", permissions=["replay"])
    def replay_dead(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = Delivery.objects.filter(pk__in=queryset.values_list("pk", flat=True)).replay(timezone.now())
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, f"{count} will be tried again, under the id they had.", level)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("alerting.change_delivery"))  # type: ignore[union-attr]
