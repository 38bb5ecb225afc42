"""A thread that makes work durable, in order, behind a bounded queue: what the roles' writers have in common."""

from __future__ import annotations

import queue
import threading
import time
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import structlog
from django.db import connections

from ingestion import metrics

log = structlog.get_logger(__name__)

Item = TypeVar("Item")
FIRST_DELAY = 0.2


class GivenUp(Exception):
    """The writer was told to end before the work was durable."""


class WritingThread(ABC, Generic[Item]):
    """Writes items in the order they were submitted, retrying what is unavailable until it is told to give up.

    `write` is called in a thread of its own, so that a slow store holds nobody up but this writer.
    """

    longest_delay = 5.0

    def __init__(self, name: str, queued: int) -> None:
        self._queue: queue.Queue[Item | None] = queue.Queue(queued)
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.failure: BaseException | None = None  # why it ended, if not because it should
        self.trouble: str | None = None  # what is being retried, for health

    @abstractmethod
    def write(self, item: Item) -> None:
        """Make one item durable. Raises GivenUp; anything else ends the writer as its failure."""

    # The side of the thread that reads

    def start(self) -> None:
        self._thread.start()

    @property
    def is_full(self) -> bool:
        return self._queue.full()

    @property
    def is_idle(self) -> bool:
        return self._queue.unfinished_tasks == 0

    def has_room(self, deadline: float) -> bool:
        """Wait up to `deadline` seconds for room in the queue; whether there is."""
        end = time.monotonic() + deadline
        while self._queue.full() and self.failure is None and time.monotonic() < end:
            time.sleep(0.02)
        return not self._queue.full()

    def submit(self, item: Item) -> None:
        """Queue an item; waits for room. Raises what ended the writer, if anything did."""
        while True:
            if self.failure is not None:
                raise self.failure
            try:
                self._queue.put(item, timeout=0.1)
                self._measure()
                return
            except queue.Full:
                continue

    def settle(self, deadline: float) -> bool:
        """Wait up to `deadline` seconds until all that was submitted is durable; whether it is."""
        with self._queue.all_tasks_done:
            self._queue.all_tasks_done.wait_for(
                lambda: not self._queue.unfinished_tasks or self.failure is not None, deadline
            )
            return not self._queue.unfinished_tasks and self.failure is None

    def stop(self, deadline: float) -> None:
        """Finish what is queued within `deadline` seconds, then end; what is left is read from Kafka again."""
        self.settle(deadline)
        self._give_up.set()
        if self._thread.is_alive():
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                log.warning("work_abandoned", writer=self._thread.name, reason="not durable in time; read again later")
            self._thread.join(1.0)

    # The writer's thread

    def _run(self) -> None:
        try:
            self._write_all()
        finally:
            connections.close_all()

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self.write(item)
            except GivenUp:
                return
            except Exception as error:
                log.exception("writer_failed", writer=self._thread.name, error=str(error))
                self.failure = error
            self._queue.task_done()
            self._measure()
            if self.failure is not None:
                return

    def _measure(self) -> None:
        metrics.WRITER_QUEUE.labels(self._thread.name).set(self._queue.unfinished_tasks)
        metrics.WRITER_TROUBLE.labels(self._thread.name).set(self.trouble is not None)

    def pause(self, delay: float) -> float:
        """Wait before the next try; returns the delay after it, up to `longest_delay`. Raises GivenUp."""
        self._measure()
        if self._give_up.wait(delay):
            raise GivenUp
        return min(2 * delay, self.longest_delay)
