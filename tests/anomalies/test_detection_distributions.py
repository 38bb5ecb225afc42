"""Drift of tokens and finish reasons: what opens an episode, what ends it, and what is nobody's drift."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalies.detection import distributions, loading, obedience, saving
from anomalies.detection.arrays import Columns
from anomalies.detection.dimensions import DIMENSIONS, FINISH
from anomalies.detection.distributions import SCALE, TOKEN_WINDOWS, WINDOW
from anomalies.detection.engine import Engine
from anomalies.detection.instructions import Instructions
from anomalies.detection.overrides import OverrideSet, Rule
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.types import anomaly_type
from anomalies.detection.verdicts import Episode
from tests.support.telemetry import CODES, NOON_MS, TOPIC, batch, part, sampled

CALIBRATED = DetectionSettings(mode="calibrated")
EVENTS, CHANGE = 40_000, 24_000
KINDS = ("input_drift", "output_drift", "concept_drift")


def calibrated() -> Engine:
    made = Engine(CALIBRATED, TOPIC, 3)
    made.pair_row("chat-api", "gpt-4")
    return made


def traffic(seed: int = 1, **changes: Any) -> Columns:
    """Calls, five a second; from CHANGE on their prompts, answers or endings are others."""
    random = np.random.default_rng(seed)
    later = np.arange(EVENTS) >= CHANGE
    prompt = random.lognormal(6.5, 0.6 * np.where(later, changes.get("prompt", 1.0), 1.0), EVENTS)
    output = random.lognormal(5.0, 0.6 * np.where(later, changes.get("spread", 1.0), 1.0), EVENTS)
    output = output * np.where(later, changes.get("output", 1.0), 1.0)
    values = np.zeros((EVENTS, len(DIMENSIONS)), np.uint32)
    is_cut = random.random(EVENTS) < np.where(later, changes.get("cut", 0.1), 0.1)
    values[:, FINISH] = np.where(is_cut, CODES[1], CODES[0])
    prompt, output = prompt.round() + 1, output.round() + 1
    return batch(
        EVENTS,
        latency_ms=(300.0 + 20.0 * output) * np.exp(0.3 * random.normal(size=EVENTS)),
        prompt_tokens=prompt,
        completion_tokens=output,
        total_tokens=prompt + output,
        event_ms=NOON_MS + np.cumsum(random.exponential(200.0, EVENTS)).astype(np.int64),
        dimensions=values,
    )


def drifts(columns: Columns, made: Engine | None = None) -> list[Episode]:
    made = made or calibrated()
    made.score(columns, sampled(columns))
    return [one for one in made.drain().episodes if anomaly_type(one.key.metric, one.direction) in KINDS]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ordinary_traffic_does_not_drift(seed: int) -> None:
    assert drifts(traffic(seed)) == []


@pytest.mark.parametrize("spread", [0.3, 2.2])
def test_prompts_of_another_shape_are_input_drift_until_they_are_what_is_usual(spread: float) -> None:
    (found,) = drifts(traffic(prompt=spread))
    assert (found.key.metric, found.detector) == ("prompt_tokens_distribution", "drift")
    assert CHANGE < found.first_offset < CHANGE + 8 * WINDOW + 1000
    assert found.state == "adopted"
    assert found.median == pytest.approx(np.exp(6.5), rel=0.1)
    assert found.value == pytest.approx(np.exp(6.5), rel=0.25)
    assert found.direction == ("up" if found.value >= found.median else "down")
    assert found.severity in ("info", "warning")


@pytest.mark.parametrize(("least", "severity"), [(0.3, "warning"), (30.0, "info")])
def test_a_change_smaller_than_operators_ask_for_stays_info(least: float, severity: str) -> None:
    made = calibrated()
    obedience.take_up(made, Instructions(OverrideSet.of([Rule(metric="prompt_*", min_deviation=least)], {})))
    assert [one.severity for one in drifts(traffic(prompt=2.2), made)] == [severity]


def test_the_decile_that_changed_most_is_the_deviation() -> None:
    usual = np.sort(np.log(np.random.default_rng(1).lognormal(6.0, 0.5, WINDOW)) * SCALE)
    longer = usual.copy()
    longer[-75:] += np.log(2.0) * SCALE
    assert distributions.deviation_of(usual, usual) == 0.0
    assert distributions.deviation_of(usual, longer) == pytest.approx(1.0)
    assert distributions.deviation_of(longer, usual) == pytest.approx(1.0)


def test_the_median_of_a_window_is_numpys() -> None:
    tokens = np.random.default_rng(1).lognormal(6.0, 0.5, WINDOW).round()
    codes = (np.log(tokens + 1.0) * SCALE).round().astype(np.int16)
    found = distributions.median(distributions.in_order(codes))
    assert found == pytest.approx(np.exp(np.median(codes) / SCALE) - 1.0)


def test_answers_of_another_shape_are_output_drift() -> None:
    found = drifts(traffic(spread=0.3))
    assert {one.key.metric for one in found} == {"completion_tokens_distribution"}


def test_other_finish_reasons_are_concept_drift_that_names_them() -> None:
    (found,) = drifts(traffic(cut=0.6))
    assert (found.key.metric, found.direction, found.state) == ("finish_reason", "up", "adopted")
    assert found.upper == pytest.approx(0.2)
    assert found.value > 0.2
    assert [(one.dimension, one.value) for one in found.dimensions] == [("finish_reason", "value-1")]
    assert found.dimensions[0].usual_share < 0.3


def test_a_level_of_answers_that_was_told_and_adopted_is_not_told_once_more() -> None:
    columns = traffic(output=6.0)
    made = calibrated()
    made.score(columns)
    told = {one.key.metric: one.state for one in made.drain().episodes}
    assert told["completion_tokens"] == "adopted"
    assert "completion_tokens_distribution" not in told


def test_an_explosion_of_answers_is_not_told_once_more_as_drift() -> None:
    columns = traffic()
    columns.values[CHANGE : CHANGE + 1000, 2] *= 8.0
    assert drifts(columns) == []


def test_values_that_are_missing_and_failed_calls_are_skipped() -> None:
    columns = traffic()
    columns.failed[CHANGE::2] = True
    columns.values[CHANGE::2, 1] = 1e9
    columns.values[CHANGE + 1 :: 2, 1] = np.nan
    assert drifts(columns) == []


def key(episode: Episode) -> tuple[object, ...]:
    said = (episode.state, episode.score, episode.value, episode.occurrences, episode.severity)
    return (episode.id, episode.last_offset, said, episode.dimensions, episode.sample_trace_ids)


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(CHANGE, EVENTS - 1), max_size=8, unique=True))
def test_neither_cuts_nor_restarts_change_what_is_found(cuts: list[int]) -> None:
    columns = traffic(prompt=0.3, cut=0.6)
    expected = {episode.id: key(episode) for episode in drifts(columns)}
    assert len(expected) >= 1
    engine, image, found = calibrated(), dict[str, bytes](), {}
    writer = saving.StateWriter(engine)
    for first, end in zip([0, *sorted(cuts)], [*sorted(cuts), EVENTS], strict=True):
        some = part(columns, first, end)
        engine.score(some, sampled(some))
        changes = engine.drain()
        found |= {one.id: key(one) for one in changes.episodes if one.id in expected}
        image |= writer.encode(changes.touched_pairs)
        engine = Engine(CALIBRATED, TOPIC, 3)
        writer = loading.load(engine, image)
    assert found == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_the_reference_stays_in_order_and_of_values_that_were_there(seed: int) -> None:
    random = np.random.default_rng(seed)
    window = np.zeros(1, TOKEN_WINDOWS)[0]
    values = random.integers(0, 3000, 3000)
    for value in values:
        distributions.learn(window, float(value), random.random(), True)
    reference = window["reference"]
    assert (np.diff(reference) >= 0).all()
    codes = (np.log(values + 1.0) * distributions.SCALE + 0.5).astype(np.int16)
    assert set(reference.tolist()) <= set(codes[:-WINDOW].tolist())
    assert set(reference.tolist()) - set(codes[:WINDOW].tolist())
    np.testing.assert_array_equal(np.sort(window["recent"]), np.sort(codes[-WINDOW:]))


def test_the_examples_in_the_docstring_are_true() -> None:
    assert doctest.testmod(distributions).failed == 0
