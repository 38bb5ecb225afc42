"""Who, from where and of which project: what the audit trail knows of a change beside the change itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from auditlog.models import LogEntry
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse

from baselines.models import Project
from baselines.people import SYSTEM, name_of
from baselines.visibility import visible_project_ids
from sentinel_site.access.addresses import client_address

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)
_author: ContextVar[str] = ContextVar("author", default=SYSTEM)


class AuditTrail:
    """Tells the trail which request a change is made in.

    Who asks is read when something is written, not before: a token is looked up by the view alone.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        token = _request.set(request)
        try:
            return self.get_response(request)
        finally:
            _request.reset(token)


@contextmanager
def written_by(name: str) -> Iterator[None]:
    """What is changed within is the work of `name`, where no request says otherwise: of a command, for one."""
    token = _author.set(name)
    try:
        yield
    finally:
        _author.reset(token)


def complete(instance: LogEntry, **_: Any) -> None:
    """Write into a new entry who made the change, from which address, and whose project it concerns."""
    if not instance._state.adding:
        return
    request = _request.get()
    principal: Any = getattr(request, "user", None)
    if request is not None:
        instance.remote_addr = instance.remote_addr or client_address(request)
    if isinstance(principal, AbstractBaseUser) and principal.is_authenticated:
        instance.actor = instance.actor or principal  # type: ignore[assignment]
    who = name_of(principal) if getattr(principal, "is_authenticated", False) else _author.get()
    project = project_of(instance)
    instance.additional_data = {"actor": who, "project": project} | (instance.additional_data or {})


def project_of(entry: LogEntry) -> int | None:
    """The project of the row an entry is about; None for what belongs to none."""
    model = entry.content_type.model_class()
    row = model._base_manager.filter(pk=entry.object_pk).first() if model is not None else None
    return _gone(entry) if row is None else _owner(row)


def _owner(row: Model) -> int | None:
    if isinstance(row, Project):
        return int(row.pk)
    project = getattr(row, "project_id", None)
    for part in ("service", "rule"):  # what it is a part of
        whole = getattr(row, part, None) if project is None else None
        if isinstance(whole, Model):
            project = _owner(whole)
    return project


def _gone(entry: LogEntry) -> int | None:
    """The project of a row that is deleted: its last values are among the changes."""
    former = (entry.changes_dict or {}).get("project", [None])[0]
    return int(former) if str(former).isdigit() else None


def visible_to(entries: QuerySet[LogEntry], principal: object) -> QuerySet[LogEntry]:
    """The entries about the projects of `principal`, and those they made themselves."""
    projects = visible_project_ids(principal)
    if projects is None:
        return entries
    return entries.filter(Q(additional_data__project__in=list(projects)) | Q(actor=getattr(principal, "pk", None)))
