"""What is asked with every request and seldom changes: remembered for seconds, by each process for itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from django.conf import settings

Found = TypeVar("Found")
MOST = 4096


class Remembered(Generic[Found]):
    """Answers by key, for `api.access_cache_secs` at most: so long may what was taken away still count.

    Threads may share it: at worst two of them look for the same answer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, Found]] = {}

    def get(self, key: Hashable, find: Callable[[], Found]) -> Found:
        """The answer of `find`, or what it was a moment ago."""
        now, known = self._clock(), self._answers.get(key)
        if known is not None and now < known[0]:
            return known[1]
        found = find()
        if len(self._answers) >= MOST:
            self._answers.clear()
        self._answers[key] = (now + settings.SENTINEL.api.access_cache_secs, found)
        return found

    def forget(self) -> None:
        """Start anew, because something has changed here."""
        self._answers.clear()
