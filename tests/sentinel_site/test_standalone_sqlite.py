"""SQLite with one queue of writers. Each test has a database file and connections of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.db.utils import ConnectionHandler

from sentinel_site.standalone.sqlite_backend.base import DatabaseWrapper
from tests.support.waiting import eventually

Connect = Callable[..., DatabaseWrapper]


@pytest.fixture
def connect(tmp_path: Path, django_db_blocker: Any) -> Iterator[Connect]:
    """Makes connections to one file, each as a thread of its own would have it."""
    made: list[Any] = []

    def new(timeout: float = 10) -> DatabaseWrapper:
        # Without SQLite's own patience, what waits here waits in our queue.
        pragmas = "PRAGMA journal_mode=WAL;PRAGMA busy_timeout=0;"
        options = {"transaction_mode": "IMMEDIATE", "timeout": timeout, "init_command": pragmas}
        entry = {"ENGINE": "sentinel_site.standalone.sqlite_backend", "NAME": str(tmp_path / "db"), "OPTIONS": options}
        connection = ConnectionHandler({"default": entry})["default"]
        connection.inc_thread_sharing()
        made.append(connection)
        return connection

    with django_db_blocker.unblock():  # it guards the suite's own database, which is not touched here
        with new().cursor() as cursor:
            cursor.execute("CREATE TABLE counter (n INTEGER)")
            cursor.execute("INSERT INTO counter VALUES (0)")
        yield new
        for connection in made:
            connection.close()


def begin(connection: DatabaseWrapper) -> None:
    connection.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)


def end(connection: DatabaseWrapper) -> None:
    connection.commit()
    connection.set_autocommit(True)


def add_one(connection: DatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE counter SET n = n + 1")


def count(connection: DatabaseWrapper) -> int:
    with connection.cursor() as cursor:
        return int(cursor.execute("SELECT n FROM counter").fetchone()[0])


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_writer_waits_for_its_turn_and_then_sees_what_was_written(connect: Connect) -> None:
    first, second = connect(), connect()
    begin(first)
    add_one(first)
    seen: list[int] = []

    def write() -> None:
        begin(second)
        seen.append(count(second))
        add_one(second)
        end(second)

    waiting = in_thread(write)
    waiting.join(0.2)
    assert waiting.is_alive()
    end(first)
    waiting.join(5)
    assert seen == [1]
    assert count(first) == 2


def test_a_single_write_outside_a_transaction_waits_too(connect: Connect) -> None:
    first, second = connect(), connect()
    begin(first)
    waiting = in_thread(lambda: add_one(second))
    waiting.join(0.2)
    assert waiting.is_alive()
    end(first)
    waiting.join(5)
    assert count(second) == 1


def test_readers_do_not_wait(connect: Connect) -> None:
    first, second = connect(), connect(timeout=0.1)
    begin(first)
    add_one(first)
    assert count(second) == 0
    end(first)


def test_whoever_waits_too_long_is_told(connect: Connect) -> None:
    first, second = connect(), connect(timeout=0.1)
    begin(first)
    with pytest.raises(OperationalError, match="database is locked"):
        begin(second)
    end(first)
    begin(second)
    end(second)


@pytest.mark.parametrize("leave", ["rollback", "close"])
def test_the_turn_is_given_back_however_a_transaction_ends(connect: Connect, leave: str) -> None:
    first, second = connect(), connect(timeout=1)
    begin(first)
    add_one(first)
    getattr(first, leave)()
    add_one(second)
    assert count(second) == 1


def test_a_failed_statement_does_not_keep_the_turn(connect: Connect) -> None:
    first, second = connect(), connect(timeout=1)
    with pytest.raises(OperationalError, match="no such table"), first.cursor() as cursor:
        cursor.execute("INSERT INTO nowhere VALUES (1)")
    add_one(second)
    assert count(second) == 1


def test_no_increment_of_many_threads_is_lost(connect: Connect) -> None:
    def work(connection: DatabaseWrapper) -> None:
        for _ in range(20):
            begin(connection)
            now = count(connection)
            with connection.cursor() as cursor:
                cursor.execute("UPDATE counter SET n = %s", [now + 1])
            end(connection)

    writers = [connect() for _ in range(6)]
    threads = [in_thread(lambda writer=writer: work(writer)) for writer in writers]
    eventually(lambda: not any(thread.is_alive() for thread in threads), deadline=30)
    assert count(connect()) == 120


def test_djangos_own_database_uses_it() -> None:
    from django.conf import settings

    if settings.SENTINEL.database.engine != "sqlite":
        pytest.skip("the suite runs on PostgreSQL")
    assert isinstance(transaction.get_connection(), DatabaseWrapper)
