"""Tells open pages that something changed: server-sent events of a few bytes; what changed, the pages fetch.

A watcher looks at its fingerprint once a second. Fingerprints are read once a second for all who see the same, so the
database is asked as often for a thousand watchers as for one. Asynchronous watchers are coroutines of the process of
their own that serves `/live/` (`sentinel_site.asgi`); the standalone lets a few threads of its web server wait.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Callable

import msgspec
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.db.models import Max

from anomalies.models import Incident, Status, Transition
from baselines.models import TelemetryMinute
from sentinel_site.dashboard.entrance import Sight
from sentinel_site.dashboard.momentary import Momentary

EVERY = 1.0
"""Seconds between two looks."""
HEARTBEAT = 3
"""Looks after which something is sent in any case: proxies keep the connection, and who has gone is found out."""
LONGEST = 300
"""Looks after which a watcher has to come again: by then it may have been signed out."""
RETRY_MS = 2000
NEWEST_WATCHED = 200
_COLUMNS = ("id", "status", "state", "severity", "anomaly_count", "last_seen")
recent: Momentary[str] = Momentary(EVERY * 0.9)


def fingerprint(sight: Sight) -> str:
    """Changes whenever a page would: with the newest incidents and with telemetry that arrives."""
    return recent.get(sight, lambda: read_fingerprint(sight))


def read_fingerprint(sight: Sight) -> str:
    newest = Incident.objects.visible_to(sight).order_by("-first_seen", "-id")
    incidents = list(newest.values_list(*_COLUMNS)[:NEWEST_WATCHED])
    still_open = newest.filter(status=Status.OPEN)
    incidents += still_open.values_list(*_COLUMNS)[:NEWEST_WATCHED]
    acts = Transition.objects.aggregate(newest=Max("id"))["newest"]
    minutes = TelemetryMinute.objects.aggregate(newest=Max("id"))["newest"]
    seen = hashlib.sha256(msgspec.json.encode((incidents, acts))).hexdigest()[:16]
    return f"{seen}-{minutes or 0}"


class Watcher:
    """What one open page has been told. `known` is the fingerprint it came with, empty at its first time."""

    def __init__(self, sight: Sight, known: str = "") -> None:
        self._sight, self._known = sight, known
        self._looks = 0
        self.is_over = False

    def look(self) -> bytes:
        """What to send now; may be nothing."""
        self._looks += 1
        self.is_over = self._looks >= LONGEST
        current = fingerprint(self._sight)
        if current != self._known:
            self._known = current
            return event(current)
        return b": still here\n\n" if self._looks % HEARTBEAT == 1 else b""


def event(current: str) -> bytes:
    return f"id: {current}\nevent: changed\nretry: {RETRY_MS}\ndata: {current}\n\n".encode()


class Frames:
    """For a thread that waits. `is_gone` says whether the page was closed, `done` is called once it is over."""

    def __init__(
        self,
        watcher: Watcher,
        *,
        wait: Callable[[float], object] = time.sleep,
        is_gone: Callable[[], bool] = lambda: False,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self._watcher, self._wait, self._is_gone, self._done = watcher, wait, is_gone, done
        self._is_first, self._is_closed = True, False

    def __iter__(self) -> Frames:
        return self

    def __next__(self) -> bytes:
        while not (self._is_closed or self._watcher.is_over or self._is_gone()):
            if not self._is_first:
                self._wait(EVERY)
            self._is_first = False
            try:
                if sent := self._watcher.look():
                    return sent
            finally:
                close_old_connections()
        self.close()
        raise StopIteration

    def close(self) -> None:
        """The server calls it in any case, also when it never asked for a frame."""
        if not self._is_closed:
            self._is_closed = True
            self._done()


async def async_frames(watcher: Watcher) -> AsyncIterator[bytes]:
    """For a coroutine."""
    look = sync_to_async(_look_and_let_go, thread_sensitive=False)
    while not watcher.is_over:
        if sent := await look(watcher):
            yield sent
        await asyncio.sleep(EVERY)


def _look_and_let_go(watcher: Watcher) -> bytes:
    try:
        return watcher.look()
    finally:
        close_old_connections()


class Seats:
    """So many watchers may hold a thread of this process; the others poll."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count) if count else None

    def take(self) -> bool:
        return self._free is not None and self._free.acquire(blocking=False)

    def leave(self) -> None:
        if self._free is not None:
            self._free.release()
