"""The admin of wrong passwords: who is locked out, and letting them try again."""

from __future__ import annotations

from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from baselines.admin_tools import BoundedPaginator, ReadOnlyAdmin


@admin.register(AccessAttempt)
class LockoutAdmin(ReadOnlyAdmin, ModelAdmin):
    """What was typed into the other fields of the form is nobody's business: it is not shown."""

    list_display = ["attempt_time", "username", "ip_address", "failures_since_start", "shown_state"]
    list_display_links = None
    search_fields = ["username", "ip_address"]
    sortable_by = ["attempt_time"]
    paginator = BoundedPaginator
    show_full_result_count = False
    actions = ["let_try_again"]
    fields = readonly_fields = ["attempt_time", "username", "ip_address", "user_agent", "failures_since_start"]

    @display(description="state", label={"locked out": "danger", "counted": "info"})
    def shown_state(self, attempt: AccessAttempt) -> str:
        is_recent = attempt.attempt_time > timezone.now() - settings.AXES_COOLOFF_TIME
        is_locked = is_recent and attempt.failures_since_start >= settings.AXES_FAILURE_LIMIT
        return "locked out" if is_locked else "counted"

    @action(description="Let them try again", permissions=["end"])
    def let_try_again(self, request: HttpRequest, queryset: QuerySet[AccessAttempt]) -> None:
        chosen = list(queryset)
        for attempt in chosen:
            attempt.delete()
        self.message_user(request, f"{len(chosen)} may try again.", messages.SUCCESS)

    def has_end_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("axes.delete_accessattempt"))  # type: ignore[union-attr]
