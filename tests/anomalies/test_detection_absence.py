"""Silence as an episode: when it is told, what it says, when it ends, and what is no silence."""

from __future__ import annotations

import doctest
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalies.detection import absence, loading, saving, state
from anomalies.detection.arrays import NEVER, Columns
from anomalies.detection.engine import OTHER, Engine
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.types import anomaly_type
from anomalies.detection.verdicts import Episode
from ingestion.columns import cuts, let_time_pass
from tests.support.telemetry import NOON_MS, TOPIC, batch, part

CALIBRATED = DetectionSettings(mode="calibrated")
MINUTE, HOUR = 60_000, 3_600_000


def engine(*names: str, settings: DetectionSettings = CALIBRATED) -> Engine:
    made = Engine(settings, TOPIC, 3)
    for name in names or ("chat-api",):
        made.pair_row(name, "gpt-4")
    return made


def calls(at_ms: Any, **columns: Any) -> Columns:
    """Calls of the pair in row 0 at these times since noon."""
    at = NOON_MS + np.asarray(at_ms, np.int64)
    return batch(len(at), event_ms=at, latency_ms=100.0, **columns)


def merged(*batches: Columns) -> Columns:
    """Events of several pairs in the order of their record times, with offsets of that order."""
    joined = Columns._make(np.concatenate(columns) for columns in zip(*batches, strict=True))
    order = np.argsort(joined.record_ms, kind="stable")
    in_order = Columns._make(column[order] for column in joined)
    return in_order._replace(offset=np.arange(len(order), dtype=np.int64))


def silences(made: Engine) -> list[Episode]:
    return [episode for episode in made.drain().episodes if episode.key.metric == "silence"]


def score(made: Engine, columns: Columns, clock_ms: int = 0) -> int:
    """Score as the pipeline does: idle time of the other pairs passes slot by slot."""
    clock_ms = clock_ms or int(columns.record_ms[0])
    for start, stop in cuts(columns.record_ms, clock_ms):
        some = part(columns, start, stop)
        clock_ms = let_time_pass(made, some.record_ms, clock_ms)
        made.score(some)
    return clock_ms


def idle(made: Engine, until_ms: int) -> None:
    """Let idle time pass as ticks do: only where something is due."""
    while (due := made.earliest_due()) <= NOON_MS + until_ms:
        made.advance(due)


STEADY = 1000 * np.arange(1200)  # a call a second for twenty minutes
LAST = int(STEADY[-1])


def test_a_pair_that_falls_silent_is_told_once_until_it_is_heard_again() -> None:
    made = engine()
    made.score(calls(STEADY))
    assert silences(made) == []
    idle(made, LAST + 90_000)
    (told,) = silences(made)
    assert (told.state, told.severity, told.detector, told.direction) == ("active", "warning", "silence", "down")
    assert anomaly_type(told.key.metric, told.direction) == "silence"
    assert (told.first_offset, told.first_seen_ms) == (1199, NOON_MS + LAST)
    assert told.value == pytest.approx(60.0, abs=1.0)
    assert told.median == pytest.approx(1.0, rel=0.1)
    assert told.last_seen_ms == NOON_MS + LAST + round(told.value * 1000)
    made.score(calls([LAST + 3 * MINUTE], offset=1200))
    (ended,) = silences(made)
    assert (ended.id, ended.state, ended.value) == (told.id, "ended", 180.0)
    assert ended.score >= told.score


def test_a_silence_becomes_critical_with_its_length_and_says_so() -> None:
    made = engine()
    made.score(calls(STEADY))
    seen = []
    while (due := made.earliest_due()) < NOON_MS + LAST + 2 * HOUR:
        made.advance(due)
        seen += [(round(each.value / 60), each.severity) for each in silences(made)]
    assert seen == [
        (1, "warning"),
        (2, "warning"),
        (4, "warning"),
        (8, "warning"),
        (10, "critical"),
        (20, "critical"),
        (40, "critical"),
        (80, "critical"),
    ]


def test_what_a_silence_hides_is_not_told_of_the_rate_of_events() -> None:
    made = engine()
    made.score(calls(np.concatenate([STEADY, STEADY + LAST + 5 * MINUTE])))
    without = {episode.key.metric for episode in made.drain().episodes}
    assert "request_rate" in without  # nobody told the silence, so the first call behind it does
    made = engine()
    made.score(calls(STEADY))
    idle(made, LAST + 5 * MINUTE)
    made.score(calls(STEADY + LAST + 5 * MINUTE, offset=1200 + np.arange(1200)))
    assert {episode.key.metric for episode in made.drain().episodes} == {"silence"}


def test_two_silences_are_two() -> None:
    made = engine()
    made.score(calls(STEADY))
    idle(made, LAST + 5 * MINUTE)
    made.score(calls(STEADY + LAST + 5 * MINUTE, offset=1200 + np.arange(1200)))
    idle(made, 2 * LAST + 10 * MINUTE)
    first, second = silences(made)
    assert first.id != second.id
    assert (first.state, second.state) == ("ended", "active")


def test_a_young_pair_is_never_silent() -> None:
    made = engine()
    made.score(calls(STEADY[:50]))
    idle(made, 10 * HOUR)
    assert silences(made) == []
    assert made.earliest_due() == NEVER


def test_classic_mode_knows_no_silence() -> None:
    made = engine(settings=DetectionSettings())
    made.score(calls(STEADY))
    made.advance(NOON_MS + LAST + HOUR)
    assert silences(made) == []


def test_the_row_that_pairs_share_is_never_silent() -> None:
    made = Engine(DetectionSettings(mode="calibrated", max_pairs=1), TOPIC, 3)
    rows = [made.pair_row(name, "gpt-4") for name in ("kept", "beyond")]
    assert made.pairs[rows[1]] == OTHER
    made.score(calls(STEADY, pair=rows[1]))
    idle(made, LAST + HOUR)
    assert silences(made) == []


def test_one_pair_falls_silent_while_others_send() -> None:
    made = engine("silent", "busy")
    both = merged(calls(STEADY, pair=0), calls(500 + 1000 * np.arange(1500), pair=1))
    score(made, both)
    (told,) = silences(made)
    assert told.key.service == "silent"
    assert (told.state, told.first_seen_ms) == ("active", NOON_MS + LAST)


def test_a_gap_of_the_whole_partition_is_nobodys_silence() -> None:
    """The broker was down: the first to be back must not accuse the others."""
    made = engine("first", "second")
    after = LAST + HOUR
    before = [calls(STEADY, pair=0), calls(500 + STEADY, pair=1)]
    behind = [calls(after + STEADY[:300], pair=0), calls(after + 50_000 + STEADY[:250], pair=1)]
    score(made, merged(*before, *behind))
    assert silences(made) == []


def test_who_does_not_come_back_after_such_a_gap_is_silent_in_the_end() -> None:
    made = engine("first", "second")
    after = LAST + HOUR
    columns = merged(calls(STEADY, pair=0), calls(500 + STEADY, pair=1), calls(after + STEADY[:300], pair=0))
    score(made, columns)
    (told,) = silences(made)
    assert told.key.service == "second"
    assert told.last_seen_ms - told.first_seen_ms < 5 * MINUTE  # of the hour nobody knows


def test_confirmed_idle_time_is_a_silence_of_all() -> None:
    made = engine("first", "second")
    score(made, merged(calls(STEADY, pair=0), calls(500 + STEADY, pair=1)))
    idle(made, LAST + 5 * MINUTE)
    assert {episode.key.service for episode in silences(made)} == {"first", "second"}


def test_a_recording_tells_what_it_lacks() -> None:
    made = engine()
    columns = calls(np.concatenate([STEADY, STEADY + LAST + HOUR]))
    clock_ms = NOON_MS
    for start, stop in cuts(columns.record_ms, clock_ms):
        some = part(columns, start, stop)
        clock_ms = let_time_pass(made, some.record_ms, clock_ms, is_recording=True)
        made.score(some)
    (told,) = silences(made)
    assert (told.state, told.value) == ("ended", 3600.0)


def test_a_pair_whose_clock_is_behind_is_not_silent() -> None:
    made = engine("behind", "exact")
    late = calls(STEADY - 10 * MINUTE, pair=0)
    exact = calls(500 + STEADY, pair=1)
    order = np.argsort(np.concatenate([STEADY, 500 + STEADY]), kind="stable")
    both = Columns._make(np.concatenate(columns)[order] for columns in zip(late, exact, strict=True))
    score(made, both._replace(offset=np.arange(2400)))
    assert silences(made) == []


def test_what_comes_by_the_hour_is_not_silent_between() -> None:
    """Calls of an hour that arrive together: their times are close, their records are not."""
    made = engine("hourly", "steady")
    hours = 12
    events = np.concatenate([60_000 * np.arange(60) + HOUR * hour for hour in range(hours)])
    records = NOON_MS + np.repeat(HOUR * (1 + np.arange(hours)), 60)
    hourly = calls(events, pair=0)._replace(record_ms=records)
    steady = calls(5000 * np.arange(hours * 720), pair=1)
    columns = merged(hourly, steady)
    score(made, columns)
    told = silences(made)
    assert len(told) <= 9  # until the 500th gap tells that such hours recur
    assert max((each.first_seen_ms for each in told), default=0) < NOON_MS + 10 * HOUR


def _history() -> tuple[Columns, dict[int, int]]:
    """Two pairs with lulls and an outage, and where ticks stand: by offset, the record time."""
    random = np.random.default_rng(5)
    at = np.cumsum(random.exponential(2000.0, 600)).astype(np.int64)
    at[300:] += 20 * MINUTE
    other = np.cumsum(random.exponential(700.0, 800)).astype(np.int64)
    other[500:] += 6 * MINUTE
    columns = merged(calls(at, pair=0), calls(other, pair=1))
    end = int(columns.record_ms[-1])
    return columns, {700: int(columns.record_ms[700]) - 1, len(columns.pair): end + 2 * HOUR}


HISTORY, TICKS = _history()


def _told(where: list[int], restarts: bool) -> dict[Any, tuple[Any, ...]]:
    """The last word on each silence when the history is cut at some places, the engine saved and loaded there."""
    made, clock_ms, image, seen = (
        engine("one", "two"),
        int(HISTORY.record_ms[0]),
        dict[str, bytes](),
        dict[Any, Episode](),
    )
    writer = saving.StateWriter(made)
    bounds = sorted({0, len(HISTORY.pair), *where, *TICKS})
    for start, stop in zip([-1, *bounds], bounds, strict=False):
        if stop > start >= 0:
            clock_ms = score(made, part(HISTORY, start, stop), clock_ms)
        if stop in TICKS:
            made.advance(TICKS[stop])
        changes = made.drain()
        seen |= {each.id: each for each in changes.episodes if each.key.metric == "silence"}
        image |= writer.encode(changes.touched_pairs)
        if restarts and changes.touched_pairs:
            made = Engine(CALIBRATED, TOPIC, 3)
            writer = loading.load(made, image)
    return {
        name: (each.state, each.value, each.score, each.occurrences, each.severity, each.last_seen_ms)
        for name, each in seen.items()
    }


@cache
def _told_in_one_piece() -> dict[Any, tuple[Any, ...]]:
    return _told([], restarts=False)


def test_there_is_a_silence_to_compare() -> None:
    assert len(_told_in_one_piece()) >= 2


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, len(HISTORY.pair) - 1), max_size=8, unique=True), st.booleans())
def test_neither_cuts_nor_restarts_change_a_silence(where: list[int], restarts: bool) -> None:
    assert _told(where, restarts) == _told_in_one_piece()


def test_a_state_without_a_clock_is_loaded() -> None:
    made = engine()
    made.score(calls(STEADY))
    image = saving.StateWriter(made).encode(made.drain().touched_pairs)
    del image[state.CLOCK_PIECE]
    again = Engine(CALIBRATED, TOPIC, 3)
    loading.load(again, image)
    again.score(calls([LAST + 1000], offset=1200))
    assert silences(again) == []


def test_the_examples_of_the_documentation_run() -> None:
    assert doctest.testmod(absence).failed == 0
