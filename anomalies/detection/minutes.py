"""One-minute aggregates of event time, per pair: closed some seconds late, reopened by what comes later still."""

from __future__ import annotations

import math

from numba import njit

from anomalies.detection.arrays import CLOSED, NO_ROW
from baselines.stats.series import COMPLETION_TOKENS, COST, PROMPT_TOKENS, TOTAL_TOKENS
from baselines.stats.sketch import LOG_GAMMA, LOW, SKETCHED_COLUMNS, bucket

MINUTE_MS = 60_000


@njit(cache=True)
def close(tables, found, pair, place):
    """Hand out the minute in one of a pair's places; its slot is freed by whoever reads it."""
    found.closed_minutes[found.counts[CLOSED]] = tables.open_minutes[pair, place]
    found.counts[CLOSED] += 1
    tables.open_minutes[pair, place] = NO_ROW


@njit(cache=True)
def _place_for(tables, found, pair):
    """A free place of the pair; the minute that is due first makes room if there is none."""
    earliest = 0
    for place in range(tables.open_minutes.shape[1]):
        slot = tables.open_minutes[pair, place]
        if slot == NO_ROW:
            return place
        if tables.minutes[slot].due < tables.minutes[tables.open_minutes[pair, earliest]].due:
            earliest = place
    close(tables, found, pair, earliest)
    return earliest


@njit(cache=True)
def slot_of(tables, found, pair, event_ms, offset, lateness_ms):
    """The slot of the minute an event belongs to, opened if need be."""
    start = event_ms - event_ms % MINUTE_MS
    for place in range(tables.open_minutes.shape[1]):
        slot = tables.open_minutes[pair, place]
        if slot != NO_ROW and tables.minutes[slot].minute == start:
            return slot
    place = _place_for(tables, found, pair)
    tables.free_count[0] -= 1
    slot = tables.free_minutes[tables.free_count[0]]
    tables.open_minutes[pair, place] = slot
    minute = tables.minutes[slot]
    minute.pair, minute.minute, minute.first_offset = pair, start, offset
    # A minute that is late already stays open as long as one that is not: late events come in company.
    minute.due = max(start + MINUTE_MS, tables.pairs[pair].watermark) + lateness_ms
    tables.pairs[pair].next_due = min(tables.pairs[pair].next_due, minute.due)
    return slot


@njit(cache=True)
def count(minute, sketches, offset, failed, values):
    """Add one event: `values` float64[METRICS], NaN where missing. A failed call has neither tokens nor cost."""
    minute.last_offset = max(minute.last_offset, offset)
    minute.count += 1
    if failed:
        minute.errors += 1
        return
    for row in range(len(SKETCHED_COLUMNS)):
        value = values[SKETCHED_COLUMNS[row]]
        if not math.isnan(value):
            sketches[row, bucket(value, LOW[row], LOG_GAMMA[row])] += 1
    tokens = 0 if math.isnan(values[TOTAL_TOKENS]) else int(values[TOTAL_TOKENS])
    minute.total_tokens += tokens
    minute.prompt_tokens += 0 if math.isnan(values[PROMPT_TOKENS]) else int(values[PROMPT_TOKENS])
    minute.completion_tokens += 0 if math.isnan(values[COMPLETION_TOKENS]) else int(values[COMPLETION_TOKENS])
    if math.isnan(values[COST]):
        minute.unpriced_calls += 1
        minute.unpriced_tokens += tokens
    else:
        minute.cost_usd += values[COST]
