"""What a principal may do with the API: nothing that a view does not name a scope for."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from sentinel_site.access.principal import scopes_of


class ScopePermission(BasePermission):
    """Denies by default. A view states `scopes = {"GET": "read", "POST": "write"}`: the scope each method needs."""

    message = "Your account or token lacks the scope that this needs."

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return False
        if request.method == "OPTIONS" or not hasattr(view, str(request.method).lower()):
            return True  # nothing runs: the view answers with its methods, or 405
        needed = required_scope(view, str(request.method))
        return needed is not None and needed in scopes_of(request.user)


def required_scope(view: object, method: str) -> str | None:
    """The scope `view` asks for `method`; None where it names none, and nobody may. HEAD is a GET without body."""
    scopes: dict[str, str] = getattr(view, "scopes", {})
    return scopes.get("GET" if method == "HEAD" else method)
