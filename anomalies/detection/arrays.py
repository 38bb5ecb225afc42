"""The arrays that hold the detection state of one partition, as the kernels see them.

One row per (service, model) pair, per series (a pair and a metric of its events), per open episode, per open minute.
Rows never move; tables only grow, so an index once given stays good for the life of the state. Episodes and minutes
have slots, which are given back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.cusum import CUSUM_STATE
from anomalies.detection.dimensions import BACKGROUND
from anomalies.detection.settings import DETECTORS
from baselines.stats import sketch
from baselines.stats.rows import extended, side_by_side
from baselines.stats.series import EVENT_METRICS, METRICS, MINUTE_METRICS
from baselines.stats.window import SERIES

UP, DOWN = 0, 1
DIRECTIONS: tuple[str, str] = ("up", "down")
SEVERITIES: tuple[str, str, str] = ("info", "warning", "critical")
MINUTE_WINDOW = 360  # closed minutes that the baseline of an aggregate is of
OPEN_MINUTES = 4  # of one pair at once: the current one, the one before, and two that late events reopened
NEVER = np.iinfo(np.int64).max
NO_ROW = -1
# What is further from zero than this, or not a number, is taken for missing: windows hold float32, and a minute adds
# token counts up in 64 bits.
LARGEST = 1e15

PAIR = np.dtype(
    [
        ("watermark", "<i8"),  # event time, ms: advanced at most to the record's timestamp
        ("last_record", "<i8"),  # newest record timestamp, ms
        ("next_due", "<i8"),  # watermark at which a minute or an episode of the pair ends at the earliest
        ("open_count", "<i4"),  # of its episodes
        ("broad_count", "<i4"),  # of those about its traffic as a whole
    ]
)
UNTOLD = -1  # in place of a severity: no episode is opened
POLICY = np.dtype(
    [
        # At which a score is 1: of the classic detectors in their unit, of the others a factor on their own thresholds;
        # infinite where a detector does not run.
        ("threshold", "<f8", (len(DETECTORS),)),
        ("min_deviation", "<f8"),  # a smaller relative deviation stays info
        ("ceiling", "<i8", (len(DIRECTIONS),)),  # gravest severity told, an index into SEVERITIES, or UNTOLD
    ]
)
BAND = np.dtype(
    [
        ("lower", "<f8"),  # outside [lower, upper] at least one of zscore, iqr, mad scores 1 or more
        ("upper", "<f8"),
        ("learn_lower", "<f8"),  # samples are clipped to [learn_lower, learn_upper] before they are learned
        ("learn_upper", "<f8"),
    ]
)
EPISODE = np.dtype(
    [
        ("pair", "<i8"),
        ("first_offset", "<i8"),
        ("last_offset", "<i8"),
        ("first_seen", "<i8"),  # event time, ms
        ("last_seen", "<i8"),
        ("due", "<i8"),  # watermark at which it ends unless it is flagged again; NEVER if something else ends it
        ("occurrences", "<i8"),
        ("value", "<f8"),  # the sample with the highest score
        ("score", "<f8"),
        ("mean", "<f8"),  # the baseline when the episode opened
        ("stddev", "<f8"),
        ("median", "<f8"),
        ("lower", "<f8"),
        ("upper", "<f8"),
        ("metric", "<i4"),
        ("direction", "<i4"),
        ("detector", "<i4"),
        ("severity", "<i4"),
        ("is_changed", "<i4"),  # since the last drain
        ("is_adopted", "<i4"),  # ended because what it told of became normal
        ("handed_out", "<i4"),  # deviating events that were handed out
    ]
)
MINUTE = np.dtype(
    [
        ("pair", "<i8"),
        ("minute", "<i8"),  # start, event time, ms
        ("due", "<i8"),  # watermark at which it closes
        ("first_offset", "<i8"),
        ("last_offset", "<i8"),
        ("count", "<i8"),
        ("errors", "<i8"),
        ("cost_usd", "<f8"),
        ("prompt_tokens", "<i8"),
        ("completion_tokens", "<i8"),
        ("total_tokens", "<i8"),
        ("unpriced_calls", "<i8"),
        ("unpriced_tokens", "<i8"),
    ]
)
DETECTION = np.dtype(
    [
        ("event", "<i8"),  # row of the batch
        ("offset", "<i8"),
        ("event_ms", "<i8"),
        ("pair", "<i8"),
        ("metric", "<i4"),
        ("direction", "<i4"),
        ("detector", "<i4"),
        ("severity", "<i4"),
        ("first_offset", "<i8"),  # of its episode
        ("value", "<f8"),
        ("expected", "<f8"),
        ("lower", "<f8"),
        ("upper", "<f8"),
        ("score", "<f8"),
    ]
)
# An event (NO_EVENT for none) of the open episode of a pair, metric and direction that began at `first_offset`.
MENTION = np.dtype(
    [("event", "<i8"), ("pair", "<i8"), ("metric", "<i4"), ("direction", "<i4"), ("first_offset", "<i8")]
)


class Tables(NamedTuple):
    """The state; see the dtypes above. `series_of` says which row of the series tables a pair's metric has."""

    pairs: NDArray[np.void]  # PAIR[pairs]
    open_minutes: NDArray[np.int64]  # [pairs, OPEN_MINUTES], slots; NO_ROW where free
    series_of: NDArray[np.int64]  # [pairs, EVENT_METRICS], NO_ROW where the metric was never seen
    policy_of: NDArray[np.int32]  # [pairs, METRICS], rows of `policies`
    open_episodes: NDArray[np.int32]  # [pairs, METRICS, direction], slots; NO_ROW where none is open
    backgrounds: NDArray[np.void]  # BACKGROUND[pairs], what values of dimensions are usual
    policies: NDArray[np.void]  # POLICY[policies]; see anomalies.detection.policies
    series: NDArray[np.void]  # SERIES[series]
    rings: NDArray[np.float32]  # [series, window]
    bands: NDArray[np.void]  # BAND[series]; derived
    cusum: NDArray[np.void]  # CUSUM_STATE[series]
    aggregates: NDArray[np.void]  # SERIES[pairs, MINUTE_METRICS]; FEWEST_ROWS in all in classic mode
    aggregate_rings: NDArray[np.float32]  # [pairs, MINUTE_METRICS, MINUTE_WINDOW]
    episodes: NDArray[np.void]  # EPISODE[slots]
    episode_scores: NDArray[np.float64]  # [slots, DETECTORS]
    free_episodes: NDArray[np.int64]  # stack of free slots
    free_episode_count: NDArray[np.int64]  # [1], height of that stack
    minutes: NDArray[np.void]  # MINUTE[slots]
    sketches: NDArray[np.uint8]  # [slots, SKETCHED, BUCKETS]; see anomalies.detection.sketching
    carries: NDArray[np.int64]  # stack of buckets of them that overflowed
    carry_count: NDArray[np.int64]  # [1], height of that stack
    free_minutes: NDArray[np.int64]  # stack of free slots
    free_count: NDArray[np.int64]  # [1], height of that stack


class Signals(NamedTuple):
    """What calibrated evidence is about, per signal of anomalies.detection.channels."""

    metric: NDArray[np.int64]
    direction: NDArray[np.int64]


class Rules(NamedTuple):
    """The settings as the kernels take them."""

    cusum_drift: float
    min_samples: int
    refresh_ms: int
    quiet_ms: int
    lateness_ms: int
    is_calibrated: bool


class Columns(NamedTuple):
    """A batch of events of one partition, in the order of their offsets. Missing numbers are NaN."""

    pair: NDArray[np.int64]
    offset: NDArray[np.int64]
    event_ms: NDArray[np.int64]
    record_ms: NDArray[np.int64]
    failed: NDArray[np.bool_]
    values: NDArray[np.float64]  # [events, EVENT_METRICS]
    dimensions: NDArray[np.uint32]  # [events, DIMENSIONS], codes of anomalies.detection.dimensions


class Found(NamedTuple):
    """What a kernel found: the first `counts[k]` rows of each table are filled."""

    detections: NDArray[np.void]  # DETECTION
    detection_scores: NDArray[np.float64]  # [., DETECTORS]
    ended: NDArray[np.void]  # EPISODE
    ended_scores: NDArray[np.float64]  # [., DETECTORS]
    closed_minutes: NDArray[np.int64]  # slots
    opened: NDArray[np.void]  # MENTION of episodes that began
    backgrounds: NDArray[np.void]  # BACKGROUND, as it was when they did
    deviants: NDArray[np.void]  # MENTION of deviating events
    counts: NDArray[np.int64]  # detections, ended, closed minutes, opened, deviants


DETECTIONS, ENDED, CLOSED, OPENED, DEVIANTS = range(5)
MOST_DEVIANTS = 500  # of one episode that are handed out

# Each group lies side by side in memory.
_OF_PAIR: dict[str, tuple[Any, tuple[int, ...]]] = {
    "pairs": (PAIR, ()),
    "open_minutes": (np.int64, (OPEN_MINUTES,)),
    "series_of": (np.int64, (len(EVENT_METRICS),)),
    "policy_of": (np.int32, (len(METRICS),)),
    "open_episodes": (np.int32, (len(METRICS), len(DIRECTIONS))),
    "backgrounds": (BACKGROUND, ()),
}
_OF_SERIES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "bands": (BAND, ()),
    "series": (SERIES, ()),
    "cusum": (CUSUM_STATE, ()),
}
_OF_AGGREGATE: dict[str, tuple[Any, tuple[int, ...]]] = {
    "aggregates": (SERIES, (len(MINUTE_METRICS),)),
    "aggregate_rings": (np.float32, (len(MINUTE_METRICS), MINUTE_WINDOW)),
}
_OF_EPISODE: dict[str, tuple[Any, tuple[int, ...]]] = {
    "episodes": (EPISODE, ()),
    "episode_scores": (np.float64, (len(DETECTORS),)),
}
_OF_MINUTE: dict[str, tuple[Any, tuple[int, ...]]] = {
    "minutes": (MINUTE, ()),
    "sketches": (np.uint8, sketch.SHAPE),
}
_PAIR_TABLES = tuple(_OF_PAIR)
_AGGREGATE_TABLES = tuple(_OF_AGGREGATE)
_SERIES_TABLES = tuple(_OF_SERIES)
_RING_TABLES = ("rings",)
_EPISODE_TABLES = tuple(_OF_EPISODE)
_MINUTE_TABLES = tuple(_OF_MINUTE)
# Of tables side by side: NumPy takes a single row for contiguous, and numba would compile for that anew.
FEWEST_ROWS = 2
MOST_EPISODES = len(METRICS) * len(DIRECTIONS)  # of one pair at once


def allocate(pairs: int, series: int, slots: int, window: int, aggregates: int = FEWEST_ROWS) -> Tables:
    """Empty tables of the given sizes. Memory is taken when a row is first written, not before."""
    return Tables(
        **side_by_side(pairs, _OF_PAIR),
        **side_by_side(series, _OF_SERIES),
        policies=np.zeros(len(METRICS), POLICY),
        **side_by_side(aggregates, _OF_AGGREGATE),
        **side_by_side(MOST_EPISODES, _OF_EPISODE),
        **side_by_side(slots, _OF_MINUTE),
        rings=np.zeros((series, window), np.float32),
        free_episodes=_stack(np.arange(MOST_EPISODES, dtype=np.int64)[::-1], MOST_EPISODES),
        free_episode_count=np.array([MOST_EPISODES]),
        carries=np.zeros(0, np.int64),
        carry_count=np.zeros(1, np.int64),
        free_minutes=_stack(np.arange(slots, dtype=np.int64)[::-1], slots),
        free_count=np.array([slots]),
    )


def grown(
    tables: Tables, pairs: int = 0, series: int = 0, slots: int = 0, aggregates: int = 0, episodes: int = 0
) -> Tables:
    """Tables with room for at least so many rows: the given ones, or copies of twice their size where they are small.

    Views of the old tables see nothing of what is written to the new ones.
    """
    larger: dict[str, NDArray[Any]] = {}
    sizes = {_PAIR_TABLES: pairs, _AGGREGATE_TABLES: aggregates, _SERIES_TABLES: series}
    for names, wanted in sizes.items():
        group = {name: getattr(tables, name) for name in names}
        size = len(group[names[0]])
        if wanted > size:
            larger |= extended(group, max(wanted, 2 * size), size)
    if "series" in larger:
        larger["rings"] = _longer(tables.rings, len(larger["series"]))
    if slots > len(tables.minutes):
        larger |= _more_slots(tables, _MINUTE_TABLES, "free_minutes", "free_count", slots)
    if episodes > len(tables.episodes):
        larger |= _more_slots(tables, _EPISODE_TABLES, "free_episodes", "free_episode_count", episodes)
    return tables._replace(**larger) if larger else tables


def clear(tables: Tables, pair: int, series: list[int]) -> None:
    """Empty the row of a pair and those of its series."""
    has_aggregates = pair < len(tables.aggregates)
    aggregates = _AGGREGATE_TABLES if has_aggregates else ()
    for names, rows in ((_PAIR_TABLES + aggregates, pair), (_SERIES_TABLES + _RING_TABLES, series)):
        for name in names:
            table = getattr(tables, name)
            table[rows] = np.zeros((), table.dtype)
    for name in ("series_of", "open_minutes", "open_episodes"):
        getattr(tables, name)[pair] = NO_ROW


def _more_slots(
    tables: Tables, names: tuple[str, ...], stack_name: str, count_name: str, wanted: int
) -> dict[str, NDArray[Any]]:
    size = len(getattr(tables, names[0]))
    slots = max(wanted, 2 * size)
    free = getattr(tables, stack_name)[: getattr(tables, count_name)[0]]
    is_taken = np.ones(size, np.bool_)
    is_taken[free] = False
    used = int(np.flatnonzero(is_taken).max(initial=-1)) + 1
    # The lowest slot lies on top: slots that were never used stay untouched, and take no memory, as long as they can.
    free = np.concatenate([free, np.arange(size, slots)])
    free = np.sort(free)[::-1]
    longer = extended({name: getattr(tables, name) for name in names}, slots, used)
    return longer | {stack_name: _stack(free, slots), count_name: np.array([len(free)])}


def _longer(table: NDArray[Any], rows: int) -> NDArray[Any]:
    """Contiguous as it was: for another layout all loops would be compiled anew, in the midst of events."""
    longer = np.zeros((rows, *table.shape[1:]), table.dtype)
    longer[: len(table)] = table
    return longer


def _stack(free: NDArray[np.int64], height: int) -> NDArray[np.int64]:
    stack = np.zeros(height, np.int64)
    stack[: len(free)] = free
    return stack


def found(events: int) -> Found:
    """Room for what a kernel may find in so many events, or in the passing of time for so many pairs.

    An event flags each metric at most twice (a classic detector, a signal); before that it ends at most every episode
    of its pair, of which the ones begun by this batch are as many again. It closes the minutes of its pair, and one
    that makes room for its own.
    """
    detections, ended = 2 * events * len(METRICS), events * len(METRICS) * (len(DIRECTIONS) + 2)
    return Found(
        detections=np.empty(detections, DETECTION),
        detection_scores=np.empty((detections, len(DETECTORS))),
        ended=np.empty(ended, EPISODE),
        ended_scores=np.empty((ended, len(DETECTORS))),
        closed_minutes=np.empty(events * (OPEN_MINUTES + 1), np.int64),
        opened=np.empty(detections, MENTION),
        backgrounds=np.empty(detections, BACKGROUND),
        deviants=np.empty(detections, MENTION),
        counts=np.zeros(5, np.int64),
    )
