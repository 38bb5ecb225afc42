"""Coming and going in the audit trail: who logged in and out, from where, and who was locked out."""

from __future__ import annotations

from typing import Any

import structlog
from auditlog.models import LogEntry
from axes.signals import user_locked_out
from django.contrib.auth.models import AbstractBaseUser, User
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.http import HttpRequest

from sentinel_site.access.addresses import client_address

log = structlog.get_logger(__name__)


def connect() -> None:
    """Listen to what Django and django-axes say of logins. Called once, when the applications are ready."""
    user_logged_in.connect(_logged_in, dispatch_uid="audit.logged_in")
    user_logged_out.connect(_logged_out, dispatch_uid="audit.logged_out")
    user_locked_out.connect(_locked_out, dispatch_uid="audit.locked_out")


def note(event: str, user: AbstractBaseUser, request: HttpRequest | None = None) -> None:
    """An entry about a person's account that no column of it shows."""
    address = client_address(request) if request is not None else None
    LogEntry.objects.log_create(
        user, force_log=True, action=LogEntry.Action.ACCESS, changes={"event": ["", event]}, remote_addr=address
    )


def _logged_in(request: HttpRequest | None, user: AbstractBaseUser, **_: Any) -> None:
    note("logged in", user, request)


def _logged_out(request: HttpRequest | None, user: AbstractBaseUser | None, **_: Any) -> None:
    if user is not None:
        note("logged out", user, request)


def _locked_out(request: HttpRequest, username: str | None, ip_address: str | None, **_: Any) -> None:
    """Only of accounts that exist: what somebody types in place of a name may be a password."""
    log.warning("login_locked_out", address=ip_address)
    user = User.objects.filter(username=username).first()
    if user is not None:
        note("locked out after wrong passwords", user, request)
