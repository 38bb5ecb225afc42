"""Watches: what is kept per pair beside the channels, of its falling silent, its users and its distributions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import absence, distributions, episodes, policies, users
from anomalies.detection.absence import ABSENCE, CLOCK
from anomalies.detection.arrays import NO_ROW, UP, Columns, Found, Rules, Tables
from anomalies.detection.dimensions import USER
from anomalies.detection.distributions import ENDINGS, TOKEN_WINDOWS
from anomalies.detection.episodes import Outlook, Place
from anomalies.detection.settings import SPIKE
from anomalies.detection.users import USERS_STATE
from baselines.stats.compiled import compiled, lean
from baselines.stats.rows import extended, side_by_side
from baselines.stats.series import USER_RATE
from baselines.stats.window import Record


class Watches(NamedTuple):
    """The state of all watches, one row per pair."""

    absences: NDArray[np.void]  # ABSENCE[pairs]
    users: NDArray[np.void]  # USERS_STATE[pairs]
    windows: NDArray[np.void]  # TOKEN_WINDOWS[pairs, 2]: prompt, completion
    endings: NDArray[np.void]  # ENDINGS[pairs]


def allocate(pairs: int) -> Watches:
    """Empty watches for so many pairs, side by side. Memory is taken when a row is first written."""
    return Watches(
        **side_by_side(
            pairs,
            {
                "absences": (ABSENCE, ()),
                "users": (USERS_STATE, ()),
                "endings": (ENDINGS, ()),
                "windows": (TOKEN_WINDOWS, (2,)),
            },
        )
    )


def grown(watches: Watches, pairs: int) -> Watches:
    """The same watches with room for at least so many pairs."""
    size = len(watches.users)
    return watches if pairs <= size else Watches(**extended(watches._asdict(), pairs, size))


def new_clock() -> NDArray[np.void]:
    """The clock of a partition of which nothing was seen: CLOCK[1]."""
    return np.zeros(1, CLOCK)


@compiled
def _flag_user(
    tables: Tables,
    rules: Rules,
    state: Record,
    columns: Columns,
    event: int,
    score: float,
    scores: NDArray[np.float64],
    found: Found,
) -> None:
    """Record that the user of an event sends too much. The next minute has to show it anew, so it has that long."""
    pair = columns.pair[event]
    usual = users.usual_calls(state)
    scores[:] = 0.0
    scores[SPIKE] = score
    due = tables.pairs[pair].watermark + users.MINUTE_MS + rules.quiet_ms
    place, moment = Place(pair, USER_RATE, UP), episodes.moment_of(columns, event)
    outlook = Outlook(usual, np.nan, usual, -np.inf, np.inf)
    value, severity = float(users.calls_of(state)), users.severity_of(state)
    if episodes.is_small(tables, pair, USER_RATE, users.deviation_of(state)):
        severity = 0
    episodes.flag(tables, found, place, scores, moment, value, severity, outlook, due)
    episodes.hand_out(tables, found, episodes.slot_of(tables, place), event)


@lean
def observe(
    tables: Tables,
    rules: Rules,
    watches: Watches,
    clock: Record,
    columns: Columns,
    event: int,
    scores: NDArray[np.float64],
    found: Found,
) -> bool:
    """Take one event, after the watermark of its pair; returns whether its user sends too much.

    `scores` is room to work in.
    """
    pair, record_ms = columns.pair[event], columns.record_ms[event]
    absence.hear(clock, watches.absences[pair], record_ms, tables.pairs[pair].watermark, columns.offset[event])
    if distributions.is_chosen(columns.offset[event]):
        distributions.observe(tables, watches.windows, watches.endings, columns, event, scores, found)
    state, user = watches.users[pair], columns.dimensions[event, USER]
    is_odd = episodes.slot_of(tables, Place(pair, USER_RATE, UP)) != NO_ROW
    score = users.count(state, min(columns.event_ms[event], record_ms), user, is_odd)
    score /= policies.threshold_of(tables, pair, USER_RATE, SPIKE)
    if score < 1.0:
        return False
    _flag_user(tables, rules, state, columns, event, score, scores, found)
    return True
