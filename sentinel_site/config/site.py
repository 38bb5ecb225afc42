"""Sections of the site itself: `api`, `celery`, `logging`, `security`."""

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from sentinel_site.config.base import (
    Count,
    CsrfOrigin,
    HostPort,
    HttpUrl,
    OriginOrAny,
    Seconds,
    Section,
    Text,
    check_url,
    matching,
)


class ApiConfig(Section):
    bind_addr: HostPort = "0.0.0.0:8080"
    """Address the web server listens on, host:port."""
    enable_cors: bool = True
    """Whether browsers of other origins may call the API."""
    cors_origins: tuple[OriginOrAny, ...] = ()
    """Those origins, exactly; "*" (any) only in development."""
    allowed_hosts: tuple[Text, ...] = ("localhost", "127.0.0.1", "[::1]")
    """Host names under which the site may be asked; ".example.com" includes subdomains."""
    csrf_trusted_origins: tuple[CsrfOrigin, ...] = ()
    """Origins whose forms are trusted when a proxy changes scheme or host."""
    public_url: HttpUrl = "http://localhost:8080"
    """Where people reach the site; begins every link in an alert."""
    behind_proxy: bool = False
    """Whether a proxy in front ends TLS and sets X-Forwarded-Proto (which is then believed)."""
    ssl_redirect: bool = True
    """Whether plain HTTP is redirected to HTTPS; never in development."""
    timeout_secs: Seconds = 30.0
    """Seconds after which a request is given up."""
    max_body_size: Count = 10_485_760
    """Bytes of a request's body, at most."""
    requests_per_minute: Count = 240_000
    """Requests a minute of one token or person, at most; counted by Redis, more are answered 429."""
    access_cache_secs: Annotated[float, Field(ge=0, le=60)] = 2.0
    """Seconds for which a token and the services it sees are remembered: so long may a revoked one still work."""
    enable_logging: bool = True
    """Whether every request is logged."""
    metrics_path: Annotated[str, matching(r"/[A-Za-z0-9._/-]*[A-Za-z0-9_-]", 'a path such as "/metrics"')] = "/metrics"
    """Path of the Prometheus metrics."""
    metrics_open: bool = False
    """Whether metrics are served without a token (closed networks only)."""

    @property
    def host(self) -> str:
        return self.bind_addr.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.bind_addr.rpartition(":")[2])


def _broker_url(value: SecretStr) -> SecretStr:
    check_url(value.get_secret_value(), "amqp", "amqps", "memory", "redis", "rediss")
    return value


class CeleryConfig(Section):
    broker_url: Annotated[SecretStr, AfterValidator(_broker_url)] | None = None
    """Celery's broker (secret, as it may hold a password); alerting.rabbitmq's when empty."""


def _lower_case(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


LogLevel = Annotated[Literal["trace", "debug", "info", "warn", "error"], BeforeValidator(_lower_case)]


class LoggingConfig(Section):
    level: LogLevel = "info"
    """Least level that is logged (SENTINEL_LOG_LEVEL)."""
    # The key is `json`; an attribute of that name would hide pydantic's own.
    json_lines: bool = Field(default=True, alias="json")
    """Whether logs are JSON lines; false prints them for people (SENTINEL_LOG_JSON)."""


def _fernet_key(value: SecretStr) -> SecretStr:
    try:
        key = base64.urlsafe_b64decode(value.get_secret_value())
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ValueError("must be 32 bytes in URL-safe base64, as Fernet.generate_key() makes them")
    return value


FernetKeys = Annotated[tuple[Annotated[SecretStr, AfterValidator(_fernet_key)], ...], Field(min_length=1)]

DEVELOPMENT_SECRETS = {
    "security.secret_key": "insecure-development-key-that-production-refuses-to-start-with",
    "security.encryption_keys": base64.urlsafe_b64encode(b"insecure-development-key-refused").decode(),
    "security.token_pepper": "insecure-development-pepper-that-production-refuses",
}
"""What development runs with when nothing is set; production counts these as missing."""


class SecurityConfig(Section):
    secret_key: SecretStr = SecretStr(DEVELOPMENT_SECRETS["security.secret_key"])
    """Django's key for sessions and signatures (secret), at least 50 characters."""
    encryption_keys: FernetKeys = (SecretStr(DEVELOPMENT_SECRETS["security.encryption_keys"]),)
    """Fernet keys for secrets at rest (secret); the first encrypts, all decrypt."""
    token_pepper: SecretStr = SecretStr(DEVELOPMENT_SECRETS["security.token_pepper"])
    """Key of the HMAC under which API tokens are stored (secret), at least 32 characters."""
