"""Distributions of a pair, watched for drift: of prompt tokens, of completion tokens, and of finish reasons.

    score = that of anomalies.detection.drift, of a recent window against a reference

One event in eight is learned, so that windows of 500 values cover some 4000 events: what comes in bursts or belongs to
an hour is not taken for drift. Tokens are kept as 16-bit codes of ln(tokens + 1), 0.07 % apart, in both windows alike.
A value that leaves the recent window takes, once in eight times, a random place in the reference, which so is a sample
of the last 32 000 events, and never a year old. Of finish reasons two sets of counts of the 8 first seen ones are kept,
which fade over 500 and over 4000 values.

They are compared every 50 values, once 2000 values were learned, and an episode opens when two comparisons in a row
reach the threshold. It ends when two do not, or is adopted once it lasted for another window: then the recent window
is the reference. While any other episode of the pair is open nothing is learned, and if that took long (its level was
adopted), all begins anew: an incident is not told once more by its traces.

Unit: of `value`, tokens per call (median of the recent window; expected is that of the reference), or the population
stability index of finish reasons (the upper edge is what it may reach). Severity: info, a warning from twice the
threshold, of tokens if also one of their deciles changed by `min_deviation`; shares of finish reasons are no sizes, of
which a fraction could be asked. False alarms: on recorded tokens of a production service less than 0.5 in 100 000
events (`make bench-detection`). Failed calls, and calls without the value, are skipped. State: 4.2 kB per pair; cost:
some 100 ns per event. Sources: those of anomalies.detection.drift; of the reference: Vitter, "Random Sampling with a
Reservoir", ACM Transactions on Mathematical Software 11, 1985, with replacement that never slows down.

>>> import numpy as np
>>> state, random = np.zeros(1, TOKEN_WINDOWS)[0], np.random.default_rng(1)
>>> for tokens in random.lognormal(6.0, 0.8, 3000):
...     learn(state, tokens, random.random(), True)
>>> round(median(in_order(state["reference"])), -2), score(state) < 1.0
(400.0, True)
>>> for tokens in random.lognormal(6.8, 0.8, 500):
...     learn(state, tokens, random.random(), False)
>>> score(state) > 1.0
True
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import drift, episodes, policies
from anomalies.detection.arrays import DOWN, NEVER, NO_ROW, UP, Columns, Found, Tables
from anomalies.detection.dimensions import FINISH, chance
from anomalies.detection.episodes import NO_EVENT, Moment, Outlook, Place
from anomalies.detection.minutes import is_present
from anomalies.detection.settings import DRIFT
from baselines.stats.compiled import compiled, inlined
from baselines.stats.ordering import ascending
from baselines.stats.series import (
    COMPLETION_TOKENS,
    EMBEDDING,
    FINISH_REASON,
    INPUT_DRIFT,
    OUTPUT_DRIFT,
    PROMPT_TOKENS,
)
from baselines.stats.window import Record

ONE_IN = 8  # events are learned
WINDOW = 500  # values
RENEWED = 0.125  # share of the values leaving the recent window that enter the reference
WARM = 2000  # values learned before anything is said
COMPARED_EVERY = 50  # values
IN_A_ROW = 2  # comparisons
LONG = 300  # values that other episodes kept from being learned: their level was adopted
SCALE = 1500.0  # codes per unit of ln(tokens + 1)
REASONS = 8
RECENT_MEMORY, REFERENCE_MEMORY = 500.0, 4000.0  # values
TELLING = 2.0  # a score from which it is a warning

COURSE = [
    ("learned", "<i4"),  # values since it began
    ("strikes", "<i4"),  # comparisons in a row that reached the threshold, at most IN_A_ROW
    ("lasted", "<i4"),  # values since its episode opened
    ("kept_out", "<i4"),  # values that other episodes kept from being learned, in a row
]
TOKEN_WINDOWS = np.dtype([*COURSE, ("reference", "<i2", (WINDOW,)), ("recent", "<i2", (WINDOW,))])
ENDINGS = np.dtype(
    [
        *COURSE,
        ("codes", "<u4", (REASONS,)),
        ("reference", "<f4", (REASONS + 1,)),  # the last counts all others
        ("recent", "<f4", (REASONS + 1,)),
    ]
)
_TOKENS = ((INPUT_DRIFT, PROMPT_TOKENS), (OUTPUT_DRIFT, COMPLETION_TOKENS))


@inlined
def is_chosen(offset: int) -> bool:
    """Whether the event at an offset is learned."""
    return bool(chance(offset, FINISH + 1) * ONE_IN < 1.0)


# Tokens


@compiled
def _renew(reference: NDArray[np.int16], value: int, place: int) -> None:
    """Put a value into an ascending reference instead of the one at `place`."""
    while place + 1 < len(reference) and reference[place + 1] < value:
        reference[place] = reference[place + 1]
        place += 1
    while place > 0 and reference[place - 1] > value:
        reference[place] = reference[place - 1]
        place -= 1
    reference[place] = value


@compiled
def learn(state: Record, tokens: float, dice: float, is_calm: bool) -> None:
    """Learn one number of tokens; `dice` in [0, 1) decides whether and where the reference is renewed."""
    value = min(32767, int(math.log(tokens + 1.0) * SCALE + 0.5))
    if state.learned < WINDOW:
        state.reference[state.learned] = value
        if state.learned == WINDOW - 1:
            state.reference[:] = ascending(state.reference.astype(np.float32)).astype(np.int16)
    else:
        place = (state.learned - WINDOW) % WINDOW
        if is_calm and state.learned >= 2 * WINDOW and dice < RENEWED:
            _renew(state.reference, state.recent[place], int(dice / RENEWED * WINDOW))
        state.recent[place] = value
    state.learned += 1


@compiled
def score(state: Record) -> float:
    """The score of the recent window; both are full."""
    found: float = drift.distribution_score(state.reference.astype(np.float64), in_order(state.recent))
    return found


@compiled
def in_order(codes: NDArray[np.int16]) -> NDArray[np.float64]:
    """The codes of a window, ascending."""
    return ascending(codes.astype(np.float32)).astype(np.float64)


@compiled
def median(ordered: NDArray[np.float64]) -> float:
    """The median of a window, in tokens; `ordered` are its codes, ascending."""
    return float(math.exp(0.5 * (ordered[(WINDOW - 1) // 2] + ordered[WINDOW // 2]) / SCALE) - 1.0)


@compiled
def deviation_of(reference: NDArray[np.float64], recent: NDArray[np.float64]) -> float:
    """The relative change of that decile of tokens that changed most, of two windows of ascending codes.

    What drifts is often not the median: 1.0 says that, for instance, the tenth with the longest prompts became twice as
    long, or half as long.
    """
    largest = 0.0
    for tenth in range(1, 10):
        place = WINDOW * tenth // 10
        largest = max(largest, abs(recent[place] - reference[place]))
    return float(math.exp(largest / SCALE) - 1.0)


@compiled
def _compare_tokens(
    tables: Tables, state: Record, place: Place, moment: Moment, scores: NDArray[np.float64], found: Found
) -> None:
    reference, recent = state.reference.astype(np.float64), in_order(state.recent)
    value, usual = median(recent), median(reference)
    found_score, deviation = drift.distribution_score(reference, recent), deviation_of(reference, recent)
    outlook = Outlook(math.nan, math.nan, usual, -math.inf, math.inf)
    place = Place(place.pair, place.metric, UP if value >= usual else DOWN)
    if judge(tables, state, place, moment, found_score, value, deviation, outlook, scores, found, NEVER):
        state.reference[:] = recent.astype(np.int16)


# Finish reasons


@compiled
def _count(state: Record, code: int, is_calm: bool) -> None:
    """Count a finish reason."""
    if state.learned == 0:
        state.codes[:], state.reference[:], state.recent[:] = 0, 0.0, 0.0
    place = REASONS
    for reason in range(REASONS):
        if state.codes[reason] == code or state.codes[reason] == 0:
            state.codes[reason] = code
            place = reason
            break
    for reason in range(REASONS + 1):
        state.recent[reason] *= 1.0 - 1.0 / RECENT_MEMORY
        if is_calm:
            state.reference[reason] *= 1.0 - 1.0 / REFERENCE_MEMORY
    state.recent[place] += 1.0
    if is_calm:
        state.reference[place] += 1.0
    state.learned += 1


@compiled
def _compare_endings(
    tables: Tables, state: Record, pair: int, moment: Moment, scores: NDArray[np.float64], found: Found
) -> None:
    used = np.flatnonzero(state.reference + state.recent)
    reference, recent = np.empty(len(used)), np.empty(len(used))
    for place in range(len(used)):
        reference[place], recent[place] = state.reference[used[place]], state.recent[used[place]]
    found_score, index = drift.category_score(reference, recent), drift.stability_index(reference, recent)
    outlook = Outlook(math.nan, math.nan, math.nan, -math.inf, index / max(found_score, 1e-9))
    place_of = Place(pair, FINISH_REASON, UP)
    if judge(tables, state, place_of, moment, found_score, index, math.inf, outlook, scores, found, NEVER):
        state.reference[:] = state.recent


# Both


@inlined
def slot_of(tables: Tables, pair: int, metric: int) -> int:
    """The slot of the open episode of a metric in whichever direction; NO_ROW if there is none."""
    slot = tables.open_episodes[pair, metric, UP]
    return int(slot if slot != NO_ROW else tables.open_episodes[pair, metric, DOWN])


@compiled
def judge(
    tables: Tables,
    state: Record,
    place: Place,
    moment: Moment,
    found_score: float,
    value: float,
    deviation: float,
    outlook: Outlook,
    scores: NDArray[np.float64],
    found: Found,
    due: int,
) -> bool:
    """Open, extend or end the episode of a comparison; returns whether what is recent is to be the reference.

    `deviation` is relative, infinite where that has no meaning; `due` is the watermark at which it ends though no
    comparison says so.
    """
    slot = slot_of(tables, place.pair, place.metric)
    found_score /= policies.threshold_of(tables, place.pair, place.metric, DRIFT)
    is_odd = found_score >= 1.0
    state.strikes = min(IN_A_ROW, state.strikes + 1) if is_odd else max(0, state.strikes - 1)
    if slot == NO_ROW:
        state.lasted = 0
        if not is_odd:
            state.strikes = 0
        if state.strikes < IN_A_ROW:
            return False
    else:
        state.lasted += COMPARED_EVERY
        is_adopted = state.lasted >= WINDOW
        if is_adopted or state.strikes == 0:
            tables.episodes[slot].is_adopted = 1 if is_adopted else 0
            tables.episodes[slot].is_changed = 1
            episodes.end(tables, found, slot)
            state.strikes = 0
            return bool(is_adopted)
        is_up = tables.open_episodes[place.pair, place.metric, UP] != NO_ROW
        place = Place(place.pair, place.metric, UP if is_up else DOWN)
    if is_odd:
        scores[:] = 0.0
        scores[DRIFT] = found_score
        is_small = episodes.is_small(tables, place.pair, place.metric, deviation)
        severity = 1 if found_score >= TELLING and not is_small else 0
        episodes.flag(tables, found, place, scores, moment, value, severity, outlook, due)
    return False


@inlined
def is_disturbed(tables: Tables, pair: int) -> bool:
    """Whether an episode is open that is not about drift."""
    own = 0
    for metric in (INPUT_DRIFT, OUTPUT_DRIFT, FINISH_REASON, EMBEDDING):
        own += slot_of(tables, pair, metric) != NO_ROW
    return bool(tables.pairs[pair].open_count > own)


@inlined
def is_due(state: Record) -> bool:
    return bool(state.learned >= WARM and state.learned % COMPARED_EVERY == 0)


@compiled
def is_kept_out(state: Record, is_odd: bool) -> bool:
    """Whether another episode keeps a value from being learned; what that lasted long for begins anew."""
    if is_odd:
        state.kept_out += 1
        return True
    if state.kept_out >= LONG:
        state.learned, state.strikes = 0, 0
    state.kept_out = 0
    return False


@compiled
def observe(
    tables: Tables,
    windows: NDArray[np.void],
    endings: NDArray[np.void],
    columns: Columns,
    event: int,
    scores: NDArray[np.float64],
    found: Found,
) -> None:
    """Take one chosen event: TOKEN_WINDOWS[pairs, 2], ENDINGS[pairs]; `scores` is room to work in."""
    if columns.failed[event]:
        return
    pair, offset = columns.pair[event], columns.offset[event]
    is_odd = is_disturbed(tables, pair)
    moment = Moment(NO_EVENT, offset, columns.event_ms[event])
    for place in range(len(_TOKENS)):
        metric, source = _TOKENS[place]
        state, tokens = windows[pair, place], columns.values[event, source]
        if not is_present(tokens) or is_kept_out(state, is_odd):
            continue
        is_calm = state.strikes == 0 and slot_of(tables, pair, metric) == NO_ROW
        learn(state, max(tokens, 0.0), chance(offset, FINISH + 2 + place), is_calm)
        if is_due(state):
            _compare_tokens(tables, state, Place(pair, metric, UP), moment, scores, found)
    state, code = endings[pair], columns.dimensions[event, FINISH]
    if code != 0 and not is_kept_out(state, is_odd):
        _count(state, code, state.strikes == 0 and slot_of(tables, pair, FINISH_REASON) == NO_ROW)
        if is_due(state):
            _compare_endings(tables, state, pair, moment, scores, found)
