"""Rows that belong to a project or to all of them: who may read them, who may write them."""

from __future__ import annotations

from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework import exceptions, serializers

from baselines.models import Project
from baselines.visibility import visible_project_ids

Row = TypeVar("Row", bound=Model)


class ProjectField(serializers.SlugRelatedField):  # type: ignore[type-arg]
    """A project by its name; null for all of them, which only those may choose who see all."""

    default_error_messages = {"all": "Name one of your projects: only who sees all of them may leave it out."}

    def __init__(self, *, is_owner: bool = True, **options: Any) -> None:
        """`is_owner=False`: the body says elsewhere what it belongs to, and checks `require` itself."""
        self.is_owner = is_owner
        usual = {"slug_field": "name", "queryset": Project.objects.all(), "allow_null": True, "required": False}
        super().__init__(**usual | {"help_text": "null = all", "default": None} | options)

    def get_queryset(self) -> QuerySet[Project]:
        ids = visible_project_ids(self.context["principal"])
        return Project.objects.all() if ids is None else Project.objects.filter(pk__in=ids)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        project: Project | None = super().run_validation(data)
        if self.is_owner:
            self.require(project)
        return project

    def require(self, project: Project | None) -> None:
        """Raises ValidationError where nobody but who sees all projects may leave it out."""
        if project is None and visible_project_ids(self.context["principal"]) is not None:
            self.fail("all")


def found(rows: QuerySet[Row], pk: object) -> Row:
    """The row of that key; raises Http404."""
    row = rows.filter(pk=pk).first()
    if row is None:
        raise Http404
    return row


def require_ownership(principal: object, row: Any) -> None:
    """Raises PermissionDenied where `row` concerns all projects and `principal` does not see them all."""
    if row.project_id is None and visible_project_ids(principal) is not None:
        raise exceptions.PermissionDenied("It concerns all projects, and you do not see all of them.")


def save_checked(row: Model) -> None:
    """Save a row whose values fit together; what does not is a ValidationError by field."""
    try:
        row.full_clean()
    except ValidationError as error:
        raise serializers.ValidationError(error.message_dict) from None
    row.save()
