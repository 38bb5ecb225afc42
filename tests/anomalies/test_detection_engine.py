"""The engine over time: episodes, minutes, watermarks, rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalies.detection.arrays import NEVER, OPEN_MINUTES, Columns
from anomalies.detection.engine import CHUNK, OTHER
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.verdicts import Minute
from baselines.stats import sketch
from baselines.stats.series import EVENT_METRICS, Pair, SeriesKey
from tests.support.telemetry import NOON_MS, Told, batch, engine, latencies, part, sampled, traced, traffic, watching

CALM = 100.0 + np.arange(20) % 3
LATER = NOON_MS + 20_000


# Cuts


def told_in_pieces(columns: Columns, cuts: list[int], pairs: int, drains: set[int]) -> tuple[object, ...]:
    made, told, found = engine(pairs=pairs), Told(), []
    for start, stop in zip([0, *cuts], [*cuts, len(columns.pair)], strict=True):
        some = part(columns, start, stop)
        detections = made.score(some, sampled(some))
        found += [(each.offset, each.anomaly_id, each.score, each.detectors) for each in detections]
        if start in drains:
            told.add(made.drain())
    made.advance(int(columns.record_ms[-1]) + 10**7)
    told.add(made.drain())
    assert made.earliest_due() == NEVER
    return found, *told.everything()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 1500), max_size=8), st.integers(1, 6))
def test_any_cut_into_batches_tells_the_same(seed: int, cuts: list[int], pairs: int) -> None:
    columns = traffic(1500, pairs, seed)
    cuts = sorted(cuts)
    whole = told_in_pieces(columns, [], pairs, set())
    assert told_in_pieces(columns, cuts, pairs, set(cuts[::2])) == whole
    assert whole[0]
    assert whole[1]


def test_a_detection_names_its_row_in_batches_of_any_length() -> None:
    values = np.tile([100.0, 101.0, 102.0], 600)
    values[[700, 1500]] = 9999.0
    found = engine(watching("mad")).score(latencies(values), traced([f"t{event}" for event in range(1800)]))
    assert [(each.event, each.offset, each.value) for each in found] == [(700, 700, 9999.0), (1500, 1500, 9999.0)]


# Episodes


def test_an_episode_tells_what_its_samples_were() -> None:
    made = engine(watching("zscore", "mad"))
    made.score(latencies(CALM))
    values = [150.0, 400.0, 200.0]
    columns = latencies(values, event_ms=LATER + 1000 * np.arange(3), offset=[70, 71, 72])
    found = made.score(columns, traced(["", "b", "c"]))
    [episode] = made.drain().episodes
    assert (episode.key, episode.direction, episode.state) == (
        SeriesKey("service-0", "model", "latency_ms"),
        "up",
        "active",
    )
    assert (episode.first_seen_ms, episode.last_seen_ms, episode.occurrences) == (LATER, LATER + 2000, 3)
    assert (episode.first_offset, episode.last_offset) == (70, 72)
    assert (episode.value, episode.score) == (400.0, max(each.score for each in found))
    assert (episode.median, episode.lower, episode.upper) == (found[0].expected, found[0].lower, found[0].upper)
    assert episode.z_score == pytest.approx((400.0 - episode.mean) / episode.stddev)
    assert episode.detectors == {name: max(each.detectors[name] for each in found) for name in ("zscore", "mad")}
    assert (episode.confidence, episode.severity, episode.sample_trace_ids) == (1.0, "critical", ("b", "c"))
    assert {each.anomaly_id for each in found} == {episode.id} == set(made.open_episode_ids())


def test_a_drain_tells_only_what_changed_since_the_last_one() -> None:
    made = engine(watching("mad"), pairs=2)
    made.score(latencies(CALM))
    made.score(latencies([400.0], event_ms=LATER))
    assert len(made.drain().episodes) == 1
    made.score(latencies([100.0], event_ms=LATER + 1000))
    assert (made.drain().episodes, made.drain().touched_pairs) == ([], [])
    made.score(latencies([300.0], event_ms=LATER + 2000))
    [episode] = made.drain().episodes
    assert (episode.occurrences, episode.value) == (2, 400.0)


def test_an_episode_that_ends_and_another_that_opens_in_one_batch_keep_their_own_traces() -> None:
    made = engine(watching("mad"))
    made.score(latencies(CALM))
    event_ms = LATER + np.array([0, 1000, 100_000, 100_500])
    found = made.score(latencies([400.0, 410.0, 420.0, 100.0], event_ms=event_ms), traced(["a", "b", "c", "d"]))
    first, second = made.drain().episodes
    assert (first.state, first.occurrences, first.sample_trace_ids) == ("ended", 2, ("a", "b"))
    assert (second.state, second.occurrences, second.sample_trace_ids) == ("active", 1, ("c",))
    assert [each.anomaly_id for each in found] == [first.id, first.id, second.id]
    assert made.open_episode_ids() == [second.id]


def test_up_and_down_are_episodes_of_their_own() -> None:
    made = engine(watching("mad"))
    made.score(latencies(CALM))
    found = made.score(latencies([400.0, 1.0, 400.0], event_ms=LATER))
    assert [each.direction for each in found] == ["up", "down", "up"]
    assert len({each.anomaly_id for each in found}) == 2


@pytest.mark.parametrize(("quiet_ms", "state"), [(59_999, "active"), (60_000, "ended")])
def test_an_episode_ends_after_a_minute_of_quiet_event_time(quiet_ms: int, state: str) -> None:
    made = engine(watching("mad"))
    made.score(latencies(CALM))
    made.score(latencies([400.0], event_ms=LATER))
    made.score(latencies([100.0], event_ms=LATER + quiet_ms))
    assert [each.state for each in made.drain().episodes] == [state]


@pytest.mark.parametrize(("score", "severity"), [(1.2, "info"), (1.6, "warning"), (3.1, "critical")])
def test_severity_follows_from_the_score(score: float, severity: str) -> None:
    made = engine(watching("zscore"))
    made.score(latencies(CALM[:10]))
    mean, stddev = made.tables.series["mean"][0], max(made.tables.series["stddev"][0], 1.01)
    [found] = made.score(latencies([mean + score * 3 * stddev]))
    assert (found.severity, round(found.score, 1)) == (severity, score)


def test_ids_depend_on_topic_partition_and_event_only() -> None:
    def ids(offset: int, partition: int) -> set[object]:
        made = engine(watching("mad"))
        made.partition = partition
        made.score(latencies(CALM))
        return {each.anomaly_id for each in made.score(latencies([400.0], offset=offset))}

    assert ids(7, 1) == ids(7, 1)
    assert len(ids(7, 1) | ids(8, 1) | ids(7, 2)) == 3


# Minutes


def sums(minutes: list[Minute]) -> dict[str, float]:
    names = ("count", "errors", "cost_usd", "prompt_tokens", "completion_tokens", "total_tokens", "unpriced_calls")
    return {name: sum(getattr(minute, name) for minute in minutes) for name in (*names, "unpriced_tokens")}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(50, 30_000))
def test_the_sums_over_all_rows_are_the_totals_of_the_input(seed: int, pairs: int, spacing_ms: int) -> None:
    columns = traffic(900, pairs, seed, spacing_ms)
    made = engine(pairs=pairs)
    made.score(columns)
    made.advance(int(columns.record_ms[-1]) + 10**9)
    minutes = made.drain().minutes
    values = np.where(columns.failed[:, None] | np.isinf(columns.values), np.nan, columns.values)
    column = {name: values[:, index] for index, name in enumerate(EVENT_METRICS)}
    unpriced = np.isnan(column["cost_usd"]) & ~columns.failed
    expected = {name: np.trunc(np.nan_to_num(column[name])).sum() for name in column if name.endswith("tokens")}
    expected |= {"count": 900, "errors": columns.failed.sum(), "cost_usd": np.nansum(column["cost_usd"])}
    expected["unpriced_calls"] = unpriced.sum()
    expected["unpriced_tokens"] = np.trunc(np.nan_to_num(column["total_tokens"]))[unpriced].sum()
    assert sums(minutes) == pytest.approx(expected)
    merged = sketch.merge(minute.sketches for minute in minutes)
    assert merged.sum(axis=1).tolist() == [np.isfinite(column[name]).sum() for name in sketch.SKETCHED]
    assert len({(minute.pair, minute.minute_ms, minute.first_offset) for minute in minutes}) == len(minutes)
    assert int(made.tables.free_count[0]) == len(made.tables.minutes)


@pytest.mark.parametrize(("after_ms", "closed"), [(89_999, 0), (90_000, 1)])
def test_a_minute_closes_thirty_seconds_late_by_the_watermark(after_ms: int, closed: int) -> None:
    made = engine()
    made.score(latencies([1.0, 2.0], event_ms=[NOON_MS, NOON_MS + after_ms]))
    assert len(made.drain().minutes) == closed


def test_a_late_event_reopens_its_minute_as_a_further_row() -> None:
    made = engine()
    made.score(latencies([1.0, 2.0, 3.0], event_ms=NOON_MS + np.array([0, 200_000, 5_000])))
    made.advance(NOON_MS + 10**7)
    rows = [(row.minute_ms - NOON_MS, row.first_offset, row.count) for row in made.drain().minutes]
    assert sorted(rows) == [(0, 0, 1), (0, 2, 1), (180_000, 1, 1)]


def test_late_events_in_company_share_a_row() -> None:
    made = engine()
    late = NOON_MS + np.array([500_000, 0, 1, 2, 500_001])
    made.score(latencies(np.ones(5), event_ms=late))
    made.advance(NOON_MS + 10**7)
    assert sorted(row.count for row in made.drain().minutes) == [2, 3]


def test_an_event_from_the_future_closes_nothing() -> None:
    made = engine(watching("mad"))
    made.score(latencies(CALM))
    made.score(latencies([400.0], event_ms=LATER))
    made.drain()
    made.score(latencies([100.0], event_ms=LATER + 10**10, record_ms=LATER + 1000))
    changes = made.drain()
    assert (changes.minutes, changes.episodes) == ([], [])


def test_events_from_the_future_do_not_push_the_present_out() -> None:
    made = engine()
    future = NOON_MS + 10**9 * (1 + np.arange(2 * OPEN_MINUTES))
    made.score(latencies([1.0], event_ms=NOON_MS))
    made.score(latencies(np.ones(len(future)), event_ms=future, record_ms=NOON_MS))
    made.score(latencies([1.0], event_ms=NOON_MS + 1))
    made.advance(NOON_MS + 100_000)
    assert (NOON_MS, 2) in [(row.minute_ms, row.count) for row in made.drain().minutes]


def test_minutes_before_1970_begin_on_the_minute_too() -> None:
    made = engine()
    made.score(latencies([1.0, 2.0], event_ms=[-1, -60_000], record_ms=[0, 0]))
    made.advance(10**6)
    assert [(row.minute_ms, row.count) for row in made.drain().minutes] == [(-60_000, 2)]


def test_token_counts_that_no_call_can_have_do_not_overflow() -> None:
    made = engine()
    made.score(batch(3, total_tokens=[1e19, 5.0, 1e300], cost_usd=[np.inf, 1e-3, np.nan]))
    made.advance(NOON_MS + 10**7)
    [minute] = made.drain().minutes
    assert (minute.total_tokens, minute.unpriced_calls, minute.unpriced_tokens) == (5, 2, 0)


# Idle time


def test_idle_time_closes_minutes_and_episodes_once() -> None:
    made = engine(watching("mad"), pairs=3)
    made.score(latencies(CALM))
    made.score(latencies([400.0], event_ms=LATER))
    made.drain()
    due = made.earliest_due()
    assert due == LATER + 60_000
    made.advance(due - 1)
    assert made.drain().touched_pairs == []
    made.advance(due)
    made.advance(due)
    assert [each.state for each in made.drain().episodes] == ["ended"]
    made.advance(made.earliest_due())
    assert ([row.count for row in made.drain().minutes], made.earliest_due()) == ([21], NEVER)


def test_nothing_is_due_before_anything_happened() -> None:
    made = engine(pairs=3)
    assert made.earliest_due() == NEVER
    made.advance(NOON_MS)
    assert made.drain().touched_pairs == []


def test_idle_time_of_an_old_stream_counts_from_its_last_record() -> None:
    """A backfill: events of last year, written now. What ends them is the time that passes now."""
    made = engine()
    made.score(latencies([1.0], event_ms=NOON_MS - 10**10, record_ms=NOON_MS))
    made.advance(NOON_MS + 29_000)
    assert made.drain().minutes == []
    made.advance(NOON_MS + 90_000)
    assert len(made.drain().minutes) == 1


@pytest.mark.parametrize("lateness_ms", [0, 30_000])
def test_a_tick_at_the_time_that_was_named_always_closes_something(lateness_ms: int) -> None:
    made = engine(DetectionSettings(lateness_ms=lateness_ms), pairs=4)
    made.score(traffic(300, 4, 9))
    made.drain()
    closings = 0
    while (due := made.earliest_due()) != NEVER:
        made.advance(due)
        closings += bool(made.drain().touched_pairs)
        assert made.earliest_due() > due
    assert closings


# Rows


def test_pairs_beyond_the_most_share_one_row() -> None:
    made = engine(DetectionSettings(max_pairs=2), pairs=2)
    rows = [made.pair_row(f"new-{number}", "model") for number in range(5)]
    assert set(rows) == {2}
    assert (made.pairs[2], made.pair_row("service-1", "model")) == (OTHER, 1)
    capped = made.drain().capped
    assert capped == {Pair(f"new-{number}", "model"): 1 for number in range(5)}
    assert not made.drain().capped
    made.score(latencies(np.ones(5), pair=2))
    made.advance(NOON_MS + 10**7)
    assert [(row.pair, row.count) for row in made.drain().minutes] == [(OTHER, 5)]


def test_growing_tables_lose_nothing() -> None:
    made, pairs, rounds = engine(watching("mad")), 3 * CHUNK, 12
    made.score(latencies(CALM))
    made.score(latencies([400.0], event_ms=LATER))
    rows = np.array([made.pair_row(f"service-{number}", "model") for number in range(pairs)])
    for number in range(rounds):
        made.score(latencies(np.full(pairs, 101.0), pair=rows, event_ms=LATER + number))
    [episode] = made.drain().episodes
    assert (episode.occurrences, episode.value) == (1, 400.0)
    assert made.tables.series["learned"][:pairs].tolist() == [21 + rounds] + [rounds] * (pairs - 1)
    made.advance(LATER + 10**7)
    assert sorted(row.count for row in made.drain().minutes) == [rounds] * (pairs - 1) + [21 + rounds]
    assert sorted(made.tables.free_minutes.tolist()) == list(range(len(made.tables.minutes)))


def test_a_batch_of_nothing_changes_nothing() -> None:
    made = engine()
    assert made.score(latencies([])) == []
    assert made.drain().touched_pairs == []
