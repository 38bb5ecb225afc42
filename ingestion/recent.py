"""Which events were seen lately: a repeated one is counted once.

An event is a repetition if its (service, event_id) stood within the last `window` offsets of its partition. Every
sighting counts, repetitions too, so the set is a function of the last `window` offsets alone: whoever reads those
again has the same set.

    i:<k>   sightings at offsets [k*SPAN, (k+1)*SPAN): (hash, offset) pairs, two uint64 each
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import xxhash

SPAN = 4096
NEVER = 1 << 63


def identity(service: str, event_id: str) -> int:
    """64 bits that stand for a (service, event_id)."""
    return xxhash.xxh3_64_intdigest(f"{service}\0{event_id}".encode())


class RecentIds:
    """The identities seen within the last `window` offsets of one partition."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._last: dict[int, int] = {}
        # By span, oldest first: identity, offset, identity, offset, as they are encoded.
        self._spans: dict[int, array[int]] = {}
        self._oldest = NEVER  # offset of the oldest sighting that is remembered,
        self._place = 0  # and where it stands in the oldest span
        self._changed: set[int] = set()
        self._span = -1  # the newest span, if it counts as changed,
        self._newest: array[int] = array("Q")  # and what is in it

    def is_repeated(self, identity: int, offset: int) -> bool:
        """Whether `identity` was seen lately; it is from now on. Offsets must not go back."""
        if self._oldest < offset - self._window:
            self._forget(offset - self._window)
        repeated = identity in self._last
        self._last[identity] = offset
        if offset // SPAN != self._span:
            self._change(offset)
        self._newest.extend((identity, offset))
        return repeated

    def _change(self, offset: int) -> None:
        self._span = offset // SPAN
        self._newest = self._spans.setdefault(self._span, array("Q"))
        self._changed.add(self._span)
        self._oldest = min(self._oldest, offset)

    def _forget(self, oldest: int) -> None:
        while self._spans:
            span, sightings = next(iter(self._spans.items()))
            self._forget_of(sightings, oldest)
            if self._place < len(sightings):
                self._oldest = sightings[self._place + 1]
                return
            del self._spans[span]
            self._place = 0
        self._oldest, self._span = NEVER, -1

    def _forget_of(self, sightings: array[int], oldest: int) -> None:
        while self._place < len(sightings) and sightings[self._place + 1] < oldest:
            identity, seen = sightings[self._place], sightings[self._place + 1]
            if self._last.get(identity) == seen:
                del self._last[identity]
            self._place += 2

    def encode(self) -> dict[str, bytes]:
        """The pieces that changed since they were last encoded."""
        pieces = {f"i:{span}": self._spans[span].tobytes() for span in self._changed & self._spans.keys()}
        self._changed, self._span = set(), -1
        return pieces

    def mark_changed(self) -> None:
        """Have all pieces encoded the next time."""
        self._changed = set(self._spans)

    def outdated(self, names: set[str], offset: int) -> set[str]:
        """The names of pieces that lie wholly before the window that ends at `offset`."""
        oldest = offset - self._window
        return {name for name in names if name.startswith("i:") and (int(name[2:]) + 1) * SPAN <= oldest}

    def load(self, pieces: Mapping[str, bytes]) -> None:
        """Take over the sightings that `encode` wrote."""
        for span in sorted(int(name[2:]) for name, piece in pieces.items() if name.startswith("i:") and piece):
            sightings = self._spans[span] = array("Q", pieces[f"i:{span}"])
            self._last.update(zip(sightings[::2], sightings[1::2], strict=True))
        if self._spans:
            self._oldest = next(iter(self._spans.values()))[1]
