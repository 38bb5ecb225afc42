"""What whoever does something is called in the record of it."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser

SYSTEM = "sentinel"


def name_of(principal: object) -> str:
    """The name of a person's account, or that of a program's token."""
    if isinstance(principal, AbstractBaseUser):
        return principal.get_username()
    return str(getattr(principal, "name", SYSTEM))


def key_of(principal: object) -> str:
    """What tells actors apart even where names are the same: "user:7", "token:deploy-bot"."""
    if isinstance(principal, AbstractBaseUser):
        return f"user:{principal.pk}"
    return f"token:{name_of(principal)}"
