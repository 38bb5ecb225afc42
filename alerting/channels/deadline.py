"""One deadline over everything that happens on a connection.

Time-outs of sockets begin anew with every byte, so a receiver that sends one byte a second would hold a worker for
hours. Here a timer cuts the connection when the time is up, whatever it is doing.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Deadline:
    """The end of one attempt, on the monotonic clock: clocks of the wall step."""

    seconds: float
    connections: list[socket.socket] = field(default_factory=list)
    passed: bool = False

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds
        self._lock = threading.Lock()

    def remaining(self) -> float:
        return self._end - time.monotonic()

    def watch(self, connection: socket.socket) -> None:
        """Cut `connection` when the time is up; a duplicate, because TLS takes the original over."""
        with self._lock:
            self.connections.append(connection.dup())
            if self.passed:
                self._cut()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        timer = threading.Timer(self.seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                for connection in self.connections:
                    connection.close()
                self.connections.clear()

    def _expire(self) -> None:
        with self._lock:
            self.passed = True
            self._cut()

    def _cut(self) -> None:
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
