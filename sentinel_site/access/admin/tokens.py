"""The admin of tokens: what programs may do, and until when."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from baselines.admin import ProjectChoice
from baselines.admin_tools import BoundedPaginator, text_filter
from baselines.visibility import visible_project_ids
from sentinel_site.access.models import ApiToken, Scope, generate_token, token_digest, token_prefix

STATE_COLOURS = {"valid": "success", "never used": "info", "expired": "danger"}


class TokenForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="read: look; write: acknowledge, resolve, configure; ingest: send telemetry; admin: everything",
    )

    class Meta:
        model = ApiToken
        fields = ["name", "scopes", "project", "expires_at"]


@admin.register(ApiToken)
class TokenAdmin(ProjectChoice, ModelAdmin):
    """A token is shown once, in the answer to its creation; only its keyed hash is stored."""

    form = TokenForm
    list_display = ["name", "shown_scopes", "project", "shown_state", "expires_at", "last_used_at", "created_by"]
    list_filter = [text_filter("project", "project__name")]
    list_filter_submit = True
    paginator = BoundedPaginator
    show_full_result_count = False
    actions = ["expire_selected"]
    list_select_related = ["project", "created_by"]
    search_fields = ["name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        tokens = super().get_queryset(request)
        projects = visible_project_ids(request.user)
        return tokens if projects is None else tokens.filter(project_id__in=projects)

    @display(description="scopes")
    def shown_scopes(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    @display(description="state", label=STATE_COLOURS)
    def shown_state(self, token: ApiToken) -> str:
        if token.is_expired():
            return "expired"
        return "valid" if token.last_used_at else "never used"

    @action(description="Expire now", permissions=["change"])
    def expire_selected(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """They open nothing from now on, and stay for the record. One by one, so that the audit trail has each."""
        expired = [token for token in queryset if not token.is_expired()]
        for token in expired:
            token.expires_at = timezone.now()
            token.save(update_fields=["expires_at"])
        level = messages.SUCCESS if expired else messages.WARNING
        self.message_user(request, f"{len(expired)} expired.", level)

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        if not change:
            obj.secret = generate_token()  # type: ignore[attr-defined]  # for this one answer only; no such column
            obj.digest, obj.prefix = token_digest(obj.secret), token_prefix(obj.secret)  # type: ignore[attr-defined]
            obj.created_by = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": f"Token {obj.name}",
            "token": obj,
            "opts": self.opts,
        }
        return TemplateResponse(request, "access/token_created.html", context)
