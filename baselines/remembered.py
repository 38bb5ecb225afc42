"""What is asked with every request and seldom changes: remembered for seconds, by each process for itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from django.conf import settings

from baselines import metrics

Found = TypeVar("Found")
MOST = 4096


def configured_seconds() -> float:
    """`api.access_cache_secs`."""
    return float(settings.SENTINEL.api.access_cache_secs)


class Remembered(Generic[Found]):
    """Answers by key, for `seconds` at most: so long may what was taken away still count.

    Threads may share it: at worst two of them look for the same answer.
    """

    def __init__(
        self,
        seconds: Callable[[], float] = configured_seconds,
        clock: Callable[[], float] = time.monotonic,
        *,
        name: str,
    ) -> None:
        """`name`: of the cache, in its metrics."""
        self._name = name
        self._seconds, self._clock = seconds, clock
        self._answers: dict[Hashable, tuple[float, Found]] = {}

    def get(self, key: Hashable, find: Callable[[], Found]) -> Found:
        """The answer of `find`, or what it was a moment ago."""
        now, known = self._clock(), self._answers.get(key)
        if known is not None and now < known[0]:
            metrics.CACHE_HITS.labels(self._name).inc()
            return known[1]
        metrics.CACHE_MISSES.labels(self._name).inc()
        found = find()
        if len(self._answers) >= MOST:
            self._answers.clear()
        self._answers[key] = (now + self._seconds(), found)
        self._measure()
        return found

    def forget(self) -> None:
        """Start anew, because something has changed here."""
        self._answers.clear()
        self._measure()

    def _measure(self) -> None:
        metrics.CACHE_SIZE.labels(self._name).set(len(self._answers))
