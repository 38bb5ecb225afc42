"""What one consumer has for itself: topics, consumer groups, keys in Redis, a database; and the consumer as a process.

Two worlds over the same topics see the same events and nothing of each other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
KILLED = -signal.SIGKILL
PROCESS_SECONDS = 90.0


@dataclass(frozen=True)
class Topics:
    """Topics that no other test knows."""

    brokers: str
    telemetry: str
    detections: str
    dead_letters: str

    @classmethod
    def create(cls, brokers: str, partitions: int = 2) -> Topics:
        stem = f"t{uuid.uuid4().hex[:12]}"
        topics = cls(brokers, stem, f"{stem}.detections", f"{stem}.dlq")
        counts = {topics.telemetry: partitions, topics.detections: 1, topics.dead_letters: 1}
        topics.make([NewTopic(name, count, 1) for name, count in counts.items()])
        return topics

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})

    def make(self, topics: list[NewTopic]) -> None:
        admin = self.admin()
        for future in admin.create_topics(topics, operation_timeout=10).values():
            future.result()

    def names(self) -> list[str]:
        return [self.telemetry, self.detections, self.dead_letters]

    def drop(self) -> None:
        self.delete(self.names())

    def delete(self, names: list[str]) -> None:
        admin = self.admin()
        for future in admin.delete_topics(names, operation_timeout=10).values():
            future.exception()

    def with_outputs_of_its_own(self) -> Topics:
        """The same telemetry, but other topics for what comes of it."""
        stem = f"{self.telemetry}.{uuid.uuid4().hex[:6]}"
        other = replace(self, detections=f"{stem}.detections", dead_letters=f"{stem}.dlq")
        other.make([NewTopic(other.detections, 1, 1), NewTopic(other.dead_letters, 1, 1)])
        return other


def publish(topics: Topics, messages: Iterable[tuple[bytes | None, bytes, int]], topic: str = "") -> None:
    """Send (key, value, timestamp in ms) to the telemetry topic, partitioned as all our producers do."""
    producer = Producer(
        {"bootstrap.servers": topics.brokers, "partitioner": "murmur2_random", "linger.ms": 5, "log_level": 0}
    )
    for key, value, timestamp_ms in messages:
        producer.produce(topic or topics.telemetry, value, key, timestamp=timestamp_ms)
        producer.poll(0)
    assert producer.flush(30) == 0


@dataclass(frozen=True)
class World:
    topics: Topics
    redis: str
    database: str
    name: str = field(default_factory=lambda: f"w{uuid.uuid4().hex[:12]}")
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def prefix(self) -> str:
        return f"{self.name}:"

    def configured(self, **settings: str) -> World:
        """The same world with more variables in its environment (`__` between sections, upper case)."""
        return replace(self, settings=(*self.settings, *settings.items()))

    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SENTINEL", "DJANGO", "PYTEST"))}
        own = {
            "SENTINEL__ENVIRONMENT": "development",
            "SENTINEL_CONFIG": str(ROOT / "config" / "sentinel.yaml"),
            "SENTINEL_LOG_LEVEL": "warn",
            "SENTINEL__INGESTION__KAFKA__BROKERS": f'["{self.topics.brokers}"]',
            "SENTINEL__INGESTION__KAFKA__TOPIC": self.topics.telemetry,
            "SENTINEL__INGESTION__KAFKA__DETECTIONS_TOPIC": self.topics.detections,
            "SENTINEL__INGESTION__KAFKA__DEAD_LETTER_TOPIC": self.topics.dead_letters,
            # Every world would read the same; tests of the role normalize name topics of their own.
            "SENTINEL__INGESTION__NORMALIZE": '{"spans_topic": null, "metrics_topic": null, "logs_topic": null}',
            "SENTINEL__INGESTION__CHECKPOINT_INTERVAL_MS": "250",
            "SENTINEL__STORAGE__BACKEND": "database",
            "SENTINEL__STORAGE__FLUSH_INTERVAL_MS": "100",
            "SENTINEL__STORAGE__REDIS__URL": self.redis,
            "SENTINEL__STORAGE__REDIS__KEY_PREFIX": self.prefix,
            "SENTINEL__DATABASE__URL": self.database,
            "SENTINEL__CELERY__BROKER_URL": "memory://",
            "DJANGO_SETTINGS_MODULE": "sentinel_site.settings",
        }
        return inherited | own | dict(self.settings)

    def start(self, *options: str, role: str = "all", failpoint: str = "") -> subprocess.Popen[str]:
        """A consumer process; its output is collected."""
        command = [sys.executable, "manage.py", "consume_telemetry", "--role", role, "--group-id", self.name, *options]
        environment = self.environment() | ({"SENTINEL_FAILPOINT": failpoint} if failpoint else {})
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def consume(self, *options: str, role: str = "all", failpoint: str = "") -> subprocess.CompletedProcess[str]:
        """Run a consumer to the end of its topics, or to its failpoint."""
        process = self.start("--until-end", *options, role=role, failpoint=failpoint)
        output = finish(process)
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    @contextmanager
    def forked(self) -> Iterator[Callable[..., int]]:
        """Consumers that start fast: call with options and a failpoint, get the exit code."""
        parent = subprocess.Popen(
            [sys.executable, "-m", "tests.ingestion.pipeline.forked"],
            cwd=ROOT,
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

        def consume(*options: str, failpoint: str = "-") -> int:
            words = [failpoint, "--group-id", self.name, "--until-end", *options]
            print(*words, file=parent.stdin, flush=True)
            return int(parent.stdout.readline())

        try:
            yield consume
        finally:
            parent.stdin.close()
            parent.wait(10)
            parent.stdout.close()

    def state_keys(self) -> list[bytes]:
        with redis.Redis.from_url(self.redis) as client:
            return sorted(client.scan_iter(f"{self.prefix}*"))

    def committed(self, role: str) -> dict[int, int]:
        """The group's offset of each telemetry partition, -1001 where there is none."""
        consumer = Consumer({"bootstrap.servers": self.topics.brokers, "group.id": f"{self.name}-{role}"})
        try:
            partitions = consumer.list_topics(self.topics.telemetry, 10).topics[self.topics.telemetry].partitions
            places = [TopicPartition(self.topics.telemetry, number) for number in partitions]
            return {place.partition: place.offset for place in consumer.committed(places, timeout=10)}
        finally:
            consumer.close()

    def ends(self) -> dict[int, int]:
        """The offset behind the newest message of each telemetry partition."""
        return ends(self.topics)


def ends(topics: Topics) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": topics.brokers, "group.id": f"look-{uuid.uuid4()}"})
    try:
        partitions = consumer.list_topics(topics.telemetry, 10).topics[topics.telemetry].partitions
        return {
            number: consumer.get_watermark_offsets(TopicPartition(topics.telemetry, number), timeout=10)[1]
            for number in partitions
        }
    finally:
        consumer.close()


def finish(process: subprocess.Popen[str], seconds: float = PROCESS_SECONDS) -> str:
    """Wait for a process to end by itself; returns its output. One that does not end is killed and fails the test."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"still running after {seconds:g} s: {process.communicate()[0][-3000:]}") from None


@contextmanager
def running(*processes: subprocess.Popen[str]) -> Iterator[None]:
    """Whatever happens, the processes end."""
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.communicate()


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def migrate(database: str) -> None:
    """The tables of the product in an empty database."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SENTINEL", "DJANGO"))}
    environment |= {"SENTINEL__DATABASE__URL": database, "SENTINEL__ENVIRONMENT": "development"}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env=environment, check=True, timeout=110
    )


@contextmanager
def migrated_template(server: str) -> Iterator[str]:
    """The name of a database to make others from."""
    name = f"pipeline_template_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    try:
        migrate(with_database(server, name))
        yield name
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def database_from(server: str, template: str) -> Iterator[str]:
    """The address of a new database like the template, dropped afterwards."""
    name = f"pipeline_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield with_database(server, name)
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def count(database: str, table: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(row[0]) if row else 0


def await_rows(database: str, table: str, least: int, deadline: float = 30.0) -> None:
    eventually(lambda: count(database, table) >= least, deadline=deadline, message=f"{least} rows in {table}")
