"""The admin of alert rules: who hears of what, in which order, and who is next; tried before it is saved."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.forms import ModelChoiceField, ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from alerting.models import AlertRule, Channel, EscalationStep, SeverityChannel
from alerting.preview import Outcome, TooMuch, preview
from alerting.rules.matching import FIELDS
from alerting.rules.simulation import TooManyTellings
from anomalies.models import Anomaly
from baselines.admin import OwnedAdmin
from baselines.admin_tools import text_filter

PREVIEW_HOURS = 7 * 24
MATCHERS = (
    'A list of conditions that must all hold: [{"field": "service", "op": "glob", "value": "chat-*"}]. '
    f"Fields are {', '.join(FIELDS)} and labels.&lt;name&gt;; op is exact, glob, regex (the whole value) or not (where "
    "the glob does not hold). Rules are tried in their order; the first that matches decides, unless it lets the "
    "following ones be tried too."
)


class ChannelInline(TabularInline):
    """Rows that name a channel: one of those the person may see."""

    extra = 0
    tab = True

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> ModelChoiceField | None:
        if db_field.name == "channel":
            options["queryset"] = Channel.objects.visible_to(request.user)
        return super().formfield_for_foreignkey(db_field, request, **options)


class SeverityChannelInline(ChannelInline):
    model = SeverityChannel
    fields = ["severity", "channel"]
    verbose_name_plural = "channels by severity"


class EscalationInline(ChannelInline):
    model = EscalationStep
    fields = ["order", "channel", "wait"]
    verbose_name_plural = "escalation"


@admin.register(AlertRule)
class AlertRuleAdmin(OwnedAdmin):
    list_display = ["order", "name", "enabled", "min_severity", "continue_matching", "project", "updated_at"]
    list_display_links = ["name"]
    list_select_related = ["project"]
    list_filter = ["enabled", ("min_severity", ChoicesDropdownFilter), text_filter("name", "name__icontains")]
    list_filter_submit = True
    search_fields = ["name"]
    filter_horizontal = ["channels"]
    inlines = [SeverityChannelInline, EscalationInline]
    change_form_after_template = "alerting/admin/preview_button.html"
    fieldsets = [
        (None, {"fields": ["name", "enabled", "order", "project"]}),
        ("Which anomalies", {"fields": ["matchers", "min_severity", "continue_matching"], "description": MATCHERS}),
        ("Not before", {"fields": ["min_duration", "min_occurrences", "occurrences_within", "active_hours"]}),
        ("Who hears", {"fields": ["channels"]}),
        ("Together, and how often", {"fields": ["group_by", "group_wait", "group_interval", "repeat_interval"]}),
    ]

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest, **options: Any
    ) -> ModelMultipleChoiceField | None:
        if db_field.name == "channels":
            options["queryset"] = Channel.objects.visible_to(request.user)
        return super().formfield_for_manytomany(db_field, request, **options)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview)
        return [path("preview/", view, name="alerting_alertrule_preview"), *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """What the rule in the form that was posted would have told last week. Nothing is saved."""
        if request.method != "POST" or not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        form = self.get_form(request)(request.POST)
        form.instance.name = "preview"
        problems, outcome = self._try(request, form)
        context = self.admin_site.each_context(request) | {"title": "Preview of a rule", "hours": PREVIEW_HOURS}
        context |= {"problems": problems, "outcome": outcome, "opts": self.opts}
        return TemplateResponse(request, "alerting/admin/preview.html", context)

    def _try(self, request: HttpRequest, form: Any) -> tuple[list[str], Outcome | None]:
        form.is_valid()
        errors = {name: said for name, said in form.errors.items() if name != "name"}
        problems = [f"{name.replace('_', ' ')}: {' '.join(said)}" for name, said in errors.items()]
        if problems:
            return problems, None
        try:
            return [], preview(form.instance, _visible(request), PREVIEW_HOURS, timezone.now())
        except (TooMuch, TooManyTellings) as error:
            return [str(error)], None

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """The rule changes with its parts: whoever keeps it compiled must notice."""
        super().save_formset(request, form, formset, change)
        if formset.has_changed():
            rule: Model = form.instance
            rule.save(update_fields=["updated_at"])


def _visible(request: HttpRequest) -> Any:
    return Anomaly.objects.visible_to(request.user)
