"""A database that takes no writes (a full disk, a standby) is waited for; nothing is thrown away meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from tests.ingestion.kafka_reading import landed
from tests.ingestion.pipeline.conftest import Inhabit, MakeWorld
from tests.ingestion.pipeline.recordings import traffic
from tests.ingestion.pipeline.rows import differences, dump
from tests.ingestion.pipeline.threads import await_offsets, consume, consumer
from tests.ingestion.pipeline.worlds import World, publish
from tests.support.services import require
from tests.support.waiting import eventually


@contextmanager
def refusing_writes(database: str) -> Iterator[None]:
    """Every transaction of new sessions of this database is read-only; those that are open end."""
    name = sql.Identifier(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    with psycopg.connect(require("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name.as_string().strip('"')]
        )
        try:
            yield
        finally:
            admin.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [name.as_string().strip('"')],
            )


@pytest.mark.timeout(180)
def test_a_database_that_refuses_writes_is_waited_for(world: World, make_world: MakeWorld, inhabit: Inhabit) -> None:
    events = list(traffic(2000))
    with consumer(world) as detect, consumer(world, "store") as store:
        publish(world.topics, events[:1000])
        await_offsets(world, "detect")
        await_offsets(world, "store")
        before = world.committed("detect"), world.committed("store")
        with refusing_writes(world.database):
            publish(world.topics, events[1000:])
            eventually(lambda: detect.role.trouble and store.role.trouble, deadline=20)
            assert detect.runner.health()["status"] == "degraded"
            assert (world.committed("detect"), world.committed("store")) == before
        await_offsets(world, "detect")
        await_offsets(world, "store")
        assert (detect.stop(), store.stop()) == (0, 0)
    whole = make_world()
    inhabit(whole)
    consume(whole)
    assert not differences(dump(whole.database), dump(world.database))
    assert not landed(world.topics.brokers, world.topics.dead_letters)
