"""Absence: when a pair falls silent, told by time that passes, and how a broken way to us is told apart from that.

    gap      = max(event time, record time) between an event of a pair and the one before it, learned as `silence` says
    told     at the deadline of `silence`, again each time its length has doubled, and once more when it is critical
    critical from min(10 deadlines, max(1 h, 2 deadlines)), a warning before: a silence has no size but its length, so
             `min_deviation` says nothing of it (the threshold, a factor on the deadline, does)
    jump     = records of the whole partition further apart than max(20 s, 20 * their mean distance)

The value of such an episode is its length in seconds, expected is the usual gap (a geometric mean), the upper edge of
the band the deadline. It begins at the pair's last event, whose offset makes its id, and ends with the next one; an
event that brings an old time with it ends it too.

Time is that of records: a pair whose own clock is wrong, or that sends yesterday's calls, is not silent while it sends.
Time that passes because other pairs of the partition send counts; but after a jump nobody knows whether all were
silent or none could be heard (a broker that was down, a producer that gave its records up), and every pair has its
whole deadline anew. A tick is told only when the broker has confirmed that there is nothing to read, so it counts.

Unit: seconds. False alarms: as of `silence`; a pair is never silent before 50 gaps, nor is the row that pairs share.
Cost: 40 ns per event.

Source: `anomalies.detection.silence`.

>>> import numpy as np
>>> clock, state = np.zeros(1, CLOCK)[0], np.zeros(1, ABSENCE)[0]
>>> state["caution"] = 1.0
>>> for second in range(100):
...     hear(clock, state, 1_000 * second, 1_000 * second, second)
>>> due_ms(clock, state) - int(state["heard_ms"]) >= 60_000
True
>>> pass_time(clock, 300_000, False)  # five minutes without a record of anybody
>>> due_ms(clock, state) >= 360_000
True
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import episodes, silence
from anomalies.detection.arrays import DOWN, NEVER, NO_ROW, Found, Tables
from anomalies.detection.episodes import NO_EVENT, Moment, Outlook, Place
from anomalies.detection.settings import DETECTORS
from anomalies.detection.settings import SILENCE as BY_SILENCE
from anomalies.detection.silence import SHORTEST_MS, SILENCE_STATE
from baselines.stats.compiled import compiled, inlined
from baselines.stats.series import SILENCE
from baselines.stats.window import Record

GRAVE = 10.0  # deadlines after which a silence is critical
GRAVE_MS = 3_600_000.0  # or this long, if that is at least twice the deadline
JUMP_MS = 20_000.0
JUMP = 20.0  # mean distances of records
MEMORY = 1000.0  # records

CLOCK = np.dtype(
    [
        ("newest_ms", "<i8"),  # record time, of the partition
        ("resumed_ms", "<i8"),  # record time of the first record after the last jump
        ("records", "<i8"),
        ("distance", "<f8"),  # mean, ms
    ]
)
ABSENCE = np.dtype(
    [
        ("heard_ms", "<i8"),  # the partition's newest record time when the pair was last heard
        ("event_ms", "<i8"),  # the pair's watermark then
        ("offset", "<i8"),  # of its last event
        ("since_ms", "<i8"),  # record time from which the silence that is told counts
        ("due_ms", "<i8"),  # record time at which it is told again; 0 if none is
        ("is_heard", "<i4"),
        ("caution", "<f8"),  # factor on its deadline that its policy says; infinite where it is not watched
        ("is_exempt", "<i4"),  # a row that many pairs share is no source that could fall silent
        # Behind the others, as in silence.py.
        *((name, SILENCE_STATE[name]) for name in SILENCE_STATE.names or ()),
    ]
)


@inlined
def _is_jump(clock: Record, now_ms: int) -> bool:
    """Whether the partition's records are so far apart that nobody can tell why."""
    return bool(now_ms - clock.newest_ms > max(JUMP_MS, JUMP * clock.distance))


@compiled
def pass_time(clock: Record, now_ms: int, is_confirmed: bool) -> None:
    """Let the partition's record time pass up to `now_ms`; `is_confirmed` if there is nothing else to read so far."""
    if not is_confirmed and _is_jump(clock, now_ms):
        clock.resumed_ms = now_ms
    clock.newest_ms = max(clock.newest_ms, now_ms)


@compiled
def hear(clock: Record, state: Record, record_ms: int, watermark: int, offset: int) -> None:
    """Take an event of a pair: its record time and the pair's watermark with it (ms), its offset."""
    apart = min(max(0.0, float(record_ms - clock.newest_ms)), max(JUMP_MS, JUMP * clock.distance))
    clock.distance += (apart - clock.distance) / min(clock.records + 1.0, MEMORY)
    clock.records += 1
    pass_time(clock, record_ms, False)
    if state.is_heard == 1:
        silence.update(state, _gap_ms(clock, state, watermark))
    state.is_heard = 1
    state.heard_ms, state.event_ms, state.offset = clock.newest_ms, watermark, offset
    state.due_ms = 0


@inlined
def _gap_ms(clock: Record, state: Record, watermark: int) -> float:
    """The time since the last event of a pair, whichever clock says more."""
    return float(max(watermark - state.event_ms, clock.newest_ms - state.heard_ms))


@compiled
def _deadline_ms(state: Record) -> float:
    """The time without events from which a pair is silent, under its policy; infinite where it cannot be."""
    deadline = silence.deadline_ms(state)
    return math.inf if deadline == math.inf else float(max(deadline * state.caution, SHORTEST_MS))


@compiled
def due_ms(clock: Record, state: Record) -> int:
    """The record time at which a silence of the pair is to be told, or told again; NEVER if none can be."""
    if state.is_heard == 0 or state.is_exempt == 1 or state.caution == math.inf:
        return NEVER
    if state.due_ms > 0:
        return int(state.due_ms)
    deadline = _deadline_ms(state)
    return NEVER if deadline == math.inf else max(state.heard_ms, clock.resumed_ms) + int(math.ceil(deadline))


@compiled
def earliest_due(clock: Record, absences: NDArray[np.void], pair_count: int) -> int:
    """The record time at which the first of all pairs is due; NEVER if none is."""
    earliest = NEVER
    for pair in range(pair_count):
        # Cheaper than the deadline, which is never sooner.
        if absences[pair].due_ms > 0 or absences[pair].heard_ms + SHORTEST_MS < earliest:
            earliest = min(earliest, due_ms(clock, absences[pair]))
    return int(earliest)


@compiled
def _grave_ms(deadline: float) -> float:
    """The length from which a silence is critical."""
    return min(GRAVE * deadline, max(GRAVE_MS, 2.0 * deadline))


@compiled
def _tell(
    tables: Tables, clock: Record, state: Record, pair: int, now_ms: int, scores: NDArray[np.float64], found: Found
) -> None:
    """Open the silence of a pair, or say how long it has become."""
    deadline = _deadline_ms(state)
    if state.due_ms == 0:
        state.since_ms = max(state.heard_ms, clock.resumed_ms)
    elapsed, grave = float(now_ms - state.since_ms), _grave_ms(deadline)
    usual = math.exp(state.center) / 1000.0
    place, moment = Place(pair, SILENCE, DOWN), Moment(NO_EVENT, state.offset, state.event_ms)
    outlook = Outlook(usual, math.nan, usual, -math.inf, deadline / 1000.0)
    scores[:] = 0.0
    scores[BY_SILENCE] = max(1.0, silence.score(state, elapsed))
    severity = 2 if elapsed >= grave else 1
    episodes.flag(tables, found, place, scores, moment, elapsed / 1000.0, severity, outlook, NEVER)
    slot = episodes.slot_of(tables, place)
    if slot != NO_ROW:
        episode = tables.episodes[slot]
        episode.last_seen = max(episode.last_seen, state.event_ms + (now_ms - state.since_ms))
    again = 2.0 * elapsed if elapsed >= grave else min(2.0 * elapsed, grave)
    state.due_ms = state.since_ms + int(math.ceil(again))


@compiled
def tell_due(
    tables: Tables, clock: Record, absences: NDArray[np.void], first: int, end: int, now_ms: int, found: Found
) -> NDArray[np.int64]:
    """Tell the silences of the pairs [first, end) that are due at the record time `now_ms`; returns those pairs."""
    told, count, scores = np.empty(end - first, np.int64), 0, np.zeros(len(DETECTORS))
    for pair in range(first, end):
        state = absences[pair]
        if state.due_ms == 0 and now_ms - state.heard_ms < SHORTEST_MS:
            continue
        if due_ms(clock, state) <= now_ms:
            _tell(tables, clock, state, pair, now_ms, scores, found)
            told[count] = pair
            count += 1
    return told[:count]


@compiled
def end(tables: Tables, clock: Record, state: Record, pair: int, found: Found) -> int:
    """End the silence of a pair that is heard again, before `hear` takes the event; returns its length (ms)."""
    slot, watermark = tables.open_episodes[pair, SILENCE, DOWN], tables.pairs[pair].watermark
    episode = tables.episodes[slot]
    episode.value = max(episode.value, _gap_ms(clock, state, watermark) / 1000.0)
    episode.last_seen = max(episode.last_seen, watermark)
    episodes.end(tables, found, slot)
    return int(watermark - state.event_ms)


@inlined
def is_silent(tables: Tables, pair: int) -> bool:
    """Whether a silence of the pair is told."""
    return bool(tables.open_episodes[pair, SILENCE, DOWN] != NO_ROW)
