"""Answers that hold for a moment: however many people look at the same thing, it is read once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Momentary(Generic[Answer]):
    """Keeps each answer for `seconds`; who asks while one is being made waits for that one."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._guard = threading.Lock()
        self._kept: dict[Hashable, tuple[float, Answer]] = {}
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], Answer]) -> Answer:
        """The answer for `key`: the one kept while fresh, else what `make` returns; what it raises is not kept."""
        with self._guard:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            kept = self._kept.get(key)
            if kept is not None and self._clock() < kept[0]:
                return kept[1]
            answer = make()
            self._keep(key, answer)
            return answer

    def clear(self) -> None:
        with self._guard:
            self._kept.clear()
            self._making.clear()

    def _keep(self, key: Hashable, answer: Answer) -> None:
        now = self._clock()
        with self._guard:
            for old in [each for each, (until, _) in self._kept.items() if until <= now and each != key]:
                del self._kept[old]
                self._making.pop(old, None)
            self._kept[key] = (now + self._seconds, answer)
