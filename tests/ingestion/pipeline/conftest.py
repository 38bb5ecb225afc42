"""Worlds for consumers, over the real Kafka, PostgreSQL and Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from tests.ingestion.pipeline.worlds import Topics, World, database_from, migrated_template
from tests.support.services import require

MakeWorld = Callable[..., World]


@pytest.fixture(scope="session")
def template() -> Iterator[str]:
    """A migrated database to make others from."""
    with migrated_template(require("postgres")) as name:
        yield name


@pytest.fixture
def topics() -> Iterator[Topics]:
    made = Topics.create(require("kafka"))
    yield made
    made.drop()


@pytest.fixture
def make_world(template: str, topics: Topics) -> Iterator[MakeWorld]:
    """Makes worlds over the same telemetry, each with its own groups, keys, database and output topics."""
    made: list[World] = []
    with ExitStack() as stack:

        def make(over: Topics = topics, **settings: str) -> World:
            database = stack.enter_context(database_from(require("postgres"), template))
            own = over.with_outputs_of_its_own()
            stack.callback(own.delete, [own.detections, own.dead_letters])
            made.append(World(own, require("redis"), database).configured(**settings))
            return made[-1]

        yield make
    with redis.Redis.from_url(require("redis")) as client:
        for world in made:
            for key in client.scan_iter(f"{world.prefix}*"):
                client.delete(key)
