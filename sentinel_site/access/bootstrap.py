"""The first operator and the first token of a fresh installation."""

from __future__ import annotations

from django.contrib.auth import get_user_model

from sentinel_site.access.models import ApiToken, Scope, token_digest

FIRST_OPERATOR = "admin"
FIRST_TOKEN = "default"  # noqa: S105  a name, not a secret


def ensure_admin(password: str) -> bool:
    """Create the superuser `admin` with `password` unless it exists; says whether it did. Its password stays."""
    users = get_user_model().objects
    if users.filter(username=FIRST_OPERATOR).exists():
        return False
    users.create_superuser(FIRST_OPERATOR, "", password)
    return True


def ensure_token(token: str) -> bool:
    """Create a token row with every scope for `token` unless it exists; says whether it did."""
    if ApiToken.objects.filter(digest=token_digest(token)).exists():
        return False
    ApiToken.issue(token, name=FIRST_TOKEN, scopes=list(Scope.values))
    return True
