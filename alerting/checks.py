"""Wrong settings are found when the program starts, not when the first alert should leave."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from alerting.channels.base import MAX_SEND_SECONDS
from alerting.rules.signing import SecretError, signing_keys

MONTH_DAYS = 32
"""The longest month, and the hours by which its beginning differs between time zones."""


def check_webhook(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """The configuration's webhook: a URL, a secret that can sign, TLS where it matters."""
    webhook = settings.SENTINEL.alerting.webhook
    if not webhook.enabled:
        return []
    found: list[CheckMessage] = []
    if not webhook.url:
        hint = "Set it to where alerts are posted, or alerting.webhook.enabled to false."
        found.append(Error("alerting.webhook.url is not set.", hint=hint, id="alerting.E001"))
    elif not webhook.url.startswith("https://") and not settings.DEVELOPMENT:
        hint = "Use https://: the signature protects the body from changes, not from readers."
        found.append(Warning("alerting.webhook.url is not encrypted.", hint=hint, id="alerting.W001"))
    try:
        signing_keys(webhook.secret.get_secret_value() if webhook.secret else "")
    except SecretError as error:
        hint = "Set WEBHOOK_SECRET, for example to whsec_ and the output of `openssl rand -base64 32`."
        found.append(Error(f"alerting.webhook.secret cannot sign: {error}.", hint=hint, id="alerting.E002"))
    return found


def check_secrets_at_rest(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """The keys that encrypt channel secrets."""
    hint = "Set SENTINEL__SECURITY__ENCRYPTION_KEYS to a JSON list of Fernet keys, newest first."
    if not settings.ENCRYPTION_KEYS:
        return [
            Warning("security.encryption_keys is empty: no channel can have a secret.", hint=hint, id="alerting.W002")
        ]
    found: list[CheckMessage] = []
    for index, key in enumerate(settings.ENCRYPTION_KEYS):
        try:
            Fernet(key)
        except ValueError:
            message = f"security.encryption_keys[{index}] is no Fernet key (32 bytes in URL-safe base64)."
            found.append(Error(message, hint=hint, id="alerting.E003"))
    return found


def check_times(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Times that would not do what they say."""
    alerting = settings.SENTINEL.alerting
    found: list[CheckMessage] = []
    for name in ("rabbitmq", "webhook"):
        if getattr(alerting, name).timeout_secs > MAX_SEND_SECONDS:
            message = f"alerting.{name}.timeout_secs is above {MAX_SEND_SECONDS:g} and has no effect beyond it."
            hint = f"Set it to {MAX_SEND_SECONDS:g} or less: a worker must not wait longer for one receiver."
            found.append(Warning(message, hint=hint, id="alerting.W003"))
    return found


def check_address_guard(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """An address guard that lets everything through."""
    networks = settings.SENTINEL.alerting.webhook.allowed_private_networks
    if not any(network.prefixlen == 0 for network in networks):
        return []
    message = "alerting.webhook.allowed_private_networks lets webhooks reach every address, also of this machine."
    hint = "Name the networks that receivers live in, for example 10.20.0.0/16."
    return [Warning(message, hint=hint, id="alerting.W004")]


def check_email(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """The configuration's mail server: a sender, and no password in the clear."""
    email = settings.SENTINEL.alerting.email
    if not email.host:
        return []
    found: list[CheckMessage] = []
    if not email.from_address:
        hint = "Set it to a sender that the server accepts, as in LLM-Sentinel <alerts@example.com>."
        found.append(Warning("alerting.email.from_address is not set.", hint=hint, id="alerting.W005"))
    if email.security == "none" and email.password:
        hint = "Set alerting.email.security to starttls or tls."
        found.append(Warning("alerting.email sends its password unencrypted.", hint=hint, id="alerting.W006"))
    return found


def check_memory(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Hours that are deleted before the month that they belong to is over."""
    days = settings.SENTINEL.storage.retention.hours
    if days >= MONTH_DAYS:
        return []
    message = f"storage.retention.hours is {days}: monthly budgets forget what was spent before that."
    return [Warning(message, hint=f"Set it to {MONTH_DAYS} or more.", id="alerting.W007")]


CHECKS = (check_webhook, check_email, check_secrets_at_rest, check_times, check_address_guard, check_memory)
