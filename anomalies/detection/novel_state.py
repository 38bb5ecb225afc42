"""Novelty as named pieces of bytes, and back.

    n:<room>                who has the room, and of each of its series what is no ring (ROOM, HEAD each)
    n:<room>:<row>:<ring><k> slots [k*SLOTS, (k+1)*SLOTS) of a ring of a series: `v` of its values, `d` of its distances
    n:<room>:<row>:s        the running sums of a series

Rings change in one place per minute, so little is written. Means, deviations and ranks follow from them to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from anomalies.detection import novelty
from anomalies.detection.novel import ROOM, SERIES, NoveltyTables
from anomalies.detection.novelty import CALIBRATION, DELAY, NOVELTY_STATE
from baselines.stats.codec import BrokenState

SLOTS = 500
_HEAD = ("seen", "lowest", "highest", "habituation", "loudest", "alerted_at")
HEAD = np.dtype([(name, NOVELTY_STATE[name]) for name in _HEAD])
_RINGS = {"v": "values", "d": "nearest"}


def layout() -> list[Any]:
    """What the pieces look like; those of another layout cannot be read."""
    return [str(ROOM.descr), str(HEAD.descr), SLOTS, *(str(NOVELTY_STATE[name]) for name in _RINGS.values())]


class NoveltyWriter:
    """Encodes what changed in the rooms; remembers how far each was written."""

    def __init__(self, novelties: NoveltyTables) -> None:
        self._written = np.full((len(novelties.rooms), 2), -1, np.int64)  # pair, samples

    def mark_written(self, novelties: NoveltyTables) -> None:
        """Take all of it for written: it was just loaded."""
        self._written = self._now(novelties)

    @staticmethod
    def _now(novelties: NoveltyTables) -> Any:
        return np.column_stack([novelties.rooms["pair"], novelties.states["seen"][:, 0]]).astype(np.int64)

    def encode(self, novelties: NoveltyTables) -> dict[str, bytes]:
        """The pieces of the rooms that took a minute since the last call."""
        now, pieces = self._now(novelties), dict[str, bytes]()
        changed = (now != self._written).any(axis=1) & ((now[:, 0] > 0) | (self._written[:, 0] > 0))
        for room in np.flatnonzero(changed).tolist():
            was_pair, was_seen = self._written[room].tolist()
            pair, seen = now[room].tolist()
            since = was_seen if pair == was_pair and was_seen <= seen else 0
            pieces |= _room_pieces(novelties, room, since)
        self._written = now
        return pieces


def _room_pieces(novelties: NoveltyTables, room: int, since: int) -> dict[str, bytes]:
    states = novelties.states[room]
    heads = np.zeros(SERIES, HEAD)
    for name in _HEAD:
        heads[name] = states[name]
    pieces = {f"n:{room}": novelties.rooms[room].tobytes() + heads.tobytes()}
    if novelties.rooms[room]["pair"] == 0:
        return pieces
    for row in range(SERIES):
        pieces[f"n:{room}:{row}:s"] = states[row]["squares"].tobytes()
        for letter, name in _RINGS.items():
            ring = states[row][name]
            for piece in _changed(since, int(states[row]["seen"]), len(ring)):
                pieces[f"n:{room}:{row}:{letter}{piece}"] = ring[piece * SLOTS : (piece + 1) * SLOTS].tobytes()
    return pieces


def _changed(since: int, seen: int, length: int) -> Iterator[int]:
    """The pieces of a ring that hold the samples [since, seen)."""
    first = max(since, seen - length)
    yield from sorted({number % length // SLOTS for number in range(first, seen)})


def load(novelties: NoveltyTables, pieces: Mapping[str, bytes]) -> None:
    """Fill fresh rooms from pieces of the same layout. Raises BrokenState if some are missing."""
    for room in range(len(novelties.rooms)):
        if (data := pieces.get(f"n:{room}")) is None:
            continue
        if len(data) != ROOM.itemsize + SERIES * HEAD.itemsize:
            raise BrokenState(f"the novelty of room {room} has {len(data)} bytes")
        novelties.rooms[room] = np.frombuffer(data, ROOM, 1)[0]
        pair = int(novelties.rooms[room]["pair"]) - 1
        if pair < 0:
            continue
        novelties.room_of[pair] = room
        heads = np.frombuffer(data, HEAD, SERIES, ROOM.itemsize)
        for row in range(SERIES):
            _load_series(novelties.states[room, row], heads[row], f"n:{room}:{row}:", pieces)


def _load_series(state: np.void, head: np.void, prefix: str, pieces: Mapping[str, bytes]) -> None:
    for name in _HEAD:
        state[name] = head[name]
    try:
        state["squares"][:] = np.frombuffer(pieces[f"{prefix}s"])
        for letter, name in _RINGS.items():
            ring = state[name]
            for piece in _changed(0, int(head["seen"]), len(ring)):
                ring[piece * SLOTS : (piece + 1) * SLOTS] = np.frombuffer(pieces[f"{prefix}{letter}{piece}"])
    except (KeyError, ValueError) as error:
        raise BrokenState(f"the novelty at {prefix} is not whole: {error!r}") from error
    novelty.derive(state)
    joined = int(head["seen"]) - DELAY
    ranked = np.arange(max(0, joined - CALIBRATION), max(0, joined))
    state["ordered"][: len(ranked)] = np.sort(state["nearest"][ranked % len(state["nearest"])])
