"""The admin of who may do what: tokens, people, groups."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from baselines.admin import ProjectChoice
from baselines.models import Project
from baselines.visibility import visible_project_ids
from sentinel_site.access.models import ApiToken, Scope, generate_token, token_digest, token_prefix

admin.site.unregister(User)
admin.site.unregister(Group)


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
    list_display = ["name", "scopes", "project", "created_by", "created_at", "expires_at", "last_used_at"]
    list_select_related = ["project", "created_by"]
    search_fields = ["name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        tokens = super().get_queryset(request)
        projects = visible_project_ids(request.user)
        return tokens if projects is None else tokens.filter(project_id__in=projects)

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


class MembershipInline(TabularInline):
    """A person sees the services of their projects only."""

    model = Project.members.through
    verbose_name = "project"
    verbose_name_plural = "projects (a person sees the services of theirs only)"
    extra = 1


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    add_fieldsets = (
        (None, {"fields": ("username", "usable_password", "password1", "password2", "is_staff", "groups")}),
    )
    list_display = ["username", "email", "is_staff", "is_superuser", "is_active", "last_login"]
    inlines = [MembershipInline]


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass
