"""Embeddings of a pair's calls, where events carry them, watched for drift.

    score = d(reference, recent) / max(0.1, noise)        d: cosine distance of the two mean vectors

One event in eight is learned, as for `anomalies.detection.distributions`, whose course comparisons and episodes follow.
Two sums of unit vectors are kept, which fade over 500 and over 4000 vectors; the slower one, the reference, rests
while something is odd. Noise is twenty times what the scatter of the vectors around their mean leads to expect by
chance (see `anomalies.detection.drift`). An episode that no vector follows any more ends after a day.

The first vector of a pair decides on the dimension, at most 4096. Those of another one (of another model), and those
without a direction (zeros, numbers that are not finite) are skipped and counted.

Unit: of `value`, the cosine distance; the upper edge is what it may reach. Severity: info, a warning from twice that; a
distance is absolute, so `min_deviation` says nothing of it.
False alarms: none of 118 000 comparisons of independent vectors in 2 to 768 dimensions rang, none of 7 600 where 160
events in a row are about the same one of 50 topics, one in 400 where 800 are (two in a row open an episode). State: 8
bytes per dimension and pair (12 kB for vectors of 1536 numbers), and none for pairs without embeddings. Source: the
cosine distance of mean embeddings is a usual test of drift of texts, for example Feldhans et al., "Drift Detection in
Text Data with Document Embeddings", IDEAL 2021.

>>> import numpy as np
>>> state, sums = np.zeros(1, EMBEDDING_STATE)[0], np.zeros((2, 3), np.float32)
>>> random = np.random.default_rng(1)
>>> for noise in random.normal(0.0, 0.3, (2000, 3)):
...     learn(state, sums, noise + [1.0, 0.0, 0.0], True)
>>> distance(sums) < limit(state, sums)
True
>>> for noise in random.normal(0.0, 0.3, (500, 3)):
...     learn(state, sums, noise + [0.0, 1.0, 0.0], False)
>>> distance(sums) > limit(state, sums)
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import drift
from anomalies.detection.arrays import NO_ROW, UP, Columns, Found, Tables
from anomalies.detection.distributions import (
    COURSE,
    RECENT_MEMORY,
    REFERENCE_MEMORY,
    is_disturbed,
    is_due,
    is_kept_out,
    judge,
    slot_of,
)
from anomalies.detection.episodes import NO_EVENT, Moment, Outlook, Place
from baselines.stats.compiled import compiled
from baselines.stats.series import EMBEDDING
from baselines.stats.window import Record

MAX_DIMENSION = 4096
A_DAY_MS = 86_400_000

EMBEDDING_STATE = np.dtype(
    [
        *COURSE,
        ("taken", "<i8"),  # vectors that were not skipped, since the first one
        ("references", "<f4"),  # how many vectors the reference is worth, as it fades
        ("recents", "<f4"),
        ("dimension", "<i4"),
    ]
)
REFERENCE, RECENT = 0, 1  # rows of the sums

Vector = NDArray[np.float64]  # [dimension]
Vectors = Mapping[int, Vector]  # by the place of their event in a batch


@compiled
def length_of(vector: Vector) -> float:
    """The length of a vector; 0 if it has no direction, as one has with a number that is not finite."""
    squares = 0.0
    for number in vector:
        squares += number * number
    return math.sqrt(squares) if 0.0 < squares < math.inf else 0.0


@compiled
def learn(state: Record, sums: NDArray[np.float32], vector: Vector, is_calm: bool) -> None:
    """Learn the direction of a vector; the reference learns it if `is_calm`. `sums` is float32[2, dimension]."""
    if state.learned == 0:
        state.references, state.recents = 0.0, 0.0
        sums[:] = 0.0
    length = length_of(vector)
    keep = 1.0 - 1.0 / RECENT_MEMORY
    state.recents = keep * state.recents + 1.0
    for place in range(len(vector)):
        sums[RECENT, place] = keep * sums[RECENT, place] + vector[place] / length
    if is_calm:
        keep = 1.0 - 1.0 / REFERENCE_MEMORY
        state.references = keep * state.references + 1.0
        for place in range(len(vector)):
            sums[REFERENCE, place] = keep * sums[REFERENCE, place] + vector[place] / length
    state.learned += 1


@compiled
def distance(sums: NDArray[np.float32]) -> float:
    """How far the recent direction is from the usual one."""
    found: float = drift.embedding_distance(sums[REFERENCE], sums[RECENT])
    return found


@compiled
def limit(state: Record, sums: NDArray[np.float32]) -> float:
    """The distance at which the score is 1."""
    found: float = drift.embedding_limit(sums[REFERENCE], state.references, state.recents)
    return found


@compiled
def observe(
    tables: Tables,
    state: Record,
    sums: NDArray[np.float32],
    columns: Columns,
    event: int,
    vector: Vector,
    scores: NDArray[np.float64],
    found: Found,
) -> None:
    """Take the vector of one event that the kernel has taken; `scores` is room to work in."""
    found.counts[:] = 0
    pair = columns.pair[event]
    state.taken += 1
    if is_kept_out(state, is_disturbed(tables, pair)):
        return
    learn(state, sums, vector, state.strikes == 0 and slot_of(tables, pair, EMBEDDING) == NO_ROW)
    if not is_due(state):
        return
    value, upper = distance(sums), limit(state, sums)
    place, moment = Place(pair, EMBEDDING, UP), Moment(NO_EVENT, columns.offset[event], columns.event_ms[event])
    outlook = Outlook(math.nan, math.nan, math.nan, -math.inf, upper)
    due = tables.pairs[pair].watermark + A_DAY_MS
    if judge(tables, state, place, moment, value / upper, value, math.inf, outlook, scores, found, due):
        sums[REFERENCE] = sums[RECENT]
        state.references = state.recents


class Embedded(NamedTuple):
    """What is known of one pair's embeddings."""

    state: NDArray[np.void]  # EMBEDDING_STATE[1]
    sums: NDArray[np.float32]  # [2, dimension]

    @classmethod
    def empty(cls, dimension: int) -> Embedded:
        """Of a pair whose vectors have this dimension."""
        known = cls(np.zeros(1, EMBEDDING_STATE), np.zeros((2, dimension), np.float32))
        known.state["dimension"] = dimension
        return known

    @classmethod
    def from_bytes(cls, data: bytes) -> Embedded:
        """The inverse of `to_bytes`. Raises ValueError."""
        state = np.frombuffer(data, EMBEDDING_STATE, 1).copy()
        numbers = np.frombuffer(data, np.float32, offset=EMBEDDING_STATE.itemsize)
        return cls(state, numbers.reshape(2, int(state[0]["dimension"])).copy())

    def to_bytes(self) -> bytes:
        """The state, then the sums."""
        return self.state.tobytes() + self.sums.tobytes()

    @property
    def taken(self) -> int:
        """How many vectors were taken."""
        return int(self.state[0]["taken"])


class Embeddings(dict[int, Embedded]):
    """What is known of embeddings, by the row of their pair; only pairs that have some are in it."""

    skipped = 0  # vectors since the last drain

    def admit(self, row: int, vector: Vector) -> Embedded | None:
        """What is known of a pair, begun with its first vector; None if the vector is none of its kind."""
        known = self.get(row)
        is_fitting = 0 < len(vector) <= MAX_DIMENSION and (known is None or len(vector) == known.sums.shape[1])
        if not is_fitting or length_of(vector) == 0.0:
            self.skipped += 1
            return None
        if known is None:
            known = self[row] = Embedded.empty(len(vector))
        return known

    def take_skipped(self) -> int:
        """How many vectors were skipped since this was last asked."""
        skipped, self.skipped = self.skipped, 0
        return skipped
