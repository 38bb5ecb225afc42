"""Looking ahead in a batch: which rows the events to come need, so that memory has time to bring them.

In two steps: first what is found by the row of a pair alone, then what that says the place of.
"""

from __future__ import annotations

from anomalies.detection.arrays import BAND, MINUTE, NO_ROW, PAIR, Columns, Tables
from anomalies.detection.channels import CLOCK_STATE, FAST_STATE, LONG_STATE, SLOW_STATE, ChannelTables
from anomalies.detection.watches import Watches
from baselines.stats.compiled import lean
from baselines.stats.prefetch import LINE, fetch
from baselines.stats.window import SERIES

MANY_PAIRS = 64  # with fewer of them the caches hold all
FAR, NEAR = 12, 5  # events ahead

_PAIR, _CLOCK, _SLOW = PAIR.itemsize, CLOCK_STATE.itemsize, SLOW_STATE.itemsize
_FAST, _LONG = 6 * FAST_STATE.itemsize, 2 * LONG_STATE.itemsize
_MINUTE, _SERIES, _BAND = MINUTE.itemsize, SERIES.itemsize, BAND.itemsize


@lean
def _fetch_pair(tables: Tables, states: ChannelTables, watched: Watches, pair: int, is_calibrated: bool) -> None:
    """What is found by the row of a pair."""
    fetch(tables.pairs, pair, _PAIR)
    fetch(tables.open_minutes, pair, LINE)
    fetch(tables.series_of, pair, LINE)
    fetch(tables.policy_of, pair, LINE)
    fetch(tables.open_episodes, pair, LINE)
    if is_calibrated:
        fetch(states.clocks, pair, _CLOCK)
        fetch(states.fast, pair, _FAST)
        fetch(states.slow, pair, _SLOW)
        fetch(states.long, pair, _LONG)
        fetch(states.residuals, pair, LINE)
        fetch(states.output_buckets, pair, 3 * LINE)
        fetch(states.spikes, pair, LINE)
        fetch(states.paces, pair, LINE)
        fetch(states.bursts, pair, LINE)
        fetch(watched.absences, pair, LINE)
        fetch(watched.users, pair, LINE)


@lean
def _fetch_series(tables: Tables, pair: int) -> None:
    """What the row of a pair says the place of: its series and open minutes."""
    for place in range(tables.open_minutes.shape[1]):
        slot = tables.open_minutes[pair, place]
        if slot != NO_ROW:
            fetch(tables.minutes, slot, _MINUTE)
    for metric in range(tables.series_of.shape[1]):
        series = tables.series_of[pair, metric]
        if series != NO_ROW:
            fetch(tables.series, series, _SERIES)
            fetch(tables.bands, series, _BAND)


@lean
def fetch_ahead(
    tables: Tables,
    states: ChannelTables,
    watched: Watches,
    columns: Columns,
    event: int,
    end: int,
    is_calibrated: bool,
) -> None:
    """Fetch what the events some places after `event`, and before `end`, need."""
    if event + FAR < end:
        _fetch_pair(tables, states, watched, columns.pair[event + FAR], is_calibrated)
    if event + NEAR < end:
        _fetch_series(tables, columns.pair[event + NEAR])
