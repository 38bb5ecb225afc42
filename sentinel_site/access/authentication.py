"""How a program proves who it is: `Authorization: Bearer <token>` (or `Token <token>`)."""

from __future__ import annotations

import hmac
from datetime import timedelta

from django.db.models import Q
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed

from baselines.remembered import Remembered
from sentinel_site.access.models import PREFIX_LENGTH, ApiToken, token_digest
from sentinel_site.access.principal import TokenPrincipal

KEYWORDS = ("bearer", "token")
USE_IS_NOTED_EVERY = timedelta(minutes=1)

_tokens: Remembered[ApiToken] = Remembered(name="tokens")


class TokenAuthentication(BaseAuthentication):
    """Authenticates by API token; a request without one is left to the next authenticator."""

    def authenticate(self, request: HttpRequest) -> tuple[TokenPrincipal, ApiToken] | None:
        """The principal and its token row, None without a token, AuthenticationFailed with a bad one."""
        secret = presented_token(request)
        if secret is None:
            return None
        token = find_token(secret)
        if token is None or token.is_expired():
            raise AuthenticationFailed("The token is not valid, or has expired.", code="invalid_token")
        note_use(token)
        return TokenPrincipal.of(token), token

    def authenticate_header(self, request: HttpRequest) -> str:
        return 'Bearer realm="sentinel"'


def presented_token(request: HttpRequest) -> str | None:
    """The token in the Authorization header; None when the header is absent or of another scheme."""
    keyword, _, secret = get_authorization_header(request).partition(b" ")
    if keyword.decode("latin-1").lower() not in KEYWORDS:
        return None
    try:
        return secret.strip().decode("ascii")
    except UnicodeDecodeError:
        raise AuthenticationFailed("The token holds characters that no token has.", code="invalid_token") from None


def find_token(secret: str) -> ApiToken | None:
    """The row of a token, maybe as it was `api.access_cache_secs` ago; of one that there is not, none is remembered."""
    digest = token_digest(secret)
    try:
        return _tokens.get(digest, lambda: _looked_up(digest))
    except ApiToken.DoesNotExist:
        return None


def _looked_up(digest: str) -> ApiToken:
    """By its prefix, then compared in constant time. Raises ApiToken.DoesNotExist."""
    for token in ApiToken.objects.filter(prefix=digest[:PREFIX_LENGTH]):
        if hmac.compare_digest(token.digest, digest):
            return token
    raise ApiToken.DoesNotExist


@receiver([post_save, post_delete], sender=ApiToken)
def forget_tokens(**_: object) -> None:
    """What one process changes, it sees at once."""
    _tokens.forget()


def note_use(token: ApiToken) -> None:
    """Write `last_used_at`, at most once a minute; of several processes one writes."""
    now = timezone.now()
    if token.last_used_at is not None and now - token.last_used_at < USE_IS_NOTED_EVERY:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_IS_NOTED_EVERY)
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    token.last_used_at = now


class TokenScheme(OpenApiAuthenticationExtension):
    """How the OpenAPI document describes tokens."""

    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
