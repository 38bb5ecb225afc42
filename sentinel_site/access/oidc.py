"""The provider of single sign-on: asked who somebody is, by the authorization code flow with PKCE, state and nonce."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.django_client import DjangoIntegration, DjangoOAuth2App
from authlib.oidc.core import CodeIDToken
from django.http import HttpRequest, HttpResponseRedirect
from joserfc.errors import JoseError
from requests import RequestException

from sentinel_site.config.access import OidcConfig

# Signed by a key that only the provider has. Without this list a provider that also knows "none" would decide.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
METADATA_LASTS_S = 3600.0
LEEWAY_S = 60


class SignOnFailed(Exception):
    """Nobody was let in. The text is for the person; the reason behind it, which may tell too much, for the log."""

    def __init__(self, told: str, reason: str = "") -> None:
        super().__init__(told)
        self.reason = reason or told


class _App(DjangoOAuth2App):
    """Authlib's client, which reads the provider's description anew every hour and believes only what it must be."""

    def __init__(self, config: OidcConfig, secret: str) -> None:
        self.issuer = str(config.issuer)
        super().__init__(
            DjangoIntegration("oidc"),
            "oidc",
            client_id=config.client_id,
            client_secret=secret,
            server_metadata_url=self.issuer.rstrip("/") + "/.well-known/openid-configuration",
            client_kwargs={
                "scope": " ".join(config.scopes),
                "code_challenge_method": "S256",
                "default_timeout": config.timeout_secs,
            },
        )

    def forget(self) -> None:
        """Read the provider's description and keys anew when they are next needed."""
        self.server_metadata = {}

    def load_server_metadata(self) -> dict[str, Any]:
        """Raises SignOnFailed when the description is that of another issuer."""
        if time.time() - self.server_metadata.get("_loaded_at", 0.0) > METADATA_LASTS_S:
            self.forget()
        metadata: dict[str, Any] = super().load_server_metadata()
        if metadata.get("issuer") != self.issuer:
            raise SignOnFailed(
                "Single sign-on is not set up rightly.", f"the provider calls itself {metadata.get('issuer')}"
            )
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [name for name in offered if name in ALGORITHMS]
        return metadata


class Provider:
    """The provider that the configuration names."""

    def __init__(self, config: OidcConfig) -> None:
        self.config = config
        secret = config.client_secret.get_secret_value() if config.client_secret else ""
        self._app = _App(config, secret)

    def begin(self, request: HttpRequest, callback: str) -> HttpResponseRedirect:
        """Send the person to the provider, which sends them back to `callback`. Raises SignOnFailed."""
        try:
            answer: HttpResponseRedirect = self._app.authorize_redirect(request, callback)
        except (RequestException, ValueError, RuntimeError, KeyError) as error:
            raise SignOnFailed("The sign-on provider does not answer. Try again later.", _said(error)) from error
        return answer

    def finish(self, request: HttpRequest) -> dict[str, Any]:
        """The claims about the person whom the provider sent back with a code. Raises SignOnFailed."""
        try:
            return self._claims(request)
        except (OAuthError, JoseError) as error:
            self._app.forget()  # a key may have been replaced under its old name: the next login reads them anew
            raise SignOnFailed("The sign-on provider's answer is not valid. Log in again.", _said(error)) from error
        except (RequestException, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise SignOnFailed("The sign-on provider does not answer. Try again later.", _said(error)) from error

    def _claims(self, request: HttpRequest) -> dict[str, Any]:
        expected = {
            "iss": {"essential": True, "value": self.config.issuer},
            "aud": {"essential": True, "value": self.config.client_id},
        }
        token = self._app.authorize_access_token(
            request, claims_options=expected, claims_cls=CodeIDToken, leeway=LEEWAY_S
        )
        if "userinfo" not in token:
            raise SignOnFailed("The sign-on provider's answer is not valid. Log in again.", "it has no identity token")
        claims = dict(token["userinfo"])
        return self._more(token, claims) | claims

    def _more(self, token: Mapping[str, Any], claims: Mapping[str, Any]) -> dict[str, Any]:
        """What only the provider's userinfo tells, asked where a claim that matters is missing; of the same person."""
        wanted = {self.config.groups_claim, self.config.projects_claim} - {None}
        if wanted <= claims.keys() or "userinfo_endpoint" not in self._app.load_server_metadata():
            return {}
        found = dict(self._app.userinfo(token=token))
        return found if found.get("sub") == claims["sub"] else {}


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


_known: list[Provider] = []


def provider(config: OidcConfig) -> Provider:
    """The provider of a configuration; between logins it keeps what it read of the provider's keys."""
    if not _known or _known[0].config != config:
        _known[:] = [Provider(config)]
    return _known[0]
