"""Where a bench runs: a database, topics and Redis keys of its own on the real services, gone afterwards."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = Path(__file__).resolve().parents[1]
PARTITIONS = 3
SECONDS = 60.0
SERVICES = ("KAFKA", "POSTGRES", "REDIS")


class ServiceMissing(Exception):
    """A bench needs a service that is not there."""


@dataclass(frozen=True)
class Addresses:
    """Of the real services."""

    kafka: str
    postgres: str
    redis: str

    @classmethod
    def of(cls, environment: dict[str, str]) -> Addresses:
        """As `deployments/local/services env` prints them. Raises ServiceMissing."""
        missing = [name for name in SERVICES if not environment.get(f"SENTINEL_TEST_{name}")]
        if missing:
            raise ServiceMissing(f"{', '.join(missing)} cannot be had: see `deployments/local/services status`")
        return cls(*(environment[f"SENTINEL_TEST_{name}"] for name in SERVICES))


@dataclass(frozen=True)
class Premises:
    """Names of one bench's own, and the environment that its processes run in."""

    addresses: Addresses
    name: str
    environment: dict[str, str]

    @property
    def topic(self) -> str:
        return f"{self.name}.telemetry"


@contextmanager
def premises(addresses: Addresses) -> Iterator[Premises]:
    """Make topics and a migrated database; remove both, and what stands in Redis, at the end."""
    name = f"bench_{secrets.token_hex(4)}"
    with ExitStack() as stack:
        database = stack.enter_context(_database(addresses.postgres, name))
        place = Premises(addresses, name, environment(addresses, name, database))
        stack.enter_context(topics(addresses.kafka, [place.topic, f"{name}.detections", f"{name}.dead"]))
        stack.callback(_forget, addresses.redis, f"{name}:*")
        migrate(place)
        yield place


def environment(addresses: Addresses, name: str, database: str) -> dict[str, str]:
    """This process's environment with the configuration of a bench."""
    kafka = "SENTINEL__INGESTION__KAFKA__"
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "sentinel_site.settings",
        "SENTINEL_LOG_LEVEL": "error",
        "SENTINEL__ENVIRONMENT": "development",
        "SENTINEL__DATABASE__URL": database,
        "SENTINEL__STORAGE__BACKEND": "database",
        "SENTINEL__STORAGE__REDIS__URL": addresses.redis,
        "SENTINEL__STORAGE__REDIS__KEY_PREFIX": f"{name}:",
        f"{kafka}BROKERS": json.dumps(addresses.kafka.split(",")),
        f"{kafka}TOPIC": f"{name}.telemetry",
        f"{kafka}DETECTIONS_TOPIC": f"{name}.detections",
        f"{kafka}DEAD_LETTER_TOPIC": f"{name}.dead",
        f"{kafka}AUTO_OFFSET_RESET": "earliest",
    }


@contextmanager
def _database(url: str, name: str) -> Iterator[str]:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def topics(brokers: str, names: list[str]) -> Iterator[None]:
    """Topics that are there meanwhile."""
    admin = AdminClient({"bootstrap.servers": brokers})
    for made in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        made.result(SECONDS)
    try:
        yield
    finally:
        for gone in admin.delete_topics(names).values():
            gone.result(SECONDS)


def _forget(url: str, pattern: str) -> None:
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(pattern, 1000):
            client.delete(key)


def migrate(place: Premises) -> None:
    """Make the tables. Raises CalledProcessError."""
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0", "--skip-checks"]
    subprocess.run(command, cwd=ROOT, env=place.environment, check=True)


def empty(place: Premises) -> None:
    """Take from the database and Redis what a run left there, so that the next finds what the first found."""
    _forget(place.addresses.redis, f"{place.name}:*")
    with psycopg.connect(place.environment["SENTINEL__DATABASE__URL"], autocommit=True) as connection:
        tables = connection.execute(
            "SELECT quote_ident(tablename) FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename ~ '^(ingestion|baselines|anomalies|alerting)_'"
            " AND tablename NOT IN ('baselines_project', 'alerting_alertrule', 'alerting_channel')"
        ).fetchall()
        connection.execute(f"TRUNCATE {', '.join(name for (name,) in tables)} CASCADE")
        connection.execute("CHECKPOINT")


def publish(place: Premises, messages: Iterable[tuple[bytes, bytes]]) -> None:
    """Write messages to the telemetry topic. Raises TimeoutError if Kafka does not take them in time."""
    producer = Producer(
        {"bootstrap.servers": place.addresses.kafka, "partitioner": "murmur2_random", "linger.ms": 50, "acks": "all"}
    )
    for key, value in messages:
        while True:
            try:
                producer.produce(place.topic, value, key)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(SECONDS):
        raise TimeoutError(f"Kafka took not all messages within {SECONDS:.0f} s")
