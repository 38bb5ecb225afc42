"""Dimensions: what is learned of usual traffic, and which values an episode is blamed on."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from anomalies.detection import dimensions, excess
from anomalies.detection.dimensions import BACKGROUND, DIMENSIONS, REGION, USER, Sample, code
from anomalies.detection.engine import Engine
from anomalies.detection.excess import Excess, Tally, over_represented
from anomalies.detection.notes import Note
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.verdicts import Episode
from baselines.stats.compiled import compiled
from baselines.stats.series import ERROR_RATE, LATENCY
from tests.support.telemetry import CODES, NOON_MS, TOPIC, batch, part, sampled


@compiled
def learn_all(backgrounds: NDArray[np.void], values: NDArray[np.uint32]) -> None:
    for offset in range(len(values)):
        dimensions.learn(backgrounds, 0, values[offset], offset)


def background(**shares: NDArray[np.uint32]) -> np.void:
    """What was learned of these columns of codes; the other dimensions are empty."""
    events = len(next(iter(shares.values())))
    values = np.zeros((events, len(DIMENSIONS)), np.uint32)
    for name, column in shares.items():
        values[:, DIMENSIONS.index(name)] = column
    learned = np.zeros(1, BACKGROUND)
    learn_all(learned, values)
    return learned[0]


def tally(region: list[str]) -> Tally:
    made = Tally()
    for value in region:
        made.add(("", value, "", ""))
    return made


def regions(*counts: int, events: int = 20_000) -> NDArray[np.uint32]:
    """Codes of value-0, value-1 ..., in shares by these weights, in random order."""
    weights = np.array(counts) / sum(counts)
    return np.random.default_rng(1).choice(CODES[: len(counts)], events, p=weights)


# What is usual


def test_a_value_has_one_code_on_every_machine_and_nothing_has_none() -> None:
    assert [code("eu-west-1"), code("")] == [0xA6544782, 0]


def test_the_shares_of_frequent_values_are_learned_among_thousands_of_rare_ones() -> None:
    random = np.random.default_rng(2)
    crowd = random.integers(1000, 6000, 60_000)
    users = np.where(random.random(60_000) < 0.2, 7, np.where(random.random(60_000) < 0.05, 8, crowd))
    learned = background(user=users.astype(np.uint32))
    shares = [dimensions.usual_share(learned, USER, user) for user in (7, 8, 5)]
    assert shares == [pytest.approx(0.2, abs=0.03), pytest.approx(0.04, abs=0.02), pytest.approx(0.0, abs=0.005)]


def test_what_was_never_seen_is_not_usual_while_there_is_room() -> None:
    learned = background(region=regions(3, 1))
    assert dimensions.usual_share(learned, REGION, int(CODES[5])) == 0.0
    assert dimensions.usual_share(np.zeros(1, BACKGROUND)[0], REGION, int(CODES[0])) == 0.0


def test_what_is_usual_follows_the_traffic() -> None:
    learned = background(region=np.concatenate([regions(1), np.full(20_000, CODES[1])]))
    assert dimensions.usual_share(learned, REGION, int(CODES[1])) > 0.95


def test_events_without_a_value_count_for_the_shares_of_others() -> None:
    column = np.where(np.arange(8000) % 4 == 0, CODES[3], 0).astype(np.uint32)
    assert dimensions.usual_share(background(region=column), REGION, int(CODES[3])) == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize("period", [1, 2, 3, 4, 5, 7, 8, 16, 64])
@pytest.mark.parametrize(("is_odd", "share"), [(False, 1 / 4), (True, 1 / 32)])
def test_events_are_chosen_evenly_whatever_returns_how_often(period: int, is_odd: bool, share: float) -> None:
    chosen = [dimensions.is_chosen(offset, is_odd) for offset in range(0, 20_000 * period, period)]
    assert np.mean(chosen) == pytest.approx(share, rel=0.1)


# What is over-represented


def test_a_value_far_above_its_usual_share_is_told() -> None:
    usual = background(region=regions(7, 3))
    (found,) = over_represented(tally(["value-1"] * 60 + ["value-0"] * 40), usual)
    assert (found.dimension, found.value, found.share) == ("region", "value-1", 0.6)
    assert found.usual_share == pytest.approx(0.3, abs=0.02)


def test_a_new_value_is_told() -> None:
    (found,) = over_represented(tally(["value-9"] * 8 + ["value-0"] * 8), background(region=regions(7, 3)))
    assert found == Excess("region", "value-9", 0.5, 0.0)


@pytest.mark.parametrize(
    "seen",
    [
        ["value-1"] * 4,  # too few
        ["value-1"] * 15 + ["value-0"] * 85 + [""] * 60,  # too small a share
        ["value-0"] * 95 + ["value-1"] * 5,  # 1.3 times the usual
        ["value-0"] * 70 + ["value-1"] * 30,  # as always
    ],
)
def test_what_is_not_certain_or_not_much_is_not_told(seen: list[str]) -> None:
    assert over_represented(tally(seen), background(region=regions(7, 3))) == ()


def test_nothing_is_told_before_there_is_a_usual() -> None:
    assert over_represented(tally(["value-1"] * 50), np.zeros(1, BACKGROUND)[0]) == ()


def test_random_parts_of_ordinary_traffic_are_hardly_ever_told_apart() -> None:
    random = np.random.default_rng(5)
    usual = background(user=random.choice(CODES, 20_000), region=regions(5, 3, 2))
    told = 0
    for _ in range(2000):
        made = Tally()
        texts = [f"value-{number}" for number in random.integers(0, 50, 40)]
        for user, place in zip(texts, random.choice(3, 40, p=[0.5, 0.3, 0.2]), strict=True):
            made.add((user, f"value-{place}", "", ""))
        told += bool(over_represented(made, usual))
    assert told <= 8


def test_the_probability_is_that_of_the_two_by_two_table() -> None:
    tables = np.array([[30, 70], [300, 1700]]), np.array([[9, 11], [2, 98]])
    for table in tables:
        (count, others), (usual, rest) = table
        expected = scipy.stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").pvalue / 2
        total = int(usual + rest)
        assert excess.p_value(int(count), int(count + others), usual / total, total) == pytest.approx(expected)


def test_the_largest_excess_is_told_first_and_five_at_most() -> None:
    usual = background(**{name: regions(*[1] * 16) for name in DIMENSIONS})
    made = Tally()
    for event in range(200):
        made.add((f"value-{event % 2}", f"value-{event % 3}", "value-20", f"value-{event % 2 + 5}"))
    found = over_represented(made, usual)
    assert (len(found), found[0].dimension, found[0].share) == (5, "prompt_version", 1.0)
    assert [one.share - one.usual_share for one in found] == sorted(
        (o.share - o.usual_share for o in found), reverse=True
    )


def test_a_tally_of_many_values_keeps_the_frequent_ones() -> None:
    seen = [f"user-{number}" for number in range(1000)]
    seen[::3] = ["heavy"] * len(seen[::3])
    made = tally(seen)
    assert len(made.counts[REGION]) == excess.MOST_VALUES
    assert made.counts[REGION]["heavy"] >= 333


# In the engine


def incident(where: int, mode: str = "calibrated", **columns: Any) -> Episode:
    """The episode of 300 calls, far slower where `where` is the region, in ordinary traffic of three regions."""
    engine = Engine(DetectionSettings(mode=mode), TOPIC, 3)
    engine.pair_row("chat-api", "gpt-4")
    random = np.random.default_rng(4)
    events = 6000
    values = np.zeros((events, len(DIMENSIONS)), np.uint32)
    values[:, REGION] = random.choice(CODES[:3], events, p=[0.5, 0.3, 0.2])
    values[:, USER] = random.choice(CODES, events)
    output = random.lognormal(5.0, 0.8, events).round() + 1
    latency = (300.0 + 20.0 * output) * np.exp(0.3 * random.normal(size=events))
    is_slow = (values[:, REGION] == CODES[where]) & (np.arange(events) >= 5000)
    latency[is_slow] *= 4.0
    made = batch(
        events,
        latency_ms=latency,
        prompt_tokens=100.0,
        completion_tokens=output,
        event_ms=NOON_MS + 200 * np.arange(events),
        dimensions=values,
        **columns,
    )
    for first in range(0, 5300, 700):
        some = part(made, first, min(first + 700, 5300))
        engine.score(some, sampled(some))
    (found,) = [one for one in engine.drain().episodes if one.first_offset >= 5000 and one.key.metric == "latency_ms"]
    return found


@pytest.mark.parametrize("where", [1, 2])
def test_an_episode_names_the_region_it_comes_from_and_nothing_else(where: int) -> None:
    found = incident(where)
    assert [(one.dimension, one.value) for one in found.dimensions] == [("region", f"value-{where}")]
    assert found.dimensions[0].share > 0.6
    assert found.dimensions[0].usual_share == pytest.approx((0.5, 0.3, 0.2)[where], abs=0.05)


def test_sample_traces_are_of_deviating_calls() -> None:
    found = incident(1)
    assert len(found.sample_trace_ids) == 5
    assert all(int(trace.removeprefix("trace-")) >= found.first_offset for trace in found.sample_trace_ids)


def test_in_classic_mode_the_flagged_events_are_counted() -> None:
    engine = Engine(DetectionSettings(), TOPIC, 3)
    engine.pair_row("chat-api", "gpt-4")
    values = np.zeros((1040, len(DIMENSIONS)), np.uint32)
    values[:, REGION] = CODES[np.arange(1040) % 2]
    values[1000:, REGION] = CODES[4]
    latency = 100.0 + np.arange(1040) % 7
    latency[1000:] = 5000.0
    made = batch(1040, latency_ms=latency, dimensions=values)
    engine.score(made, sampled(made))
    (found,) = [one for one in engine.drain().episodes if one.occurrences >= 5 and one.direction == "up"]
    assert found.dimensions == (Excess("region", "value-4", 1.0, 0.0),)


def test_of_failed_calls_it_is_not_told_how_they_finished() -> None:
    note = Note(TOPIC, background(finish_reason=regions(1), region=regions(1)))
    for _ in range(20):
        note.add(Sample("", ("", "value-3", "", "value-4")))
    assert [one.dimension for one in note.dimensions(LATENCY)] == ["finish_reason", "region"]
    assert [one.dimension for one in note.dimensions(ERROR_RATE)] == ["region"]


def test_the_examples_in_the_docstrings_are_true() -> None:
    for module in (dimensions, excess):
        assert doctest.testmod(module).failed == 0
