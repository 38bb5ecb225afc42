"""The admin of people and groups. Whoever may set passwords or memberships could step into any project."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import models
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from baselines.models import Project
from sentinel_site.access.models import ExternalIdentity

admin.site.unregister(User)
admin.site.unregister(Group)


class MembershipInline(TabularInline):
    """A person sees the services of their projects only."""

    model = Project.members.through
    verbose_name = "project"
    verbose_name_plural = "projects (a person sees the services of theirs only)"
    extra = 1


class IdentityInline(TabularInline):
    """An account is entered by single sign-on as the person that the provider knows by this subject."""

    model = ExternalIdentity
    fields = ["issuer", "subject"]
    formfield_overrides = {models.URLField: {"assume_scheme": "https"}}
    extra = 0


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    add_fieldsets = (
        (None, {"fields": ("username", "usable_password", "password1", "password2", "is_staff", "groups")}),
    )
    list_display = ["username", "email", "is_staff", "is_superuser", "is_active", "last_login"]
    list_filter = ["is_active", "is_superuser", "groups"]
    inlines = [MembershipInline, IdentityInline]


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass
