"""What becomes of keys that other versions of this product's configuration have and that act differently here.

Every other key of the model is simply used, as its description says.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sentinel_site.config.catalogue import KEYS


@dataclass(frozen=True)
class Fate:
    kind: Literal["used", "mapped", "ignored"]
    why: str
    """What the key does here, or why it does nothing."""
    target: str | None = None
    """The key that takes the value of a mapped one."""
    quiet_if: tuple[Any, ...] = ()
    """Values with which nobody is misled, so that no warning is due."""
    warns: bool = False
    """Whether another value deserves a warning that says `why`."""


def _ignored(why: str, *quiet_if: Any) -> Fate:
    return Fate("ignored", why, quiet_if=quiet_if, warns=True)


def _used(why: str, *quiet_if: Any) -> Fate:
    return Fate("used", why, quiet_if=quiet_if, warns=True)


FATES: dict[str, Fate] = {
    "ingestion.kafka.enable_auto_commit": _ignored(
        "offsets are committed by the pipeline alone, after a batch's effects are durable; automatic commits lose some",
        False,
    ),
    "detection.baseline.persistence_path": _ignored(
        "baselines are persisted in the relational database, where a consumer on any machine finds them; "
        "no directory is needed"
    ),
    "storage.influxdb.telemetry_bucket": Fate(
        "mapped", "InfluxDB 3 has databases in place of buckets", target="storage.influxdb.telemetry_database"
    ),
    "storage.influxdb.anomaly_bucket": Fate(
        "mapped",
        "single detections have a database of their own; anomalies live in the relational database",
        target="storage.influxdb.detections_database",
    ),
    "storage.cache.max_capacity": Fate("used", "bounds the API's caches; detection state is bounded by max_series"),
    "storage.cache.ttl_secs": Fate("used", "expires entries of the API's caches; detection state never expires"),
    "storage.cache.tti_secs": _ignored(
        "entries of the API's caches expire by storage.cache.ttl_secs alone, not by idleness; "
        "detection state never expires"
    ),
    "storage.redis.enabled": _ignored(
        "detection state always lives in Redis; without a Redis server set storage.redis.url to fakeredis:// "
        "(one process only), as standalone does",
        True,
    ),
    "storage.redis.ttl_secs": _used("it expires the API's cached answers only; detection state never expires", 300.0),
    "alerting.deduplication.cleanup_interval_secs": _ignored(
        "the window is read from the deliveries themselves, so that there is nothing to clean up"
    ),
    "api.metrics_open": _used("anyone who reaches the site can read its metrics", False),
    "api.cors_origins": Fate("used", 'exact origins; "*" is for development only and refused in production'),
}


def fate_of(path: str) -> Fate | None:
    """The fate of a dotted key; None for a key that does not exist."""
    if path in FATES:
        return FATES[path]
    return Fate("used", KEYS[path].description) if path in KEYS else None


def warning(path: str, value: Any) -> str | None:
    """What its author must know about a key set to `value`, if anything."""
    fate = FATES.get(path)
    if fate is None or not fate.warns or value in fate.quiet_if:
        return None
    return f"{'is ignored: ' if fate.kind == 'ignored' else ''}{fate.why}"
