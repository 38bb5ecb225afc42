"""Drift of embeddings: against SciPy, what opens an episode, what ends it, and what is not taken for an embedding."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import scipy.spatial.distance
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomalies.detection import drift, embeddings, loading, saving
from anomalies.detection.arrays import Columns
from anomalies.detection.distributions import is_chosen
from anomalies.detection.embeddings import A_DAY_MS, EMBEDDING_STATE, MAX_DIMENSION, Embeddings, Vector
from anomalies.detection.engine import Engine
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.types import anomaly_type
from anomalies.detection.verdicts import Episode
from baselines.stats.codec import BrokenState
from baselines.stats.series import Pair
from tests.support.telemetry import NOON_MS, TOPIC, batch, part, sampled

CALIBRATED = DetectionSettings(mode="calibrated")
EVENTS, CHANGE = 32_000, 22_000
SIZE = 16
HERE, THERE = 2.0 * np.eye(SIZE)[0], 2.0 * np.eye(SIZE)[1]

Vectors = dict[int, Vector]  # by offset


def calibrated() -> Engine:
    made = Engine(CALIBRATED, TOPIC, 3)
    made.pair_row("chat-api", "gpt-4")
    return made


def calls(seed: int = 1) -> Columns:
    """Five a second, which have nothing odd about them."""
    random = np.random.default_rng(seed)
    tokens = random.lognormal(5.0, 0.6, (2, EVENTS)).round() + 1
    return batch(
        EVENTS,
        latency_ms=(300.0 + 20.0 * tokens[1]) * np.exp(0.3 * random.normal(size=EVENTS)),
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        total_tokens=tokens.sum(axis=0),
        event_ms=NOON_MS + np.cumsum(random.exponential(200.0, EVENTS)).astype(np.int64),
    )


def vectors(seed: int = 1, later: NDArray[np.float64] = THERE, size: int = SIZE) -> Vectors:
    """Of the events that are learned; from CHANGE on they point elsewhere."""
    random = np.random.default_rng(seed)
    places = [place for place in range(EVENTS) if is_chosen(place)]
    return {place: (HERE if place < CHANGE else later)[:size] + random.normal(0.0, 0.4, size) for place in places}


def within(given: Vectors, first: int, end: int) -> Vectors:
    return {place - first: vector for place, vector in given.items() if first <= place < end}


CALLS = calls()
TURNED = vectors()


def drifts(engine: Engine) -> list[Episode]:
    return [one for one in engine.drain().episodes if anomaly_type(one.key.metric, one.direction) == "embedding_drift"]


def found(given: Vectors, columns: Columns = CALLS) -> list[Episode]:
    engine = calibrated()
    engine.score(columns, sampled(columns), given)
    return drifts(engine)


# The distance

NUMBERS = st.lists(st.floats(-100, 100), min_size=3, max_size=3)


@settings(max_examples=100, deadline=None)
@given(NUMBERS, NUMBERS)
def test_the_cosine_distance_is_scipys(some: list[float], others: list[float]) -> None:
    first, second = np.array(some) + 200.0 * np.eye(3)[2], np.array(others) - 300.0 * np.eye(3)[1]
    expected = scipy.spatial.distance.cosine(first, second)
    assert drift.embedding_distance(first, second) == pytest.approx(expected, abs=1e-12)
    assert drift.embedding_distance(first, np.zeros(3)) == 0.0


def learned(given: NDArray[np.float64]) -> tuple[np.void, NDArray[np.float32]]:
    made, sums = np.zeros(1, EMBEDDING_STATE)[0], np.zeros((2, given.shape[1]), np.float32)
    for vector in given:
        embeddings.learn(made, sums, vector, True)
    return made, sums


@pytest.mark.parametrize("scatter", [0.0, 0.3, 3.0])
def test_means_fade_over_500_and_4000_vectors(scatter: float) -> None:
    given = np.random.default_rng(1).normal(0.0, scatter, (3000, 4)) + np.eye(4)[0]
    made, sums = learned(given)
    units = given / np.linalg.norm(given, axis=1, keepdims=True)
    for row, memory, name in ((0, 4000.0, "references"), (1, 500.0, "recents")):
        weights = (1.0 - 1.0 / memory) ** np.arange(len(given))[::-1]
        assert made[name] == pytest.approx(weights.sum(), rel=1e-4)
        np.testing.assert_allclose(sums[row], weights @ units, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [1, 2, 64])
def test_vectors_without_a_common_direction_do_not_drift(size: int) -> None:
    for seed in range(20):
        made, sums = learned(np.random.default_rng(seed).normal(size=(2500, size)))
        assert embeddings.distance(sums) < embeddings.limit(made, sums)


def test_vectors_count_by_direction_alone() -> None:
    given = np.random.default_rng(1).normal(size=(1000, 8)) + np.eye(8)[0]
    lengths = np.random.default_rng(3).uniform(0.1, 1000.0, (len(given), 1))
    np.testing.assert_allclose(learned(given)[1], learned(given * lengths)[1], rtol=1e-4, atol=1e-3)


# Episodes


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ordinary_embeddings_do_not_drift(seed: int) -> None:
    assert found(vectors(seed, later=HERE)) == []


def test_embeddings_that_turn_are_drift_until_that_is_usual() -> None:
    (one,) = found(TURNED)
    assert (one.key.metric, one.detector, one.direction, one.state) == ("embedding", "drift", "up", "adopted")
    assert CHANGE < one.first_offset < CHANGE + 8 * 500
    assert one.upper == pytest.approx(0.1)
    assert 0.1 < one.value <= 2.0
    assert one.median is None
    assert one.mean is None
    assert one.severity == "warning"
    assert one.sample_trace_ids


def test_classic_mode_learns_no_embeddings() -> None:
    engine = Engine(DetectionSettings(mode="classic"), TOPIC, 3)
    engine.pair_row("chat-api", "gpt-4")
    engine.score(part(CALLS, 0, 1000), None, within(TURNED, 0, 1000))
    assert not engine.embeddings


def test_failed_calls_are_skipped() -> None:
    columns = calls()
    columns.failed[CHANGE:] = True
    assert found(TURNED, columns) == []


def test_an_episode_ends_a_day_after_the_last_comparison() -> None:
    end = CHANGE + 3000
    engine = calibrated()
    columns = part(CALLS, 0, end)
    engine.score(columns, sampled(columns), within(TURNED, 0, end))
    (opened,) = drifts(engine)
    assert opened.state == "active"
    engine.advance(opened.last_seen_ms + A_DAY_MS - 1000)
    assert [one.state for one in drifts(engine)] in ([], ["active"])
    engine.advance(opened.last_seen_ms + A_DAY_MS + 60_000)
    assert [(one.id, one.state) for one in drifts(engine)] == [(opened.id, "ended")]


# What is none

STRANGE = {
    "of another dimension": np.ones(SIZE + 1),
    "empty": np.zeros(0),
    "without a direction": np.zeros(SIZE),
    "not a number": np.full(SIZE, np.nan),
    "infinite": np.append(np.inf, np.ones(SIZE - 1)),
    "too long a vector": np.full(SIZE, 1e300),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_what_does_not_fit_is_skipped_and_counted(strange: Vector) -> None:
    columns = part(CALLS, 0, 20)
    engine = calibrated()
    engine.score(columns, None, {3: HERE})
    before = engine.embeddings[0].to_bytes()
    engine.score(columns, None, {5: strange, 7: strange})
    assert engine.drain().skipped_embeddings == 2
    assert engine.embeddings[0].to_bytes() == before
    assert engine.drain().skipped_embeddings == 0


def test_a_dimension_is_bounded() -> None:
    known = Embeddings()
    assert known.admit(0, np.ones(MAX_DIMENSION + 1)) is None
    assert known.admit(0, np.ones(MAX_DIMENSION)) is not None
    assert known.skipped == 1


def test_a_pair_that_is_forgotten_leaves_no_embeddings() -> None:
    engine = calibrated()
    engine.score(part(CALLS, 0, 20), None, {3: HERE})
    writer = saving.StateWriter(engine)
    image = writer.encode(engine.drain().touched_pairs)
    assert "e:0" in image
    engine.clear(0)
    engine.pair_row("other", "model")
    image |= writer.encode(engine.drain().touched_pairs)
    assert writer.outdated >= {"e:0"}
    again = Engine(CALIBRATED, TOPIC, 3)
    loading.load(again, {name: data for name, data in image.items() if name not in writer.outdated})
    assert Pair("other", "model") in again.index
    assert not again.embeddings


# Cuts and restarts


def key(episode: Episode) -> tuple[object, ...]:
    said = (episode.state, episode.score, episode.value, episode.upper, episode.occurrences, episode.severity)
    return (episode.id, episode.last_offset, said, episode.dimensions, episode.sample_trace_ids)


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(1, EVENTS - 1), max_size=8, unique=True), st.booleans())
def test_neither_cuts_nor_restarts_change_what_is_found(cuts: list[int], is_restarted: bool) -> None:
    expected = {episode.id: key(episode) for episode in found(TURNED)}
    assert len(expected) == 1
    engine, image, told = calibrated(), dict[str, bytes](), dict[Any, Any]()
    writer = saving.StateWriter(engine)
    for first, end in zip([0, *sorted(cuts)], [*sorted(cuts), EVENTS], strict=True):
        some = part(CALLS, first, end)
        engine.score(some, sampled(some), within(TURNED, first, end))
        changes = engine.drain()
        told |= {one.id: key(one) for one in changes.episodes if one.key.metric == "embedding"}
        image |= writer.encode(changes.touched_pairs)
        if is_restarted:
            engine = Engine(CALIBRATED, TOPIC, 3)
            writer = loading.load(engine, image)
    assert told == expected


def test_only_what_changed_is_written_again() -> None:
    engine = calibrated()
    writer = saving.StateWriter(engine)
    engine.score(part(CALLS, 0, 20), None, {3: HERE})
    image = writer.encode(engine.drain().touched_pairs)
    engine.score(part(CALLS, 20, 40))
    assert "e:0" not in writer.encode(engine.drain().touched_pairs)
    engine.score(part(CALLS, 40, 60), None, {3: THERE})
    assert writer.encode(engine.drain().touched_pairs)["e:0"] != image["e:0"]


def test_no_embeddings_no_piece_of_them() -> None:
    engine = calibrated()
    writer = saving.StateWriter(engine)
    engine.score(part(CALLS, 0, 20))
    assert not [name for name in writer.encode(engine.drain().touched_pairs) if name.startswith("e:")]


@pytest.mark.parametrize("kept", [0, 10, -1, EMBEDDING_STATE.itemsize, -4, -8])
def test_a_piece_that_is_cut_off_is_a_broken_state(kept: int) -> None:
    engine = calibrated()
    engine.score(part(CALLS, 0, 20), None, {3: HERE})
    image: dict[str, Any] = saving.StateWriter(engine).encode(engine.drain().touched_pairs)
    image["e:0"] = image["e:0"][:kept]
    with pytest.raises(BrokenState, match="embeddings of pair 0"):
        loading.load(Engine(CALIBRATED, TOPIC, 3), image)


def test_the_examples_in_the_docstring_are_true() -> None:
    assert doctest.testmod(embeddings).failed == 0
