"""Sections `storage` and `database`: telemetry, caches, state, retention, the relational database."""

from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from sentinel_site.config.base import (
    Count,
    DatabaseName,
    Days,
    HttpUrl,
    Milliseconds,
    Seconds,
    SecondsOrZero,
    Section,
    Text,
    url_of,
)
from sentinel_site.config.urls import with_credentials


class InfluxdbConfig(Section):
    url: HttpUrl = "http://localhost:8181"
    """Address of InfluxDB 3."""
    org: Text = "sentinel"
    """Organisation sent with a write; InfluxDB 3 Core does not look at it."""
    token: SecretStr | None = None
    """API token (secret; INFLUXDB_TOKEN)."""
    telemetry_database: DatabaseName = "telemetry"
    """Database of single events."""
    detections_database: DatabaseName = "detections"
    """Database of single detections; apart, because retention is set per database."""
    batch_size: Count = 100
    """Lines at which an idle writer starts a write; a busy one takes all that waits, up to storage.max_batch_size."""
    timeout_secs: Seconds = 10.0
    """Seconds after which a write or query is given up."""


class CacheConfig(Section):
    max_capacity: Count = 10_000
    """Entries the API's caches hold at most."""
    ttl_secs: Seconds = 300.0
    """Seconds after which an entry of the API's caches expires, at most."""
    enable_metrics: bool = True
    """Whether hits and misses of the API's caches are counted."""


class RedisConfig(Section):
    url: Annotated[str, url_of("redis", "rediss", "unix", "fakeredis")] = "redis://localhost:6379"
    """Address of Redis, which must run with maxmemory-policy noeviction; fakeredis:// keeps all in this process."""
    password: SecretStr | None = None
    """Password (secret; REDIS_PASSWORD), unless the URL has one."""
    key_prefix: str = "sentinel:"
    """What every key begins with."""
    ttl_secs: Seconds = 300.0
    """Seconds after which the API's cached answers in Redis expire; detection state never does."""
    timeout_secs: Seconds = 5.0
    """Seconds after which a connection or call is given up."""

    def url_with_password(self) -> str:
        """The URL for a client, secret revealed."""
        return with_credentials(self.url, None, self.password)


class RetentionConfig(Section):
    telemetry: Days = 30
    """Days single events are kept."""
    minutes: Days = 90
    """Days one-minute aggregates are kept."""
    hours: Days = 730
    """Days hourly aggregates are kept."""
    detections: Days = 30
    """Days single detections are kept."""
    anomalies: Days = 365
    """Days ended anomalies and their incidents are kept."""
    deliveries: Days = 90
    """Days alert deliveries and their attempts are kept."""


class StorageConfig(Section):
    backend: Literal["influxdb3", "database"] = "influxdb3"
    """Where single events are stored: InfluxDB 3, or a table of the relational database."""
    max_batch_size: Count = 5000
    """Events in one write to the backend, at most."""
    flush_interval_ms: Milliseconds = 500
    """Milliseconds an event waits for its write, at most."""
    influxdb: InfluxdbConfig = InfluxdbConfig()
    cache: CacheConfig = CacheConfig()
    redis: RedisConfig = RedisConfig()
    retention: RetentionConfig = RetentionConfig()


class DatabaseConfig(Section):
    url: Annotated[str, url_of("postgresql", "postgres", "sqlite")] = "postgresql://sentinel@localhost:5432/sentinel"
    """postgresql://user@host:port/name, or sqlite:///path (relative) or sqlite:////path (absolute)."""
    password: SecretStr | None = None
    """Password (secret), unless the URL has one."""
    conn_max_age: SecondsOrZero = 60.0
    """Seconds a connection is reused; 0 closes it after each request."""

    @property
    def engine(self) -> Literal["postgresql", "sqlite"]:
        return "sqlite" if self.url.startswith("sqlite:") else "postgresql"

    @property
    def name(self) -> str:
        """The database's name; for SQLite its file, relative to the project's root unless absolute."""
        path = unquote(urlsplit(self.url).path)
        return path.removeprefix("/")

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int | None:
        return urlsplit(self.url).port

    @property
    def user(self) -> str:
        return unquote(urlsplit(self.url).username or "")
