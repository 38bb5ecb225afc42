"""Time as publishers see it: a clock that can be stopped, and recorded times mapped to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event
from typing import Protocol

SECOND_NS = 1_000_000_000
GRAIN_NS = 2_000_000  # waiting for less costs more than it gives
LONGEST_WAIT_S = 0.5


class Clock(Protocol):
    """The time of day, and the only way to wait."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970 (UTC)."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait, at most until stopped; true if it is time to stop."""
        ...


class WallClock:
    """The machine's clock; waiting ends when `stop` is set."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop

    def now_ns(self) -> int:
        return time.time_ns()

    def wait(self, seconds: float) -> bool:
        return self._stop.wait(seconds)


class Pace:
    """Keeps the spacing of recorded times, `speed` times as fast: due = now at the first + (time - first) / speed.

    An infinite speed never waits. Times that run backwards are due at once. ValueError unless `speed` is above 0.
    """

    def __init__(self, clock: Clock, speed: float) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be above 0, not {speed}")
        self._clock = clock
        self._speed = speed
        self._origin: tuple[int, int] | None = None

    def due_ns(self, timestamp_ns: int) -> int:
        """When, by the clock, an event of that recorded time is due."""
        if self._origin is None:
            self._origin = timestamp_ns, self._clock.now_ns()
        first, begun = self._origin
        return begun + round((timestamp_ns - first) / self._speed)


def waits_until(clock: Clock, due_ns: int) -> Iterator[bool]:
    """Waits in short pieces until `due_ns`; after each says whether to stop. Empty when it is already due."""
    while (ahead := due_ns - clock.now_ns()) > GRAIN_NS:
        yield clock.wait(min(ahead / SECOND_NS, LONGEST_WAIT_S))
