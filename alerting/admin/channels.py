"""The admin of channels: where alerts go. A secret goes in and never comes out."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import HiddenInput
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_POST
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from alerting import health
from alerting.channels import KINDS
from alerting.channels.samples import previews, template_problems
from alerting.config_channels import sync_config_channels
from alerting.forms import ChannelForm, form_for, setting_fields
from alerting.models import Channel
from alerting.rules.health import is_unhealthy
from alerting.trial import send_test
from baselines.admin import OwnedAdmin

TESTS_AT_ONCE = 5
SEEN = ["name", "kind", "enabled", "disabled_reason", "failing_since", "last_error"]
WORDS = ["title_template", "body_template"]


def kind_of(request: HttpRequest, channel: Channel | None) -> str:
    """The kind whose form is meant: the channel's, the chosen one, or for one that does not exist a webhook's."""
    kind = channel.kind if channel else request.POST.get("kind") or request.GET.get("kind")
    return str(kind) if kind in KINDS else "webhook"


@admin.register(Channel)
class ChannelAdmin(OwnedAdmin):
    form = ChannelForm
    change_form_after_template = "alerting/admin/channel_preview_button.html"
    list_display = ["name", "kind", "shown_enabled", "health", "project", "origin", "disabled_reason"]
    list_select_related = ["project"]
    list_filter = [("kind", ChoicesDropdownFilter), "enabled"]
    search_fields = ["name"]
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
            return [*SEEN, *WORDS, "config", "project", "origin"]
        rotation = ["keep_former_secret"] if obj is not None else []
        settings = setting_fields(kind_of(request, obj))
        return ["name", "kind", "enabled", *settings, "secret", *rotation, *WORDS, "rate_limit", "project"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form of the channel's kind, which is chosen before anything is entered and stays."""
        form = super().get_form(request, obj, change, **kwargs | {"form": form_for(kind_of(request, obj))})
        if "kind" in form.base_fields:
            form.base_fields["kind"].widget = HiddenInput()
            form.base_fields["kind"].disabled = obj is not None
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return super().get_changeform_initial_data(request) | {"kind": kind_of(request, None)}

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Asks for the kind first, because everything else depends on it."""
        if request.method == "GET" and request.GET.get("kind") not in KINDS and self.has_add_permission(request):
            kinds = [{"value": value, "label": label} for value, label in Channel.Kind.choices]
            shown = self.admin_site.each_context(request) | {"title": "Add a channel of the kind", "kinds": kinds}
            return TemplateResponse(request, "alerting/admin/choose_kind.html", shown)
        title = f"Add a channel: {Channel.Kind(kind_of(request, None)).label}"
        return super().add_view(request, form_url, {"title": title} | (extra_context or {}))

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(require_POST(self.preview))
        return [path("preview/", view, name="alerting_channel_preview"), *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """What the templates in a form would say, before it is saved."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        title, body = (request.POST.get(name, "") for name in WORDS)
        problems = template_problems(title, body)
        found = [] if problems else previews(title, body)
        shown = {"title": "What the channel would say", "problems": problems, "previews": found}
        return TemplateResponse(
            request, "alerting/admin/channel_previews.html", self.admin_site.each_context(request) | shown
        )

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        """What somebody changed begins anew: enabled means enabled, and is tried at once."""
        if obj.enabled:
            obj.disabled_reason = ""
        health.forget(obj)
        super().save_model(request, obj, form, change)

    @display(description="health", label={"works": "success", "fails": "danger", "shaky": "warning"})
    def health(self, channel: Channel) -> tuple[str, str]:
        if not channel.failure_count:
            return "works", "works"
        text = f"{channel.failure_count} failures since {channel.failing_since:%Y-%m-%d %H:%M} UTC"
        return ("fails" if is_unhealthy(channel.failure_count) else "shaky"), text

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
