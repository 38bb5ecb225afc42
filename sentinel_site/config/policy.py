"""What no single key can tell: keys that must agree, and what production refuses."""

import base64
import binascii
from collections.abc import Iterator

from pydantic import SecretStr

from sentinel_site.config.catalogue import KEYS
from sentinel_site.config.model import Config
from sentinel_site.config.site import DEVELOPMENT_SECRETS

WELL_KNOWN_SECRETS = {
    "admin", "changeme", "change-me", "change_me", "default", "guest", "letmein", "minioadmin", "password", "postgres",
    "rabbitmq", "redis", "root", "secret", "sentinel", "test", "token", "your-influxdb-token", "your-rabbitmq-password",
    "your-redis-password", "your-webhook-secret",
}  # fmt: skip
_SHORTEST = {"security.secret_key": 50, "security.token_pepper": 32}

Finding = tuple[str, str]
"""A dotted key and what is wrong with it."""


def findings(config: Config) -> Iterator[Finding]:
    """All that is wrong with a configuration whose single values are valid."""
    yield from _disagreements(config)
    yield from _incomplete(config)
    if config.is_production:
        yield from _missing_secrets(config)
        yield from _weak_secrets(config)
        yield from _open_doors(config)


def _disagreements(config: Config) -> Iterator[Finding]:
    limits, baseline = config.ingestion.validation, config.detection.baseline
    if limits.min_latency_ms >= limits.max_latency_ms:
        yield "ingestion.validation.min_latency_ms", f"must be less than max_latency_ms ({limits.max_latency_ms})"
    if baseline.min_samples > baseline.window_size:
        yield "detection.baseline.min_samples", f"must not exceed window_size ({baseline.window_size})"
    if config.storage.influxdb.batch_size > config.storage.max_batch_size:
        yield "storage.influxdb.batch_size", f"must not exceed storage.max_batch_size ({config.storage.max_batch_size})"
    retry = config.alerting.rabbitmq.retry_config
    if retry.initial_delay_ms > retry.max_delay_ms:
        yield "alerting.rabbitmq.retry_config.initial_delay_ms", f"must not exceed max_delay_ms ({retry.max_delay_ms})"
    kafka = config.ingestion.kafka
    if kafka.session_timeout_ms > kafka.max_poll_interval_ms:
        yield (
            "ingestion.kafka.max_poll_interval_ms",
            f"must be at least {kafka.session_timeout_ms} (session_timeout_ms)",
        )


def _incomplete(config: Config) -> Iterator[Finding]:
    security, webhook = config.ingestion.kafka.security, config.alerting.webhook
    if security.protocol.startswith("SASL") and security.sasl_mechanism is None:
        yield "ingestion.kafka.security.sasl_mechanism", f"is required by protocol {security.protocol}"
    if (security.sasl_mechanism or "").startswith(("PLAIN", "SCRAM")):
        for name in ("sasl_username", "sasl_password"):
            if getattr(security, name) is None:
                yield f"ingestion.kafka.security.{name}", f"is required by sasl_mechanism {security.sasl_mechanism}"
    if webhook.enabled and webhook.url is None:
        yield "alerting.webhook.url", "is required while alerting.webhook.enabled is true"
    if webhook.enabled and webhook.secret is None:
        yield "alerting.webhook.secret", "is required while alerting.webhook.enabled is true"
    yield from _incomplete_oidc(config)
    if webhook.secret and not _is_signing_key(webhook.secret.get_secret_value()):
        yield "alerting.webhook.secret", "must be, after whsec_, base64 of 24 to 64 bytes"


def _incomplete_oidc(config: Config) -> Iterator[Finding]:
    oidc = config.access.oidc
    if not oidc.enabled:
        return
    for name in ("issuer", "client_id", "client_secret"):
        if getattr(oidc, name) is None:
            yield f"access.oidc.{name}", "is required while access.oidc.enabled is true"
    if "openid" not in oidc.scopes:
        yield "access.oidc.scopes", "must name openid: without it no provider says who somebody is"
    if not oidc.groups and oidc.default_group is None:
        yield "access.oidc.groups", "must name a group, unless default_group is set: else nobody would be let in"


def _is_signing_key(secret: str) -> bool:
    encoded = secret.removeprefix("whsec_")
    if encoded == secret:
        return True  # raw bytes
    try:
        return 24 <= len(base64.b64decode(encoded, validate=True)) <= 64
    except binascii.Error:
        return False


def _missing_secrets(config: Config) -> Iterator[Finding]:
    for path, stand_in in DEVELOPMENT_SECRETS.items():
        if stand_in in _secrets_at(config, path):
            yield path, "is required in production"
    if config.storage.backend == "influxdb3" and config.storage.influxdb.token is None:
        yield "storage.influxdb.token", "is required in production while storage.backend is influxdb3"
    if _uses_rabbitmq(config) and config.alerting.rabbitmq.password is None:
        yield "alerting.rabbitmq.password", "is required in production (alerts and Celery use it)"


def _uses_rabbitmq(config: Config) -> bool:
    rabbitmq = config.alerting.rabbitmq
    return not rabbitmq.url.startswith("memory:") and (rabbitmq.enabled or config.celery.broker_url is None)


def _weak_secrets(config: Config) -> Iterator[Finding]:
    for path, key in KEYS.items():
        for value in _secrets_at(config, path) if key.secret else ():
            if value.lower() in WELL_KNOWN_SECRETS:
                yield path, "is a well-known value, which production refuses; make one of your own"
            elif len(value) < _SHORTEST.get(path, 0):
                yield path, f"must have at least {_SHORTEST[path]} characters in production; it has {len(value)}"


def _secrets_at(config: Config, path: str) -> list[str]:
    found = value_at(config, path)
    values = found if isinstance(found, tuple) else (found,)
    return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]


def value_at(config: Config, path: str) -> object:
    """The typed value of a dotted key."""
    found: object = config
    for name in path.split("."):
        found = getattr(found, "json_lines" if path == "logging.json" and name == "json" else name)
    return found


def _open_doors(config: Config) -> Iterator[Finding]:
    if "*" in config.api.cors_origins:
        yield (
            "api.cors_origins",
            '"*" is refused in production; list exact origins, or set environment: development',
        )
    issuer = config.access.oidc.issuer or ""
    if config.access.oidc.enabled and not issuer.startswith("https://"):
        yield "access.oidc.issuer", "must begin with https:// in production: tokens travel to it and from it"
    if config.standalone:
        return
    if config.storage.redis.url.startswith("fakeredis:"):
        yield "storage.redis.url", "fakeredis:// keeps state in one process; production needs a Redis server"
    if config.celery_broker_url().startswith("memory:"):
        yield "celery.broker_url", "memory:// reaches no other process; production needs RabbitMQ"
