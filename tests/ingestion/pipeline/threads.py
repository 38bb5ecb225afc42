"""Consumers as threads of the test's own process: they start fast, and several fit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from django.db import connections

from baselines.store import PartitionStore
from ingestion.detect import DetectRole
from ingestion.inlets import inlets_of
from ingestion.normalize import NormalizeRole
from ingestion.role import Role
from ingestion.runner import Runner
from ingestion.store import StoreRole
from ingestion.telemetry_store import TelemetryStore
from ingestion.telemetry_store.database import DatabaseStore
from sentinel_site.config import load_config
from sentinel_site.parts import database_settings
from tests.ingestion.pipeline.worlds import ROOT, World
from tests.support.waiting import eventually


class Consumer:
    """One role of a world in threads of this process."""

    def __init__(self, world: World, role: str = "detect", *, batch: int = 500, store: TelemetryStore | None = None):
        self.world = world
        config = load_config(env=world.environment())
        reading: dict[str, Any] = {
            "topics": [world.topics.telemetry],
            "group_id": f"{world.name}-{role}",
            "batch_size": batch,
        }
        self.role: Role
        if role == "detect":
            client = redis.Redis.from_url(world.redis, socket_timeout=2, socket_connect_timeout=1)
            self.role = DetectRole(config, PartitionStore(client, world.prefix), **reading)
        elif role == "normalize":
            del reading["topics"]
            self.role = NormalizeRole(config, inlets=inlets_of(config.ingestion.normalize), **reading)
        else:
            self.role = StoreRole(config, store or DatabaseStore(), **reading)
        self.runner = Runner([self.role])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"test-{role}", daemon=True)
        self.exit_code: int | None = None

    def _run(self) -> None:
        self.exit_code = self.runner.run(self._stop)

    def start(self) -> Consumer:
        self._thread.start()
        return self

    def stop(self, seconds: float = 20.0) -> int | None:
        """Tell it to leave and wait until it has."""
        self._stop.set()
        return self.join(seconds)

    def finish(self, seconds: float = 60.0) -> int | None:
        """Let it read to the end and wait until it has."""
        self.role.finish.set()
        return self.join(seconds)

    def join(self, seconds: float) -> int | None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"the consumer does not end: {self.role.trouble}"
        return self.exit_code


@contextmanager
def consumer(world: World, role: str = "detect", **options: Any) -> Iterator[Consumer]:
    """A running consumer, stopped at the end whatever happens."""
    made = Consumer(world, role, **options).start()
    try:
        yield made
    finally:
        made.stop()


def consume(world: World, *roles: str, **options: Any) -> None:
    """Read all there is with each of the roles in turn."""
    for role in roles or ("detect", "store"):
        made = Consumer(world, role, **options).start()
        assert made.finish() == 0, made.runner.failed


def await_offsets(world: World, role: str = "detect", deadline: float = 60.0) -> None:
    """Wait until all that is in the topic was read and committed."""
    ends = world.ends()

    def committed() -> bool:
        return all(offset >= ends[number] or not ends[number] for number, offset in world.committed(role).items())

    eventually(committed, deadline=deadline, interval=0.1, message=f"the group of {role} has read up")


@contextmanager
def living_in(database: str) -> Iterator[None]:
    """Threads that begin meanwhile have `database` as Django's default."""
    section = type("Section", (), {"url": database, "password": None, "conn_max_age": 60.0})
    usual = connections.settings["default"]
    connections.settings["default"] = {**usual, **database_settings(section, ROOT)}
    try:
        yield
    finally:
        connections.settings["default"] = usual
