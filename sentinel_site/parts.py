"""From the configuration to Django's own settings of its parts: database, cache, Celery broker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from sentinel_site.config import Config

SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA busy_timeout=20000;PRAGMA temp_store=MEMORY;"


def database_settings(database: Any, base_dir: Path) -> dict[str, Any]:
    """Django's DATABASES entry for `postgresql://user@host:port/name` or `sqlite:///path`."""
    url = urlsplit(database.url)
    if url.scheme == "sqlite":
        path = Path(unquote(url.path).removeprefix("/"))
        file = path if path.is_absolute() else base_dir / path
        file.parent.mkdir(parents=True, exist_ok=True)
        # IMMEDIATE: a transaction that reads first and writes later cannot be upgraded while another one writes.
        options = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": SQLITE_PRAGMAS}
        return {"ENGINE": "sentinel_site.standalone.sqlite_backend", "NAME": str(file), "OPTIONS": options}
    password = database.password.get_secret_value() if database.password else unquote(url.password or "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.removeprefix("/"),
        "USER": unquote(url.username or ""),
        "PASSWORD": password,
        "HOST": url.hostname or "",
        "PORT": str(url.port or 5432),
        "CONN_MAX_AGE": database.conn_max_age,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 5},
    }


def cache_settings(redis: Any) -> dict[str, Any]:
    """Two views of one Redis: the API's short-lived cache, and the detection state, which never expires."""
    options: dict[str, Any] = {"CLIENT_CLASS": "django_redis.client.DefaultClient"}
    location = redis.url
    if redis.url.startswith("fakeredis"):
        # In process: the state needs Redis's transactions, which a dictionary behind Django's cache has not.
        import fakeredis  # noqa: PLC0415  servers do without it

        options["CONNECTION_POOL_KWARGS"] = {
            "connection_class": fakeredis.FakeRedisConnection,
            "server": fakeredis.FakeServer(),
        }
        location = "redis://embedded:6379/0"
    else:
        options |= {"SOCKET_CONNECT_TIMEOUT": 2, "SOCKET_TIMEOUT": 5}
        if redis.password:
            options["PASSWORD"] = redis.password.get_secret_value()
    backend = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location, "OPTIONS": options}
    return {
        "default": backend | {"KEY_PREFIX": redis.key_prefix + "cache", "TIMEOUT": redis.ttl_secs},
        "state": backend | {"KEY_PREFIX": redis.key_prefix + "state", "TIMEOUT": None},
    }


def broker_settings(config: Config) -> tuple[str, dict[str, Any]]:
    """Celery's broker and transport options: in memory when standalone, else RabbitMQ with publisher confirms."""
    url = config.celery_broker_url()
    if url.startswith("memory://"):
        return url, {"polling_interval": 0.05}
    return url, {"confirm_publish": True, "confirm_timeout": 10.0, "read_timeout": 10.0, "write_timeout": 10.0}
