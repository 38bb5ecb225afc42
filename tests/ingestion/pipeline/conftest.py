"""Worlds for consumers, over the real Kafka, PostgreSQL and Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis
from pytest_django import DjangoDbBlocker

from tests.ingestion.pipeline.threads import living_in
from tests.ingestion.pipeline.worlds import Topics, World, database_from, migrated_template
from tests.support.services import require

MakeWorld = Callable[..., World]
Inhabit = Callable[[World], None]


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


@pytest.fixture
def world(make_world: MakeWorld, inhabit: Inhabit) -> World:
    """A world whose database is the default one of every thread that begins during the test."""
    made = make_world()
    inhabit(made)
    return made


@pytest.fixture
def inhabit(django_db_blocker: DjangoDbBlocker) -> Iterator[Inhabit]:
    """Makes the database of a world the default one of every thread that begins from now on."""
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        yield lambda world: stack.enter_context(living_in(world.database))
