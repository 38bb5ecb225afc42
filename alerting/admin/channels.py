"""The admin of channels: where alerts go. A secret goes in and never comes out."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from alerting.config_channels import sync_config_channels
from alerting.forms import ChannelForm
from alerting.models import Channel
from alerting.trial import send_test
from baselines.admin import OwnedAdmin

TESTS_AT_ONCE = 5


@admin.register(Channel)
class ChannelAdmin(OwnedAdmin):
    form = ChannelForm
    list_display = ["name", "kind", "shown_enabled", "project", "origin", "disabled_reason"]
    list_select_related = ["project"]
    list_filter = [("kind", ChoicesDropdownFilter), "enabled"]
    search_fields = ["name"]
    fields = ["name", "kind", "enabled", "config", "secret", "keep_former_secret", "project"]
    actions = ["send_test_selected"]
    actions_submit_line = ["save_and_send_test"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        sync_config_channels()
        return super().get_queryset(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        mine = obj is None or obj.origin == Channel.Origin.OPERATOR
        return mine and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A channel with deliveries stays, disabled: they are the record of what was said to whom."""
        if obj is not None and (obj.origin == Channel.Origin.CONFIG or obj.deliveries.exists()):
            return False
        return super().has_delete_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Whoever may only look sees neither the secret nor a field for it."""
        if obj is not None and not self.has_change_permission(request, obj):
            return ["name", "kind", "enabled", "disabled_reason", "config", "project", "origin"]
        return self.fields if obj is not None else [name for name in self.fields if name != "keep_former_secret"]

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        if obj.enabled:
            obj.disabled_reason = ""
        super().save_model(request, obj, form, change)

    @display(description="enabled", boolean=True)
    def shown_enabled(self, channel: Channel) -> bool:
        return channel.enabled

    @action(description="Send test", permissions=["send_test"])
    def send_test_selected(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        channels = [channel for channel in queryset if self._owns(request, channel)]
        for channel in channels[:TESTS_AT_ONCE]:
            self._send_test(request, channel)
        passed_over = len(queryset) - len(channels[:TESTS_AT_ONCE])
        if passed_over:
            reason = f"not tested: at most {TESTS_AT_ONCE} at once, and none of all projects by members of some"
            self.message_user(request, f"{passed_over} {reason}.", messages.WARNING)

    @action(description="Save and send test", permissions=["send_test"])
    def save_and_send_test(self, request: HttpRequest, obj: Channel) -> None:
        self._send_test(request, obj)

    def has_send_test_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("alerting.change_channel"))  # type: ignore[union-attr]

    def _send_test(self, request: HttpRequest, channel: Channel) -> None:
        trial = send_test(channel, timezone.now())
        if trial.ok:
            said = f" and answered {trial.status_code}" if trial.status_code else ""
            text = f"{channel}: accepted the test{said} in {trial.latency_ms:.0f} ms. {trial.answer[:200]}"
            self.message_user(request, text, messages.SUCCESS)
        else:
            self.message_user(request, f"{channel}: {trial.error}. {trial.answer[:200]}", messages.ERROR)
