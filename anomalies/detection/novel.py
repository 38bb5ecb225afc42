"""What is new about a minute: novelty of requests, errors, cost and tokens per minute of the busiest pairs.

    series     ln(requests + 1), share of errors, ln(US dollars + 0.0001), ln(tokens + 1) of every closed minute
    opens      novelty's score reaches 4 behind the first 750 minutes, where the minute has, or usually would have,
               20 calls; of errors also at least 5 failed calls
    goes on    while a minute departs from what was usual by half as much as the one that opened it
    ends       3 minutes after the last such minute, or after two hours of them
    direction  of the departure from the median of the last 360 minutes; a fall of the share of errors is none
    severity   a warning from a doubling or a halving on, or 10 more failed calls in a hundred; else info, as is what
               deviates by less than `min_deviation` of the metric (errors: three times the share that fails)

A pair has four series. Room for them goes to pairs as they come; when none is left, a pair that has been known for an
hour takes the room of the least busy one if it gets twice as many calls per minute, or if that one has had none for a
day. Minutes without any call are no samples: their place is silence. So is a minute that late events reopened.

Unit: that of the metric. Threshold and false alarms: on Poisson counts of 5, 75 and 2 000 calls a minute, steady and
with a daily cycle, with log-normal cost and tokens of the calls, a score of 1 is reached five times in 10 000 minutes,
one of 4 less than once (`tests/anomalies/test_detection_novel.py` runs a part). Cost: some 30 us per series and
minute; state: 208 kB per series.

Source: `anomalies.detection.novelty`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import episodes, novelty, policies
from anomalies.detection.aggregates import FIRST, value_of
from anomalies.detection.arrays import DOWN, NO_ROW, UP, Found, Tables
from anomalies.detection.episodes import NO_EVENT, Moment, Place
from anomalies.detection.minutes import MINUTE_MS
from anomalies.detection.novelty import NOVELTY_STATE
from anomalies.detection.settings import DETECTORS, NOVELTY
from baselines.stats.compiled import compiled
from baselines.stats.series import COST_RATE, ERROR_RATE, MINUTE_METRICS
from baselines.stats.window import Record

SERIES = len(MINUTE_METRICS)  # of one pair
PASSED = 750  # minutes that are only learned
THRESHOLD = 4.0
FEWEST_ERRORS = 5
FEWEST_CALLS = 20.0
LASTING = 0.5  # of the departure that opened
LONGEST = 120  # minutes of an episode
QUIET_MS = 180_000
DOUBLED = math.log(2.0)
MANY_ERRORS = 0.1
ERRORS_WEIGH = 3.0  # what a share of failed calls is taken for, as a relative deviation
KNOWN = 60  # minutes
BUSIER = 2.0
ABANDONED_MS = 86_400_000

ACTIVITY = np.dtype([("calls", "<f8"), ("minutes", "<i8")])  # per minute, mean of the last hour; minutes seen
ROOM = np.dtype(
    [
        ("pair", "<i8"),  # + 1; 0 where nobody has it
        ("minute", "<i8"),  # the newest one taken, start in ms
        ("calls", "<f8"),  # per minute, as in ACTIVITY
        ("usual", "<f8", (SERIES,)),  # of what is departed from, as the series counts it
        ("departure", "<f8", (SERIES,)),  # of the minute that opened an episode; 0 where none is open
        ("lasted", "<i8", (SERIES,)),  # minutes
    ]
)


class NoveltyTables(NamedTuple):
    """The state of all rooms, and who has which."""

    activities: NDArray[np.void]  # ACTIVITY[pairs]
    room_of: NDArray[np.int32]  # [pairs], NO_ROW for none; follows from `rooms`
    rooms: NDArray[np.void]  # ROOM[rooms]
    states: NDArray[np.void]  # NOVELTY_STATE[rooms, SERIES]


def allocate(pairs: int, series: int) -> NoveltyTables:
    """Empty tables for so many pairs, of which so many `series` are watched. Memory is taken when a room is."""
    rooms = series // SERIES
    return NoveltyTables(
        np.zeros(pairs, ACTIVITY),
        np.full(pairs, NO_ROW, np.int32),
        np.zeros(rooms, ROOM),
        np.zeros((rooms, SERIES), NOVELTY_STATE),
    )


def grown(tables: NoveltyTables, pairs: int) -> NoveltyTables:
    """The same tables with room for at least so many pairs."""
    known = len(tables.room_of)
    if pairs <= known:
        return tables
    activities, room_of = np.zeros(pairs, ACTIVITY), np.full(pairs, NO_ROW, np.int32)
    activities[:known], room_of[:known] = tables.activities, tables.room_of
    return tables._replace(activities=activities, room_of=room_of)


def leave(tables: NoveltyTables, pair: int) -> None:
    """Take the room of a pair away, if it has one."""
    if pair < len(tables.room_of) and tables.room_of[pair] != NO_ROW:
        tables.rooms[tables.room_of[pair]]["pair"] = 0
        tables.room_of[pair] = NO_ROW


@compiled
def sample_of(minute: Record, metric: int) -> float:
    """The value of a minute as its series counts it."""
    value: float = value_of(minute, metric)
    if metric == ERROR_RATE:
        return value
    return math.log(value + (1e-4 if metric == COST_RATE else 1.0))


@compiled
def _counted(median: float, metric: int) -> float:
    """A median of the metric as its series counts it."""
    if metric == ERROR_RATE:
        return median
    return math.log(max(0.0, median) + (1e-4 if metric == COST_RATE else 1.0))


@compiled
def _claim(novelties: NoveltyTables, pair: int, now_ms: int) -> int:
    """A room for a pair: a free one, or that of the least busy pair if this one is clearly busier; else NO_ROW."""
    chosen, fewest = NO_ROW, math.inf
    for number in range(len(novelties.rooms)):
        room = novelties.rooms[number]
        calls = 0.0 if now_ms - room.minute > ABANDONED_MS else room.calls
        if room.pair == 0:
            chosen, fewest = number, -1.0
            break
        if calls < fewest:
            chosen, fewest = number, calls
    activity = novelties.activities[pair]
    if chosen == NO_ROW or (fewest >= 0.0 and not (activity.minutes >= KNOWN and activity.calls > BUSIER * fewest)):
        return NO_ROW
    room = novelties.rooms[chosen]
    if room.pair > 0:
        novelties.room_of[room.pair - 1] = NO_ROW
    room.pair, room.minute = pair + 1, 0
    novelties.room_of[pair] = chosen
    for row in range(SERIES):
        room.departure[row] = 0.0
        _forget(novelties.states[chosen, row])
    return chosen


@compiled
def _forget(state: Record) -> None:
    """Make a state fresh. What rings hold of the past is overwritten before it is read, but for running sums."""
    state.seen, state.alerted_at = 0, 0
    state.habituation, state.loudest = 0.0, 0.0
    for lag in range(len(state.squares)):
        state.squares[lag] = 0.0


@compiled
def deviation_of(metric: int, value: float, departure: float) -> float:
    """The relative deviation of a minute: 1.0 is twice the usual, or half of it; of errors, as in the channels."""
    return ERRORS_WEIGH * value if metric == ERROR_RATE else math.exp(abs(departure)) - 1.0


@compiled
def _severity(tables: Tables, pair: int, metric: int, value: float, departure: float) -> int:
    if episodes.is_small(tables, pair, metric, deviation_of(metric, value, departure)):
        return 0
    return 1 if abs(departure) >= (MANY_ERRORS if metric == ERROR_RATE else DOUBLED) else 0


@compiled
def _is_told(tables: Tables, minute: Record, metric: int, seen: int, score: float, departure: float) -> bool:
    """Whether a minute opens an episode."""
    if seen <= PASSED or score < THRESHOLD or departure == 0.0:
        return False
    if max(float(minute.count), tables.aggregates[minute.pair, 0].median) < FEWEST_CALLS:
        return False
    return bool(metric != ERROR_RATE or (departure > 0.0 and minute.errors >= FEWEST_ERRORS))


@compiled
def _judge(
    tables: Tables,
    novelties: NoveltyTables,
    found: Found,
    minute: Record,
    number: int,
    row: int,
    now_ms: int,
) -> None:
    """Take a minute into one of the series in a room: open its episode, or let it go on."""
    room, state, metric, pair = novelties.rooms[number], novelties.states[number, row], FIRST + row, minute.pair
    sample = sample_of(minute, metric)
    score = novelty.update(state, sample) / policies.threshold_of(tables, pair, metric, NOVELTY)
    if room.departure[row] == 0.0:
        room.usual[row] = _counted(tables.aggregates[pair, row].median, metric)
    departure = sample - room.usual[row]
    if room.departure[row] != 0.0:
        room.lasted[row] += 1
        if departure / room.departure[row] < LASTING or room.lasted[row] > LONGEST:
            room.departure[row] = 0.0
            return
    elif not _is_told(tables, minute, metric, state.seen, score, departure):
        return
    else:
        room.departure[row], room.lasted[row] = departure, 1
    scores = np.zeros(len(DETECTORS))
    scores[NOVELTY] = max(1.0, score / THRESHOLD)
    place = Place(pair, metric, UP if departure > 0.0 else DOWN)
    moment = Moment(NO_EVENT, minute.last_offset, minute.minute)
    outlook, value, due = episodes.outlook_of(tables, pair, metric), value_of(minute, metric), now_ms + QUIET_MS
    severity = _severity(tables, pair, metric, value, departure)
    episodes.flag(tables, found, place, scores, moment, value, severity, outlook, due)


@compiled
def take(tables: Tables, novelties: NoveltyTables, found: Found, minute: Record, lateness_ms: int, now_ms: int) -> None:
    """Take a minute that closes at the watermark `now_ms`."""
    if minute.due != minute.minute + MINUTE_MS + lateness_ms:
        return
    pair = minute.pair
    activity = novelties.activities[pair]
    activity.minutes += 1
    activity.calls += (float(minute.count) - activity.calls) / min(activity.minutes, KNOWN)
    number = novelties.room_of[pair]
    if number == NO_ROW:
        number = _claim(novelties, pair, minute.minute)
    if number == NO_ROW or minute.minute <= novelties.rooms[number].minute:
        return
    novelties.rooms[number].minute, novelties.rooms[number].calls = minute.minute, activity.calls
    for row in range(SERIES):
        _judge(tables, novelties, found, minute, number, row, now_ms)
