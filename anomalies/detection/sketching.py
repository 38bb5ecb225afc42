"""The quantile sketches of open minutes: 8-bit counts, and a stack of what was carried out of them.

A minute rarely has 256 calls of one size; where it has, the count starts anew and the carry is noted. So counts are
exact, in a quarter of the memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.arrays import Tables
from baselines.stats import sketch
from baselines.stats.compiled import inlined

CARRIED = 1 << 8  # calls that one carry stands for
_LARGEST = CARRIED - 1
_ROWS, _BUCKETS = sketch.SHAPE
_SIZE = _ROWS * _BUCKETS


@inlined
def add(tables: Tables, slot: int, row: int, bucket: int) -> None:
    """Count one value."""
    count = tables.sketches[slot, row, bucket]
    if count == _LARGEST:
        tables.carries[tables.carry_count[0]] = slot * _SIZE + row * _BUCKETS + bucket
        tables.carry_count[0] += 1
        tables.sketches[slot, row, bucket] = 0
    else:
        tables.sketches[slot, row, bucket] = count + 1


def with_room(tables: Tables, events: int) -> Tables:
    """The same tables with room for what so many events may carry."""
    wanted = int(tables.carry_count[0]) + events * _ROWS
    if wanted <= len(tables.carries):
        return tables
    longer = np.zeros(2 * wanted, np.int64)
    longer[: len(tables.carries)] = tables.carries
    return tables._replace(carries=longer)


def encoded(tables: Tables, slots: NDArray[np.int64]) -> list[bytes]:
    """The sketches in some slots, as baselines.stats.sketch encodes them."""
    if len(slots) == 0:
        return []
    counts = tables.sketches[slots].astype(np.uint32).reshape(len(slots), _SIZE)
    carries = tables.carries[: tables.carry_count[0]]
    carries = carries[np.isin(carries // _SIZE, slots)]
    order = np.argsort(slots)
    places = order[np.searchsorted(slots, carries // _SIZE, sorter=order)]
    np.add.at(counts, (places, carries % _SIZE), CARRIED)
    return sketch.encode_rows(counts.reshape(-1, _ROWS, _BUCKETS), np.arange(len(slots)))


def clear(tables: Tables, slots: NDArray[np.int64]) -> None:
    """Empty the sketches in some slots."""
    tables.sketches[slots] = 0
    carries = tables.carries[: tables.carry_count[0]]
    kept = carries[~np.isin(carries // _SIZE, slots)]
    tables.carries[: len(kept)] = kept
    tables.carry_count[0] = len(kept)


def fill(tables: Tables, slot: int, counts: NDArray[np.uint32]) -> Tables:
    """Put counts, uint32[len(SKETCHED), BUCKETS], into an empty slot; returns the tables to go on with."""
    tables.sketches[slot] = counts & _LARGEST
    carried = np.repeat(np.arange(_SIZE), (counts // CARRIED).ravel()) + slot * _SIZE
    tables = with_room(tables, len(carried))
    first = int(tables.carry_count[0])
    tables.carries[first : first + len(carried)] = carried
    tables.carry_count[0] = first + len(carried)
    return tables
