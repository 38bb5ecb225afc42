"""What a fresh installation needs before it can be used: tables, an operator, a token."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass

from django.core.management import call_command

from sentinel_site.access.bootstrap import ensure_admin, ensure_token
from sentinel_site.access.models import ApiToken, generate_token


@dataclass(frozen=True)
class Credentials:
    """What may be shown now and never again; empty where nothing was made."""

    password: str = ""
    token: str = ""


def prepare_database() -> Credentials:
    """Migrate, then create the operator and the token that are missing; returns those it made up.

    `SENTINEL_ADMIN_PASSWORD` presets the first password, `SENTINEL_API_TOKEN` adds a token at any start.
    """
    call_command("migrate", verbosity=0, interactive=False)
    return Credentials(_first_password(), _first_token())


def _first_password() -> str:
    preset = os.environ.get("SENTINEL_ADMIN_PASSWORD")
    password = preset or secrets.token_urlsafe(12)
    return password if ensure_admin(password) and not preset else ""


def _first_token() -> str:
    if preset := os.environ.get("SENTINEL_API_TOKEN"):
        ensure_token(preset)
        return ""
    if ApiToken.objects.exists():
        return ""
    token = generate_token()
    ensure_token(token)
    return token
