"""Who may open the pages: people who are signed in and may read; others are led to the door or told so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from baselines.visibility import visible_project_ids
from sentinel_site.access.models import Scope
from sentinel_site.access.principal import scopes_of
from sentinel_site.problems import http_problem

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True)
class Sight:
    """A principal that sees what somebody sees, looked up once for a page; the same for all who see the same."""

    project_ids: tuple[int, ...] | None
    """The projects; None for all."""


def page(scope: str = Scope.READ) -> Callable[[View], View]:
    """A view of a page for people who have `scope`."""
    return _guarded(scope, _to_the_door, _no_entry)


def data(scope: str = Scope.READ) -> Callable[[View], View]:
    """A view that the scripts of a page ask: refusals are problem documents."""
    return _guarded(scope, lambda request: _problem(request, 401), lambda request: _problem(request, 403))


def _guarded(scope: str, stranger: View, unentitled: View) -> Callable[[View], View]:
    def decorated(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return stranger(request)
            scopes = scopes_of(request.user)
            if scope not in scopes:
                return unentitled(request)
            request.sight = sight_of(request.user)  # type: ignore[attr-defined]
            request.may_act = Scope.WRITE.value in scopes  # type: ignore[attr-defined]
            return view(request, *args, **kwargs)

        return guarded

    return decorated


def sight_of(principal: object) -> Sight:
    projects = visible_project_ids(principal)
    return Sight(None if projects is None else tuple(sorted(projects)))


def _to_the_door(request: HttpRequest) -> HttpResponseBase:
    return redirect_to_login(request.get_full_path() if request.method == "GET" else "/")


def _no_entry(request: HttpRequest) -> HttpResponseBase:
    return render(request, "dashboard/no_entry.html", status=403)


def _problem(request: HttpRequest, code: int) -> HttpResponseBase:
    detail = "Sign in first." if code == 401 else "Your account may not do this."
    return http_problem(request, code, detail)
