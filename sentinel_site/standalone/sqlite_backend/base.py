"""Django's SQLite backend with one queue of writers.

SQLite lets one connection write at a time; the others poll with growing pauses, so under load some of them wait for
seconds or give up. Threads of one process can do better: they take a lock before they begin, and get their turn at
once. Other processes still meet at SQLite's own lock and its busy_timeout.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

DEFAULT_TIMEOUT = 20.0
READS = ("SELECT", "PRAGMA", "EXPLAIN", "BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT")

_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class Turn:
    """A connection's claim to be the one writer of its database."""

    def __init__(self, database: str, timeout: float) -> None:
        self._lock = _locks[database]
        self._timeout = timeout
        self._held = False

    def take(self) -> None:
        """Wait for it. Raises OperationalError after the time-out, as SQLite itself would."""
        if not self._held:
            if not self._lock.acquire(timeout=self._timeout):
                raise OperationalError(f"database is locked: another thread has been writing for {self._timeout:g} s")
            self._held = True

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._lock.release()

    @contextmanager
    def for_one_statement(self) -> Iterator[None]:
        """Within a transaction it is held already, and stays so."""
        was_held = self._held
        self.take()
        try:
            yield
        finally:
            if not was_held:
                self.give_back()


class Cursor(base.SQLiteCursorWrapper):
    """Takes the turn around a single write outside any transaction."""

    turn: Turn

    def execute(self, query: str, params: Any = None) -> Any:
        if query.lstrip()[:9].upper().startswith(READS):
            return super().execute(query, params)
        with self.turn.for_one_statement():
            return super().execute(query, params)

    def executemany(self, query: str, param_list: Any) -> Any:
        with self.turn.for_one_statement():
            return super().executemany(query, param_list)


class DatabaseWrapper(base.DatabaseWrapper):
    """Holds the turn from BEGIN IMMEDIATE to COMMIT or ROLLBACK."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        timeout = self.settings_dict.get("OPTIONS", {}).get("timeout", DEFAULT_TIMEOUT)
        self._turn = Turn(str(self.settings_dict["NAME"]), timeout)

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = self.connection.cursor(factory=Cursor)
        cursor.turn = self._turn
        return cursor

    def _start_transaction_under_autocommit(self) -> None:
        self._turn.take()
        try:
            super()._start_transaction_under_autocommit()
        except BaseException:
            self._turn.give_back()
            raise

    def _commit(self) -> Any:
        result = super()._commit()  # one that fails is followed by a rollback
        self._turn.give_back()
        return result

    def _rollback(self) -> Any:
        try:
            return super()._rollback()
        finally:
            self._turn.give_back()

    def _close(self) -> Any:
        try:
            return super()._close()
        finally:
            self._turn.give_back()
