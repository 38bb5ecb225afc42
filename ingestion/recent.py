"""Which events were seen lately: a repeated one is counted once.

An event is a repetition if its (service, event_id) stood within the last `window` offsets of its partition. Every
sighting counts, repetitions too, so the set is a function of the last `window` offsets alone: whoever reads those
again has the same set.

    i:<k>   sightings at offsets [k*SPAN, (k+1)*SPAN): (hash, offset) pairs, two uint64 each
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
import xxhash

SPAN = 4096


def identity(service: str, event_id: str) -> int:
    """64 bits that stand for a (service, event_id)."""
    return xxhash.xxh3_64_intdigest(f"{service}\0{event_id}".encode())


class RecentIds:
    """The identities seen within the last `window` offsets of one partition."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._last: dict[int, int] = {}
        self._sightings: deque[tuple[int, int]] = deque()
        self._changed: set[int] = set()
        self._changing = -1  # the newest of them

    def is_repeated(self, identity: int, offset: int) -> bool:
        """Whether `identity` was seen lately; it is from now on. Offsets must not go back."""
        sightings = self._sightings
        oldest = offset - self._window
        if sightings and sightings[0][1] < oldest:
            self._forget(oldest)
        repeated = identity in self._last
        self._last[identity] = offset
        sightings.append((identity, offset))
        span = offset // SPAN
        if span != self._changing:
            self._changing = span
            self._changed.add(span)
        return repeated

    def _forget(self, oldest: int) -> None:
        while self._sightings and self._sightings[0][1] < oldest:
            identity, seen = self._sightings.popleft()
            if self._last.get(identity) == seen:
                del self._last[identity]

    def encode(self) -> dict[str, bytes]:
        """The pieces that changed since they were last encoded."""
        if not self._changed:
            return {}
        first = min(self._changed) * SPAN
        parts: dict[int, list[tuple[int, int]]] = {span: [] for span in self._changed}
        for sighting in reversed(self._sightings):
            if sighting[1] < first:
                break
            if sighting[1] // SPAN in parts:
                parts[sighting[1] // SPAN].append(sighting)
        self._changed, self._changing = set(), -1
        return {f"i:{span}": np.array(part[::-1], np.uint64).tobytes() for span, part in parts.items()}

    def mark_changed(self) -> None:
        """Have all pieces encoded the next time."""
        self._changed = {offset // SPAN for _, offset in self._sightings}

    def outdated(self, names: set[str], offset: int) -> set[str]:
        """The names of pieces that lie wholly before the window that ends at `offset`."""
        oldest = offset - self._window
        return {name for name in names if name.startswith("i:") and (int(name[2:]) + 1) * SPAN <= oldest}

    def load(self, pieces: Mapping[str, bytes]) -> None:
        """Take over the sightings that `encode` wrote."""
        spans = sorted(int(name[2:]) for name in pieces if name.startswith("i:"))
        for span in spans:
            for identity, offset in np.frombuffer(pieces[f"i:{span}"], np.uint64).reshape(-1, 2).tolist():
                self._last[identity] = offset
                self._sightings.append((identity, offset))
