"""The bounded queue between the caller and the transport, and the thread that empties it."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass

from llm_sentinel.transport import Delivery, Message, Transport

EXIT_SECONDS = 5.0
CLOSING_PAUSE_SECONDS = 0.2
JOIN_SECONDS = 1.0
COMPLAINT_SECONDS = 30.0

log = logging.getLogger("llm_sentinel")


@dataclass(frozen=True)
class Statistics:
    """What became of the events so far: accepted = delivered + rejected + lost + pending.

    Events that were not even accepted: `dropped` because the queue was full or closed, `invalid` because the server
    would have refused them. `last_problem` says why the last one went wrong. A forked child counts from zero.
    """

    accepted: int = 0
    delivered: int = 0
    rejected: int = 0
    lost: int = 0
    dropped: int = 0
    invalid: int = 0
    last_problem: str = ""

    @property
    def settled(self) -> int:
        return self.delivered + self.rejected + self.lost

    @property
    def pending(self) -> int:
        """Events in the queue or on their way."""
        return self.accepted - self.settled


class Outbox:
    """Takes messages without ever waiting; a daemon thread of its own hands them to the transport in batches.

    The thread begins with the first message, so that a server that forks its workers has none to lose. Messages
    that wait when a process forks are delivered by the parent; the child begins empty.
    """

    def __init__(self, transport: Transport, *, max_events: int, max_bytes: int) -> None:
        self._transport = transport
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._closed = False
        self._begin()
        _open.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()  # reentrant: a signal handler may send in the midst of sending
        self._waiting: deque[Message] = deque()
        self._bytes = 0  # of all that is pending
        self._counts = dict.fromkeys(("accepted", "delivered", "rejected", "lost", "dropped", "invalid"), 0)
        self._pending = 0
        self._last_problem = ""
        self._hurried = 0
        self._given_up = False
        self._thread: threading.Thread | None = None
        self._complained_at = float("-inf")

    @property
    def statistics(self) -> Statistics:
        with self._changed:
            return Statistics(**self._counts, last_problem=self._last_problem)

    def put(self, message: Message) -> bool:
        """Queue a message; false if it was dropped instead."""
        with self._changed:
            reason = self._refusal(message)
            if not reason:
                self._accept(message)
                return True
            self._count(reason, dropped=1)
        self._complain()
        return False

    def refuse(self, reason: str) -> None:
        """Count an event that could not be made into a message."""
        with self._changed:
            self._count(reason, invalid=1)
        self._complain()

    def flush(self, timeout: float) -> bool:
        """Wait until all that was accepted before is settled; false if `timeout` seconds were not enough."""
        with self._changed:
            settled = self._counts["accepted"]
            self._hurried += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: self._counts["accepted"] - self._pending >= settled, timeout)
            finally:
                self._hurried -= 1

    def close(self, timeout: float) -> bool:
        """Accept nothing more, deliver what is pending for up to `timeout` seconds, count the rest as lost."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._pending, timeout)
            if not done:
                self._give_up()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)
        _open.discard(self)
        if not done:
            self._complain()
        return done

    def after_fork(self) -> None:
        self._begin()
        self._transport.after_fork()

    def _refusal(self, message: Message) -> str:
        if self._closed:
            return "the producer is closed"
        if self._pending >= self._max_events or self._bytes + len(message.value) > self._max_bytes:
            return f"the queue is full ({self._pending} events, {self._bytes} bytes)"
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="llm-sentinel", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # no more threads, or the interpreter is about to end
                self._thread = None
                return str(error)
        return ""

    def _accept(self, message: Message) -> None:
        self._waiting.append(message)
        self._bytes += len(message.value)
        self._pending += 1
        self._counts["accepted"] += 1
        if len(self._waiting) in (1, self._transport.batch_events):
            self._changed.notify_all()

    def _count(self, reason: str, **more: int) -> None:
        for name, number in more.items():
            self._counts[name] += number
        self._last_problem = reason or self._last_problem

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                delivery = self._transport.deliver(batch, self._pause)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next batch may fare better
                delivery = Delivery(lost=len(batch), reason=f"{type(error).__name__}: {error}")
            self._settle(batch, delivery)
        self._transport.close()

    def _next_batch(self) -> list[Message]:
        """The next messages to deliver; waits for them. Empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._changed.wait_for(self._is_due, self._transport.linger_seconds)
            batch: list[Message] = []
            size = 0
            while self._waiting and len(batch) < self._transport.batch_events and size < self._transport.batch_bytes:
                batch.append(self._waiting.popleft())
                size += len(batch[-1].value)
            return batch

    def _is_due(self) -> bool:
        return self._closed or self._hurried > 0 or len(self._waiting) >= self._transport.batch_events

    def _settle(self, batch: list[Message], delivery: Delivery) -> None:
        delivered = len(batch) - delivery.rejected - delivery.lost
        with self._changed:
            self._bytes -= sum(len(message.value) for message in batch)
            self._pending -= len(batch)
            self._count(delivery.reason, delivered=delivered, rejected=delivery.rejected, lost=delivery.lost)
            self._changed.notify_all()
        if delivery.rejected or delivery.lost:
            self._complain()

    def _give_up(self) -> None:
        self._given_up = True
        self._count("closed before it could be delivered", lost=len(self._waiting))
        self._pending -= len(self._waiting)
        self._bytes -= sum(len(message.value) for message in self._waiting)
        self._waiting.clear()
        self._changed.notify_all()

    def _pause(self, seconds: float) -> bool:
        with self._changed:
            was_closed = self._closed
            seconds = min(seconds, CLOSING_PAUSE_SECONDS) if was_closed else seconds
            self._changed.wait_for(lambda: self._given_up or self._closed != was_closed, seconds)
            return self._given_up

    def _complain(self) -> None:
        """Say in the log that events go missing, but not more than twice a minute."""
        now = time.monotonic()
        with self._changed:
            if now - self._complained_at < COMPLAINT_SECONDS:
                return
            self._complained_at = now
        counts = self.statistics
        log.warning(
            "telemetry goes missing (%d dropped, %d invalid, %d rejected, %d lost so far): %s",
            *(counts.dropped, counts.invalid, counts.rejected, counts.lost, counts.last_problem),
        )


_open: set[Outbox] = set()


def _close_all() -> None:
    """Deliver what is pending when the interpreter ends; all outboxes share one deadline."""
    end = time.monotonic() + EXIT_SECONDS
    for outbox in list(_open):
        outbox.close(max(0.0, end - time.monotonic()))


def _begin_in_child() -> None:
    for outbox in list(_open):
        outbox.after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
