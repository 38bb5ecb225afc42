"""Hearing what operators say, a few seconds after they said it, without holding up the thread that scores."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from anomalies.detection.instructions import Instructions

log = structlog.get_logger(__name__)

EVERY_SECONDS = 3.0
FIRST_SECONDS = 5.0


class InstructionWatch:
    """Asks for the instructions now and then, in a thread of its own; a database that is down delays the news."""

    def __init__(self, ask: Callable[[], Instructions], every: float = EVERY_SECONDS) -> None:
        self._ask = ask
        self._every = every
        self._ended = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._run, name="instruction-watch", daemon=True)
        self.newest: Instructions | None = None  # None until the first answer; the same object while nothing changes

    def start(self) -> None:
        """Begin to ask, and wait a while for the first answer: what begins now is to begin under it."""
        self._thread.start()
        if not self._answered.wait(FIRST_SECONDS):
            log.warning("instructions_unknown", waiting_for="database")

    def stop(self) -> None:
        """Ask no more."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._look()
                self._ended.wait(self._every)
        finally:
            connections.close_all()

    def _look(self) -> None:
        try:
            close_old_connections()
            answer = self._ask()
        except (DatabaseError, InterfaceError) as error:
            log.warning("instructions_not_read", error=str(error).strip())
            return
        if answer != self.newest:
            log.info("instructions", version=answer.version)
            self.newest = answer
        self._answered.set()
