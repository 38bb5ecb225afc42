"""How much of what comes in at once is unpacked at once: threads share a process's memory."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LARGE = 1 << 20
"""Bytes of a body after which memory is given back to the system."""
CAPACITY = 4 << 20
"""Bytes of bodies. Small ones unpack to fifty times their size at worst, larger ones go one at a time."""
WAIT_SECONDS = 5.0


# Of glibc, where that is what there is: it keeps what each thread has freed for that thread.
_trim: Callable[[int], int] = getattr(ctypes.CDLL(None), "malloc_trim", lambda _padding: 0)


def give_back() -> None:
    """Return memory that is free to the system."""
    _trim(0)


class NoRoom(Exception):
    """Others took all the room for too long."""


class Room:
    """Lets bodies of `capacity` bytes together be worked on at a time, or one that is larger."""

    def __init__(self, capacity: int = CAPACITY, wait_seconds: float = WAIT_SECONDS) -> None:
        self._capacity, self._wait_seconds = capacity, wait_seconds
        self._left = capacity
        self._changed = threading.Condition()

    @contextmanager
    def taken_by(self, size: int) -> Iterator[None]:
        """Room for a body of `size` bytes, as soon as there is some. Raises NoRoom."""
        share = min(size, self._capacity)
        with self._changed:
            if not self._changed.wait_for(lambda: self._left >= share, self._wait_seconds):
                raise NoRoom
            self._left -= share
        try:
            yield
        finally:
            if size > LARGE:
                give_back()
            with self._changed:
                self._left += share
                self._changed.notify_all()


bodies = Room()
"""What this process works on."""
