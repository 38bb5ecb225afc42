"""Rows that belong to a project or to all of them: who may read them, who may write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.request import Request

from baselines.api.pages import Keyset
from baselines.api.parameters import StrictSerializer
from baselines.models import Project
from baselines.visibility import visible_project_ids

Row = TypeVar("Row", bound=Model)
EVERYTHING = Q()


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


def mine(model: type[Any], principal: object, pk: object) -> Any:
    """The row of `model`, for whoever may change it; raises Http404 and PermissionDenied."""
    row = found(model.objects.visible_to(principal), pk)
    require_ownership(principal, row)
    return row


def save_checked(row: Model) -> None:
    """Save a row whose values fit together; what does not is a ValidationError by field."""
    try:
        row.full_clean()
    except ValidationError as error:
        raise serializers.ValidationError(error.message_dict) from None
    row.save()


@dataclass(frozen=True)
class Owned:
    """Rows of one kind that belong to a project or to all: how an API shows and writes them.

    `fields`: key of the answer -> column; `shown` makes of a row of these, and whom it is for, what is answered.
    """

    model: type[Any]
    fields: dict[str, str]
    order: Keyset
    body: type[StrictSerializer]
    shown: Callable[[dict[str, Any], object], dict[str, Any]] = lambda row, principal: row

    def page(
        self, principal: object, query: dict[str, Any], condition: Q = EVERYTHING
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page of what `principal` sees and `condition` holds for, and the cursor of the next one."""
        visible = self.model.objects.visible_to(principal).filter(condition)
        rows, following = self.order.page(visible, self.fields, query["limit"], query.get("cursor"))
        return [self.shown(row, principal) for row in rows], following

    def one(self, principal: object, pk: object) -> dict[str, Any]:
        """One of those; raises Http404."""
        rows, _ = self.order.page(self.model.objects.visible_to(principal).filter(pk=pk), self.fields, 1, None)
        if not rows:
            raise Http404
        return self.shown(rows[0], principal)

    def mine(self, principal: object, pk: object) -> Any:
        """The row, for whoever may change it; raises Http404 and PermissionDenied."""
        return mine(self.model, principal, pk)

    def write(self, row: Any, request: Request, *, partial: bool) -> None:
        """Set what the body names, and save it; raises ValidationError by field."""
        body = self.body(data=request.data, partial=partial, context={"principal": request.user})
        body.is_valid(raise_exception=True)
        for name, value in body.validated_data.items():
            setattr(row, name, value)
        save_checked(row)
