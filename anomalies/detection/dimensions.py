"""Dimensions of events: by what an anomaly may be told apart from ordinary traffic.

In the columns of a batch a value is a code of 32 bits (`code`), the same on every machine; 0 where there is none.

How traffic is usually made up is learned per pair and dimension: the most frequent values, how often they came, and how
many events there were in all, each forgotten by 1/e over 20 000 events. One event in four is learned; one in thirty-two
while an episode is open, so that an incident does not soon become what is usual. A value that is not among the ENTRIES
takes the place of the rarest with probability 1 / (count of the rarest + 1), and its count with it; so the counts of
frequent values are true, and a crowd of rare ones (thousands of users) does not inflate them. A value that is not there
counts for as much as the rarest one that is, or nothing while there is room. Chance is decided by the offset.

Source: Ben Basat, Einziger, Friedman and Kassner, "Randomized Admission Policy for Efficient Top-k and Frequency
Estimation", INFOCOM 2017. State: 528 bytes per pair; cost: some 15 ns per event.

>>> import numpy as np
>>> background = np.zeros(1, BACKGROUND)
>>> eu, us = code("eu-west-1"), code("us-east-1")
>>> for offset in range(1000):
...     learn(background, 0, np.array([0, eu if offset % 4 else us, 0, 0], np.uint32), offset)
>>> [round(usual_share(background[0], REGION, value), 2) for value in (eu, us, code("ap-south-1"))]
[0.75, 0.25, 0.0]
"""

from __future__ import annotations

import math
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from baselines.stats.compiled import inlined, lean

DIMENSIONS: tuple[str, ...] = ("user", "region", "prompt_version", "finish_reason")
USER, REGION, PROMPT_VERSION, FINISH = range(len(DIMENSIONS))

ENTRIES = 16
ONE_IN, ONE_OF_ODD_IN = 4, 32  # events are learned
MEMORY = 20_000.0 / ONE_IN
FORGET_EVERY = 64
KEPT = math.exp(-FORGET_EVERY / MEMORY)

BACKGROUND = np.dtype(
    [
        ("seen", "<i8"),  # events that were learned
        ("total", "<f8"),  # those that are not forgotten
        ("codes", "<u4", (len(DIMENSIONS), ENTRIES)),
        ("counts", "<f4", (len(DIMENSIONS), ENTRIES)),
    ]
)


class Sample(NamedTuple):
    """What people see of one event: its trace, and its value of each of DIMENSIONS ("" where it has none)."""

    trace_id: str
    values: tuple[str, ...]


def code(value: str) -> int:
    """The code of a value: its CRC-32, and never 0 for a value that is there."""
    return crc32(value.encode()) or 1 if value else 0


@inlined
def is_chosen(offset: int, is_odd: bool) -> bool:
    """Whether the event at an offset is learned; `is_odd` while an episode of its pair is open.

    By the golden ratio rather than by counting: whatever returns every few events is met as often as all others.
    """
    spread = (np.uint64(offset) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    return bool(spread < np.uint64((1 << 32) // (ONE_OF_ODD_IN if is_odd else ONE_IN)))


@inlined
def chance(offset: int, use: int) -> float:
    """A number in [0, 1) that an offset and one of 8 uses always give: the finaliser of MurmurHash3."""
    mixed = np.uint64(offset * 8 + use) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    mixed = mixed ^ (mixed >> np.uint64(33))
    return float(np.float64(mixed >> np.uint64(11)) * 2.0**-53)


@lean
def learn(backgrounds: NDArray[np.void], pair: int, codes: NDArray[np.uint32], offset: int) -> None:
    """Learn the values of one event, `codes` uint32[DIMENSIONS], in the background of its pair: BACKGROUND[pairs]."""
    background = backgrounds[pair]
    known, counts = background.codes, background.counts
    background.seen += 1
    if background.seen % FORGET_EVERY == 0:
        background.total *= KEPT
        for dimension in range(len(DIMENSIONS)):
            for entry in range(ENTRIES):
                counts[dimension, entry] *= KEPT
    background.total += 1.0
    for dimension in range(len(DIMENSIONS)):
        value = codes[dimension]
        if value == 0:
            continue
        rarest = 0
        for entry in range(ENTRIES):
            if known[dimension, entry] == value:
                counts[dimension, entry] += 1.0
                break
            if counts[dimension, entry] < counts[dimension, rarest]:
                rarest = entry
        else:
            if chance(offset, dimension) * (counts[dimension, rarest] + 1.0) < 1.0:
                known[dimension, rarest] = value
                counts[dimension, rarest] += 1.0


def usual_share(background: np.void, dimension: int, value: int) -> float:
    """What share of all events has this value (a code), by the BACKGROUND of a pair: in [0, 1]."""
    total = float(background["total"])
    if total <= 0.0:
        return 0.0
    codes, counts = background["codes"][dimension], background["counts"][dimension]
    places = np.flatnonzero(codes == value)
    count = float(counts[places[0]] if len(places) else counts.min())
    return min(1.0, count / total)
