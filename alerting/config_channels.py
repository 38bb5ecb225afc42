"""The channels that the configuration file names: rows like any other, read-only, their secrets never stored."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction

from alerting.channels.base import Target
from alerting.models import Channel
from alerting.rules.backoff import RetryPolicy

RABBITMQ = "config:rabbitmq"
WEBHOOK = "config:webhook"
ABSENT = "not in the configuration"


def sync_config_channels() -> list[Channel]:
    """Make the rows say what the configuration says; the enabled ones, by name.

    Writes only what differs, so it may be called before every routing. A channel that its receiver had disabled
    (410) stays so until its settings change.
    """
    wanted = configured()
    rows = {row.name: row for row in Channel.objects.filter(origin=Channel.Origin.CONFIG)}
    stale = [name for name in wanted if _differs(rows.get(name), wanted[name])]
    absent = [row for name, row in rows.items() if name not in wanted and row.disabled_reason != ABSENT]
    if stale or absent:
        _write({name: wanted[name] for name in stale}, absent)
        rows = {row.name: row for row in Channel.objects.filter(origin=Channel.Origin.CONFIG)}
    return [row for _, row in sorted(rows.items()) if row.enabled]


def configured() -> dict[str, tuple[str, dict[str, Any]]]:
    """Kind and settings, without secrets, of each channel in the configuration, by name."""
    alerting = settings.SENTINEL.alerting
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    if alerting.rabbitmq.enabled:
        keys = ("url", "username", "exchange", "routing_key_prefix", "persistent", "timeout_secs")
        found[RABBITMQ] = (Channel.Kind.RABBITMQ, {key: getattr(alerting.rabbitmq, key) for key in keys})
    if alerting.webhook.enabled:
        keys = ("url", "method", "timeout_secs")
        found[WEBHOOK] = (Channel.Kind.WEBHOOK, {key: getattr(alerting.webhook, key) for key in keys})
    return found


def target_of(channel: Channel) -> Target:
    """Where a channel sends, with its secret: from the row, or from the configuration for the configuration's own."""
    if channel.origin != Channel.Origin.CONFIG:
        return Target(channel.name, channel.config, channel.secret)
    alerting = settings.SENTINEL.alerting
    held = alerting.rabbitmq.password if channel.name == RABBITMQ else alerting.webhook.secret
    return Target(channel.name, channel.config, held.get_secret_value() if held else "", trusted=True)


def retry_policy(kind: str) -> RetryPolicy:
    """How often and how long a kind of channel is tried, by the configuration."""
    alerting = settings.SENTINEL.alerting
    if kind == Channel.Kind.RABBITMQ:
        retry = alerting.rabbitmq.retry_config
        return RetryPolicy(
            max_attempts=retry.max_attempts,
            initial_delay=retry.initial_delay_ms / 1000,
            multiplier=retry.backoff_multiplier,
            max_delay=retry.max_delay_ms / 1000,
            give_up_after=alerting.give_up_after,
        )
    return RetryPolicy(
        max_attempts=alerting.webhook.max_retries,
        initial_delay=alerting.webhook.retry_delay_ms / 1000,
        multiplier=alerting.webhook.backoff_multiplier,
        give_up_after=alerting.give_up_after,
    )


def _differs(row: Channel | None, wanted: tuple[str, dict[str, Any]]) -> bool:
    return row is None or (row.kind, row.config) != wanted or row.disabled_reason == ABSENT


@transaction.atomic
def _write(wanted: dict[str, tuple[str, dict[str, Any]]], absent: list[Channel]) -> None:
    for name, (kind, config) in wanted.items():
        values = {"kind": kind, "config": config, "enabled": True, "disabled_reason": "", "secret": ""}
        Channel.objects.update_or_create(name=name, defaults=values | {"origin": Channel.Origin.CONFIG})
    Channel.objects.filter(pk__in=[row.pk for row in absent]).update(enabled=False, disabled_reason=ABSENT)
