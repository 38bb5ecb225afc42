"""Who asks: a person (a user of the groups viewer, operator, admin) or a program (a token), and what they may do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from django.contrib.auth.models import AbstractUser

from sentinel_site.access.models import ApiToken, Scope

EVERY_SCOPE = frozenset(Scope.values)
GROUP_SCOPES = {
    "viewer": frozenset({Scope.READ.value}),
    "operator": frozenset({Scope.READ.value, Scope.WRITE.value}),
    "admin": EVERY_SCOPE,
}


@dataclass(frozen=True)
class TokenPrincipal:
    """A program that came with a valid token: what `request.user` is for it."""

    name: str
    scopes: frozenset[str] = field(default=frozenset())
    project_ids: Collection[int] | None = ()
    """The projects it sees; None = all."""
    is_authenticated: bool = True
    is_active: bool = True
    is_anonymous: bool = False
    is_staff: bool = False
    is_superuser: bool = False
    pk: None = None

    @classmethod
    def of(cls, token: ApiToken) -> TokenPrincipal:
        """The principal of a token row; the scope `admin` implies every other."""
        scopes = EVERY_SCOPE if Scope.ADMIN in token.scopes else EVERY_SCOPE.intersection(token.scopes)
        return cls(token.name, scopes, None if token.project_id is None else (token.project_id,))

    def __str__(self) -> str:
        return self.name


def scopes_of(principal: object) -> frozenset[str]:
    """What a principal may do: a token by its scopes, a person by their groups, a superuser everything."""
    if isinstance(principal, TokenPrincipal):
        return principal.scopes
    if not isinstance(principal, AbstractUser) or not principal.is_active:
        return frozenset()
    if principal.is_superuser:
        return EVERY_SCOPE
    names = principal.groups.values_list("name", flat=True)
    return frozenset().union(*(GROUP_SCOPES.get(name, frozenset()) for name in names))
