"""One-minute aggregates of event time, per pair: closed some seconds late, reopened by what comes later still."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import sketching
from anomalies.detection.arrays import CLOSED, LARGEST, NO_ROW, Columns, Found, Tables
from baselines.stats.compiled import compiled, inlined
from baselines.stats.series import COMPLETION_TOKENS, COST, PROMPT_TOKENS, TOTAL_TOKENS
from baselines.stats.sketch import LOG_GAMMA, LOW, SKETCHED_COLUMNS, bucket

MINUTE_MS = 60_000
ABSENT = -1  # in place of a bucket


@compiled
def close(tables: Tables, found: Found, pair: int, place: int) -> None:
    """Hand out the minute in one of a pair's places; its slot is freed by whoever reads it."""
    found.closed_minutes[found.counts[CLOSED]] = tables.open_minutes[pair, place]
    found.counts[CLOSED] += 1
    tables.open_minutes[pair, place] = NO_ROW


@compiled
def _place_for(tables: Tables, found: Found, pair: int) -> int:
    """A free place of the pair. If there is none, the minute furthest from the watermark makes room.

    So events with times far off, which come one by one, never close the minutes that are being filled.
    """
    furthest, distance = 0, -1
    for place in range(tables.open_minutes.shape[1]):
        slot = tables.open_minutes[pair, place]
        if slot == NO_ROW:
            return place
        away = abs(tables.minutes[slot].minute - tables.pairs[pair].watermark)
        if away > distance:
            furthest, distance = place, away
    close(tables, found, pair, furthest)
    return furthest


@inlined
def is_present(value: float) -> bool:
    """Whether a value is a number that can be counted and learned; NaN and infinity are not."""
    return abs(value) <= LARGEST


@inlined
def _whole(value: float) -> int:
    """A count of tokens; 0 where it is missing."""
    return int(value) if is_present(value) else 0


@inlined
def slot_of(tables: Tables, found: Found, pair: int, event_ms: int, offset: int, lateness_ms: int) -> int:
    """The slot of the minute an event belongs to, opened if need be."""
    start = event_ms - event_ms % MINUTE_MS
    for place in range(tables.open_minutes.shape[1]):
        slot = tables.open_minutes[pair, place]
        if slot != NO_ROW and tables.minutes[slot].minute == start:
            return int(slot)
    place = _place_for(tables, found, pair)
    tables.free_count[0] -= 1
    slot = tables.free_minutes[tables.free_count[0]]
    tables.open_minutes[pair, place] = slot
    minute = tables.minutes[slot]
    minute.pair, minute.minute, minute.first_offset = pair, start, offset
    # A minute that is late already stays open as long as one that is not: late events come in company.
    minute.due = max(start + MINUTE_MS, tables.pairs[pair].watermark) + lateness_ms
    tables.pairs[pair].next_due = min(tables.pairs[pair].next_due, minute.due)
    return int(slot)


@compiled
def buckets_of(columns: Columns) -> NDArray[np.int16]:
    """The bucket of its sketch for each value of a batch: int16[events, SKETCHED], ABSENT where there is none."""
    buckets = np.empty((len(columns.pair), len(SKETCHED_COLUMNS)), np.int16)
    for event in range(len(columns.pair)):
        for row in range(len(SKETCHED_COLUMNS)):
            value = columns.values[event, SKETCHED_COLUMNS[row]]
            is_counted = is_present(value) and not columns.failed[event]
            buckets[event, row] = bucket(value, LOW[row], LOG_GAMMA[row]) if is_counted else ABSENT
    return buckets


@inlined
def count(tables: Tables, slot: int, columns: Columns, buckets: NDArray[np.int16], event: int) -> None:
    """Add one event of a batch, whose values are in these buckets. A failed call has neither tokens nor cost."""
    minute, values = tables.minutes[slot], columns.values
    minute.last_offset = max(minute.last_offset, columns.offset[event])
    minute.count += 1
    if columns.failed[event]:
        minute.errors += 1
        return
    for row in range(len(SKETCHED_COLUMNS)):
        if buckets[event, row] != ABSENT:
            sketching.add(tables, slot, row, buckets[event, row])
    tokens = _whole(values[event, TOTAL_TOKENS])
    minute.total_tokens += tokens
    minute.prompt_tokens += _whole(values[event, PROMPT_TOKENS])
    minute.completion_tokens += _whole(values[event, COMPLETION_TOKENS])
    if is_present(values[event, COST]):
        minute.cost_usd += values[event, COST]
    else:
        minute.unpriced_calls += 1
        minute.unpriced_tokens += tokens
