"""API tokens: how programs are known. Only a keyed hash is stored; the token itself is shown once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime

from django.conf import settings
from django.db import models
from django.utils import timezone

from baselines.models import Project

PREFIX_LENGTH = 12


class Scope(models.TextChoices):
    READ = "read"
    WRITE = "write"
    INGEST = "ingest"
    ADMIN = "admin"


def generate_token() -> str:
    """A fresh token: `sentinel_` and 256 random bits."""
    return "sentinel_" + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """HMAC-SHA256 of the token under the pepper, so a stolen table opens nothing."""
    return hmac.new(settings.TOKEN_PEPPER.encode(), token.encode(), hashlib.sha256).hexdigest()


def token_prefix(token: str) -> str:
    """The part a token is looked up by: derived from the digest, so that preset tokens of any form work."""
    return token_digest(token)[:PREFIX_LENGTH]


class ApiToken(models.Model):
    """A program's key: what it may do (`scopes`) and whose services it sees (`project`, none = all)."""

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=PREFIX_LENGTH, db_index=True, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list, help_text="any of read, write, ingest, admin")
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens", help_text="none = all"
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API token"
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def issue(cls, token: str | None = None, **fields: object) -> tuple[ApiToken, str]:
        """Create a token row; returns it with the token itself, which nobody can read again."""
        token = token or generate_token()
        row = cls.objects.create(prefix=token_prefix(token), digest=token_digest(token), **fields)
        return row, token

    def is_expired(self, now: datetime | None = None) -> bool:
        return self.expires_at is not None and self.expires_at <= (now or timezone.now())


class ExternalIdentity(models.Model):
    """By whom an account is known at the sign-on provider: the subject, which never changes; names do."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="identities")
    issuer = models.URLField(max_length=255, help_text="access.oidc.issuer")
    subject = models.CharField(max_length=255, help_text="the claim sub, as the provider's own pages tell it")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "external identities"
        ordering = ["issuer", "subject"]
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="external_identity_once")]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"
