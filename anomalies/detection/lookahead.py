"""Looking ahead in a batch: which rows the events to come need, so that memory has time to bring them.

In three steps: first what is found by the row of a pair alone, then what that says the place of, then single cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import arrays, channels, dimensions
from anomalies.detection.absence import ABSENCE
from anomalies.detection.arrays import BAND, MINUTE, NO_ROW, Columns, Tables
from anomalies.detection.channels import FAST_STATE, ChannelTables
from anomalies.detection.dimensions import BACKGROUND
from anomalies.detection.minutes import ABSENT, is_present
from anomalies.detection.users import USERS_STATE
from anomalies.detection.watches import Watches
from baselines.stats.compiled import lean
from baselines.stats.prefetch import fetch
from baselines.stats.rows import bytes_of
from baselines.stats.series import QUALITY, TTFT
from baselines.stats.sketch import BUCKETS
from baselines.stats.window import HOT_BYTES

MANY_PAIRS = 64  # with fewer of them the caches hold all
FAR, NEAR, NEXT = 12, 6, 2  # events ahead
CELL, SAMPLE = 1, 4  # bytes of a count of a sketch, of a value of a window

_MINUTE, _FAST, _SERIES = MINUTE.itemsize, FAST_STATE.itemsize, BAND.itemsize + HOT_BYTES
_BACKGROUND = BACKGROUND.itemsize
_PAIR = bytes_of(arrays.allocate(1, 1, 1, 1)[:5])  # up to the open episodes
_USUAL = bytes_of(channels.allocate(1)[:8]) + 4 * _FAST  # of the channels whose metrics nearly every event has
_WATCHED = ABSENCE.itemsize + USERS_STATE.itemsize


@lean
def _fetch_pair(
    tables: Tables, states: ChannelTables, watched: Watches, columns: Columns, event: int, is_calibrated: bool
) -> None:
    """What is found by the row of a pair."""
    pair = columns.pair[event]
    fetch(tables.pairs, pair, _PAIR)
    if is_calibrated:
        fetch(states.clocks, pair, _USUAL)
        if is_present(columns.values[event, TTFT]) or is_present(columns.values[event, QUALITY]):
            fetch(states.fast, pair, 2 * _FAST, 4 * _FAST)
        fetch(watched.absences, pair, _WATCHED)


@lean
def _fetch_series(tables: Tables, buckets: NDArray[np.int16], pair: int, event: int) -> None:
    """What the row of a pair says the place of: its series, and its open minutes with the cells to count in."""
    for place in range(tables.open_minutes.shape[1]):
        slot = tables.open_minutes[pair, place]
        if slot != NO_ROW:
            fetch(tables.minutes, slot, _MINUTE)
            for row in range(buckets.shape[1]):
                if buckets[event, row] != ABSENT:
                    fetch(tables.sketches, slot, CELL, CELL * (row * BUCKETS + buckets[event, row]))
    for metric in range(tables.series_of.shape[1]):
        series = tables.series_of[pair, metric]
        if series != NO_ROW:
            fetch(tables.bands, series, _SERIES)


@lean
def _fetch_rings(tables: Tables, pair: int) -> None:
    """The cells of rings that are written or read next."""
    for metric in range(tables.series_of.shape[1]):
        series = tables.series_of[pair, metric]
        if series != NO_ROW:
            fetch(tables.rings, series, SAMPLE, SAMPLE * (tables.series[series].learned % tables.rings.shape[1]))


@lean
def fetch_ahead(
    tables: Tables,
    states: ChannelTables,
    watched: Watches,
    columns: Columns,
    buckets: NDArray[np.int16],
    event: int,
    end: int,
    is_calibrated: bool,
) -> None:
    """Fetch what the events some places after `event`, and before `end`, need."""
    if event + FAR < end:
        _fetch_pair(tables, states, watched, columns, event + FAR, is_calibrated)
    if event + NEAR < end:
        _fetch_series(tables, buckets, columns.pair[event + NEAR], event + NEAR)
        if dimensions.is_chosen(columns.offset[event + NEAR], False):
            fetch(tables.backgrounds, columns.pair[event + NEAR], _BACKGROUND)
    if event + NEXT < end:
        _fetch_rings(tables, columns.pair[event + NEXT])
