"""What is new about a minute: which minutes are told, of which pairs, and that nothing is forgotten over a restart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomalies.detection import loading, novel, novelty, obedience, saving
from anomalies.detection.arrays import Columns
from anomalies.detection.engine import Engine
from anomalies.detection.instructions import Instructions
from anomalies.detection.novel import PASSED, SERIES, THRESHOLD
from anomalies.detection.novelty import NOVELTY_STATE
from anomalies.detection.overrides import OverrideSet, Rule
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.types import INFO_ONLY, anomaly_type
from anomalies.detection.verdicts import Episode
from baselines.stats.codec import BrokenState
from baselines.stats.series import COST_RATE
from tests.support.telemetry import NOON_MS, TOPIC, batch, part

CALIBRATED = DetectionSettings(mode="calibrated")
MINUTE = 60_000
MINUTES = 1000
FROM, TO = 900, 915  # where something happens


def engine(pairs: int = 1, series: int = 100) -> Engine:
    made = Engine(DetectionSettings(mode="calibrated", max_novelty_series=series), TOPIC, 3)
    for number in range(pairs):
        made.pair_row(f"service-{number}", "model")
    return made


def rates(calls: float = 40.0, **changes: float) -> NDArray[np.float64]:
    """Mean calls of each minute, over a day and a bit; `calls` of a change hold in [FROM, TO)."""
    minute = np.arange(MINUTES)
    usual = calls * np.exp(0.5 * np.sin(2 * np.pi * minute / 720))
    usual[FROM:TO] *= changes.get("calls_by", 1.0)
    return usual


def traffic(mean: NDArray[np.float64], seed: int = 1, pair: int = 0, **changes: float) -> Columns:
    """A Poisson number of calls in each minute, of log-normal tokens and cost; `changes` hold in [FROM, TO)."""
    random = np.random.default_rng(seed)
    counts = random.poisson(mean)
    minute = np.repeat(np.arange(len(mean)), counts)
    at = np.sort(minute * MINUTE + random.integers(0, MINUTE, len(minute)))
    is_odd = (at >= FROM * MINUTE) & (at < TO * MINUTE)
    tokens = (random.lognormal(6.0, 0.6, len(at)) * np.where(is_odd, changes.get("tokens", 1.0), 1.0)).round() + 1
    return batch(
        len(at),
        pair=pair,
        event_ms=NOON_MS + at,
        latency_ms=random.lognormal(6.0, 0.3, len(at)),
        completion_tokens=tokens,
        total_tokens=tokens,
        cost_usd=tokens * 1e-5 * np.where(is_odd, changes.get("cost", 1.0), 1.0),
        failed=random.random(len(at)) < np.where(is_odd, changes.get("errors", 0.005), 0.005),
    )


def told(columns: Columns, made: Engine | None = None) -> list[Episode]:
    """The episodes that novelty had part in."""
    made = made or engine()
    made.score(columns)
    made.advance(int(columns.record_ms[-1]) + 10 * MINUTE)
    return [each for each in made.drain().episodes if "novelty" in each.detectors]


@pytest.mark.parametrize(
    ("columns", "kind", "metric"),
    [
        (traffic(rates(calls_by=4.0)), "traffic_surge", "request_rate"),
        (traffic(rates(calls_by=0.15)), "throughput_degradation", "request_rate"),
        (traffic(rates(), cost=6.0), "cost_anomaly", "cost_per_minute"),
        (traffic(rates(), errors=0.4), "error_rate_increase", "error_rate"),
        (traffic(rates(), tokens=8.0), "token_usage_spike", "tokens_per_minute"),
    ],
)
def test_a_minute_unlike_any_before_is_told_where_it_happens(columns: Columns, kind: str, metric: str) -> None:
    (episode,) = [each for each in told(columns) if each.key.metric == metric]
    assert anomaly_type(metric, episode.direction) == kind
    assert FROM * MINUTE <= episode.first_seen_ms - NOON_MS < (FROM + 3) * MINUTE
    assert (TO - 4) * MINUTE <= episode.last_seen_ms - NOON_MS < (TO + 5) * MINUTE
    assert episode.state == "ended"
    assert (episode.severity == "info") == (kind in INFO_ONLY)  # else the calls themselves may say more than a warning
    assert episode.occurrences >= 10


@pytest.mark.parametrize(
    ("metric", "change", "enough", "too_much"),
    [
        ("cost_per_minute", {"cost": 6.0}, 3.0, 20.0),
        ("tokens_per_minute", {"tokens": 8.0}, 4.0, 30.0),
        ("error_rate", {"errors": 0.4}, 1.0, 4.0),
    ],
)
def test_what_departs_by_less_than_operators_ask_for_stays_info(
    metric: str, change: dict[str, float], enough: float, too_much: float
) -> None:
    for least, is_info in ((enough, False), (too_much, True)):
        made = engine()
        obedience.take_up(made, Instructions(OverrideSet.of([Rule(metric=metric, min_deviation=least)], {})))
        (episode,) = [each for each in told(traffic(rates(), **change), made) if each.key.metric == metric]
        assert (episode.severity == "info") == is_info


@pytest.mark.parametrize("departure", [math.log(3.0), -math.log(3.0)])
def test_a_third_is_as_large_a_deviation_as_three_times_as_much(departure: float) -> None:
    assert novel.deviation_of(COST_RATE, 1.0, departure) == pytest.approx(2.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("calls", [4.0, 40.0])
def test_ordinary_minutes_are_not_told(calls: float, seed: int) -> None:
    assert told(traffic(rates(calls), seed)) == []


def test_on_noise_the_threshold_is_hardly_ever_reached() -> None:
    random, reached = np.random.default_rng(7), 0
    for mean in (30.0, 300.0):
        record = np.zeros(1, NOVELTY_STATE)[0]
        scores = [novelty.update(record, value) for value in np.log(random.poisson(mean, 5000) + 1.0)]
        reached += sum(score >= THRESHOLD for score in scores[PASSED:])
    assert reached <= 1


def test_nothing_is_said_of_the_first_minutes() -> None:
    mean = rates()[:PASSED].copy()
    mean[600:610] *= 5.0
    assert told(traffic(mean)) == []


def test_without_room_there_is_no_novelty() -> None:
    assert told(traffic(rates(calls_by=4.0)), engine(series=0)) == []


def test_the_room_of_a_pair_goes_to_one_that_is_clearly_busier() -> None:
    made = engine(pairs=3, series=SERIES)
    small, similar, large = (
        traffic(rates(calls)[:200], seed=pair, pair=pair) for pair, calls in enumerate((8, 10, 30))
    )
    made.score(small)
    assert made.novelties.room_of[0] == 0
    made.score(similar)
    assert made.novelties.room_of[0] == 0  # not by a little
    made.score(large)
    assert made.novelties.room_of[:3].tolist() == [-1, -1, 0]
    assert 100 <= made.novelties.states["seen"][0, 0] < 200  # it begins anew, an hour later


def test_a_room_given_on_begins_anew_to_the_bit() -> None:
    random = np.random.default_rng(3)
    used, fresh = np.zeros(2, NOVELTY_STATE)
    for value in random.normal(size=300):
        novelty.update(used, value)
    novel._forget(used)
    values = random.normal(size=400)
    assert [novelty.update(used, value) for value in values] == [novelty.update(fresh, value) for value in values]


CHANGED = traffic(rates(calls_by=4.0), cost=3.0)


def saved_and_loaded(cuts: list[int]) -> tuple[dict[Any, Episode], Engine]:
    """The last word about each episode when the engine is saved and loaded at some events."""
    made, image, last = engine(), dict[str, bytes](), dict[Any, Episode]()
    writer = saving.StateWriter(made)
    for first, end in zip([0, *cuts], [*cuts, len(CHANGED.pair)], strict=True):
        made.score(part(CHANGED, first, end))
        changes = made.drain()
        last |= {each.id: each for each in changes.episodes}
        image |= writer.encode(changes.touched_pairs)
        if cuts:
            made = engine(pairs=0)
            writer = loading.load(made, image)
    return last, made


WHOLE, ENGINE = saved_and_loaded([])


def test_there_is_something_to_compare() -> None:
    assert any("novelty" in each.detectors for each in WHOLE.values())


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(1, len(CHANGED.pair) - 1), min_size=1, max_size=6, unique=True))
def test_neither_cuts_nor_restarts_change_what_is_told(cuts: list[int]) -> None:
    last, made = saved_and_loaded(sorted(cuts))
    assert last == WHOLE
    before, after = ENGINE.novelties, made.novelties
    assert before.rooms[0] == after.rooms[0]
    assert before.states[0].tobytes() == after.states[0].tobytes()


def test_after_a_minute_little_is_written() -> None:
    made = engine()
    made.score(part(CHANGED, 0, 30_000))
    writer = saving.StateWriter(made)
    writer.encode(made.drain().touched_pairs)
    seen = int(made.novelties.states["seen"][0, 0])
    made.score(part(CHANGED, 30_000, 30_060))
    pieces = writer.encode(made.drain().touched_pairs)
    assert made.novelties.states["seen"][0, 0] > seen
    written = sum(len(piece) for name, piece in pieces.items() if name.startswith("n:"))
    assert written < 0.25 * made.novelties.states[0].nbytes


def test_a_state_that_lost_a_part_is_not_taken_for_whole() -> None:
    made = engine()
    made.score(part(CHANGED, 0, 3000))
    image = saving.StateWriter(made).encode(made.drain().touched_pairs)
    del image["n:0:2:v0"]
    with pytest.raises(BrokenState, match="n:0:2:"):
        loading.load(engine(pairs=0), image)
