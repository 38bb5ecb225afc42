"""Users: one that sends far more than the heaviest user of a pair usually does.

    n       = count - error of the user in the current minute, from a space-saving table of 32 users
    usual   = max(centre, 2 sqrt(share * calls of the minute so far))
    score   = min((2 sqrt(n) - usual) / (4 * max(spread, 1)), n / 12)
    centre, spread: of 2 sqrt(n of the heaviest user of a minute); share: mean share of that user

n is guaranteed: the true number of calls is never lower, however many users there are. Under the square root counts of
any size scatter by about one, which is the floor of the spread. A minute that is busier as a whole raises what is usual
of its heaviest user, so a general surge is nobody's doing. Centre, spread and share are learned as each minute gives
way to the next one: means over the last 300 minutes, winsorised at three spreads; minutes within an episode are
not learned, for two hours, after which the new level is adopted. Before 30 minutes nothing is said.

Unit: calls per minute; 1.0 is the threshold. It is told with the very call that reaches it. Severity: a warning from
twice the usual, critical once this user alone sends as much as the whole pair usually does, else info, as is what is
less than `min_deviation` above the usual. Calls without a user count for the minute alone. False alarms: none in
100 000 minutes of Poisson traffic of 200 users under Zipf's law (`tests/anomalies/test_detection_users.py` runs a part
of them). A user is watched per pair of service and model, so
one who turns to another model is another one there. Cost: some 30 ns per event; state: 440 bytes per pair.

Source: Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", ICDT 2005;
the square root: Anscombe, "The Transformation of Poisson, Binomial and Negative-Binomial Data", Biometrika 35, 1948.

>>> import numpy as np
>>> state = np.zeros(1, USERS_STATE)[0]
>>> for call in range(3000):  # a call a second, of five users in turn
...     _ = count(state, 1000 * call, 1 + call % 5, False)
>>> calm = count(state, 3_000_000, 1, False)
>>> for call in range(40):
...     loud = count(state, 3_000_500 + call, 9, False)
>>> calm < 1.0 <= loud
True
"""

from __future__ import annotations

import math

import numpy as np

from baselines.stats.compiled import compiled, inlined
from baselines.stats.window import Record

MINUTE_MS = 60_000
HEAVIEST = 32  # users of a minute that are kept
WARM = 30  # minutes learned before anything is said
MEMORY = 300.0  # minutes
REACH = 3.0  # spreads at which what is learned is cut
DISTANCE = 4.0  # spreads above what is usual
SMALLEST_SPREAD = 1.0
FEWEST = 12.0  # calls of a user in a minute that are worth a word
FROZEN = 120  # minutes of an episode that are not learned
TELLING = 2.0  # times the usual, from which it is a warning

USERS_STATE = np.dtype(
    [
        ("minute", "<i8"),  # the current one, since 1970
        ("learned", "<i4"),  # minutes
        ("frozen", "<i4"),  # minutes that were not, in a row
        ("center", "<f8"),  # of 2 sqrt(n)
        ("spread", "<f8"),
        ("share", "<f8"),  # of the heaviest user
        ("calls", "<f8"),  # of a minute
        ("total", "<u4"),  # calls of the current minute
        ("place", "<i4"),  # of the user of the last call
        ("codes", "<u4", (HEAVIEST,)),
        ("counts", "<u4", (HEAVIEST,)),
        ("errors", "<u4", (HEAVIEST,)),
    ]
)


@compiled
def _learn(state: Record, is_odd: bool) -> None:
    """Learn the current minute, unless it is part of an episode."""
    state.frozen = state.frozen + 1 if is_odd else 0
    if is_odd and state.frozen <= FROZEN:
        return
    heaviest = 0
    for place in range(HEAVIEST):
        heaviest = max(heaviest, int(state.counts[place]) - int(state.errors[place]))
    height, share = 2.0 * math.sqrt(heaviest), heaviest / max(1.0, float(state.total))
    pace = 1.0 / min(state.learned + 1.0, MEMORY)
    reach = REACH * max(state.spread, SMALLEST_SPREAD)
    step = height - state.center
    if state.learned > 0 and not is_odd:
        step = min(max(step, -reach), reach)
    state.center += step * pace
    # 1.25 mean absolute deviations are a standard deviation.
    state.spread += ((1.25 * abs(step) if state.learned > 0 else SMALLEST_SPREAD) - state.spread) * pace
    state.share += (share - state.share) * pace
    state.calls += (float(state.total) - state.calls) * pace
    state.learned += 1


@compiled
def _begin(state: Record, minute: int, is_odd: bool) -> None:
    """Begin a minute with an empty table, after the one before was learned."""
    if state.total > 0:
        _learn(state, is_odd)
    state.minute, state.total = minute, 0
    for place in range(HEAVIEST):
        state.codes[place], state.counts[place], state.errors[place] = 0, 0, 0


@inlined
def _place_of(state: Record, user: int) -> int:
    """The place of a user; if there is none, that of the user with the fewest calls, who is forgotten."""
    fewest = 0
    for place in range(HEAVIEST):
        if state.codes[place] == user:
            return place
        if state.counts[place] < state.counts[fewest]:
            fewest = place
    state.codes[fewest] = user
    state.errors[fewest] = state.counts[fewest]
    return fewest


@inlined
def calls_of(state: Record) -> int:
    """Calls per minute that the user of the last call has made for certain, in the current minute so far."""
    return int(state.counts[state.place]) - int(state.errors[state.place])


@inlined
def usual_height(state: Record) -> float:
    """2 sqrt(n) as is usual of the heaviest user, in a minute with as many calls as the current one."""
    return float(max(state.center, 2.0 * math.sqrt(state.share * state.total)))


@compiled
def usual_calls(state: Record) -> float:
    """Calls per minute that are usual of the heaviest user."""
    return float((usual_height(state) / 2.0) ** 2)


@compiled
def deviation_of(state: Record) -> float:
    """How much more the user of the last call sends than is usual of the heaviest one: 1.0 is twice as much."""
    return float(calls_of(state)) / max(usual_calls(state), 1.0) - 1.0


@compiled
def severity_of(state: Record) -> int:
    """Index into SEVERITIES of what the user of the last call does."""
    calls = float(calls_of(state))
    if calls >= max(state.calls, TELLING * usual_calls(state)):
        return 2
    return 1 if calls >= TELLING * usual_calls(state) else 0


@compiled
def count(state: Record, event_ms: int, user: int, is_odd: bool) -> float:
    """Count a call of a user (a code; 0 if unknown) at an event time; returns the score of that user.

    `is_odd` says that an episode is open. What is late for the current minute is not counted.
    """
    minute = event_ms // MINUTE_MS
    if minute < state.minute:
        return 0.0
    if minute > state.minute:
        _begin(state, minute, is_odd)
    state.total += 1
    if user == 0:
        return 0.0
    state.place = _place_of(state, user)
    state.counts[state.place] += 1
    calls = float(calls_of(state))
    if state.learned < WARM or calls < FEWEST:
        return 0.0
    above = 2.0 * math.sqrt(calls) - usual_height(state)
    return float(min(above / (DISTANCE * max(state.spread, SMALLEST_SPREAD)), calls / FEWEST))
