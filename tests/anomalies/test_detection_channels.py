"""What every calibrated detector must do, and shift against a plain implementation of its own."""

from __future__ import annotations

import doctest
import importlib
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from anomalies.detection import channels, shift
from anomalies.detection.arrays import DOWN, UP, Columns
from anomalies.detection.engine import Engine
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.types import anomaly_type
from anomalies.detection.verdicts import Episode
from baselines.stats.series import EVENT_METRICS
from tests.support.telemetry import NOON_MS, batch, engine, part

CALIBRATED = DetectionSettings(mode="calibrated")
EVENTS = 6000
FROM, TO = 4800, 5300  # where something happens
SHIFTED = ("latency_ms", "prompt_tokens", "completion_tokens", "cost_usd", "ttft_ms")
MODULES = [f"anomalies.detection.{name}" for name in ("shift", "spike", "pace", "error_burst")]


def calls(seed: int = 1, spread: float = 0.3, **factors: float) -> Columns:
    """Calls at five a second of all metrics, independent of each other; `factors` hold in [FROM, TO)."""
    random = np.random.default_rng(seed)
    typical = dict(zip(EVENT_METRICS, (800.0, 600.0, 250.0, 850.0, 0.01, 250.0, 0.8), strict=True))
    columns = {name: level * np.exp(spread * random.normal(size=EVENTS)) for name, level in typical.items()}
    columns["quality_score"] = 0.8 + 0.1 * spread * random.normal(size=EVENTS)
    gaps = random.exponential(200.0, EVENTS) if spread else np.full(EVENTS, 200.0)
    gaps[FROM:TO] *= factors.pop("gaps", 1.0)
    failed = random.random(EVENTS) < 0.005 if spread else np.zeros(EVENTS, np.bool_)
    failed[FROM:TO] |= random.random(TO - FROM) < factors.pop("errors", 0.0)
    for name, factor in factors.items():
        columns[name][FROM:TO] *= factor
    return batch(EVENTS, event_ms=NOON_MS + np.cumsum(gaps).astype(np.int64), failed=failed, **columns)


def told(columns: Columns) -> list[Episode]:
    made = engine(CALIBRATED)
    made.score(columns)
    return made.drain().episodes


def kinds(columns: Columns) -> list[str]:
    return sorted({anomaly_type(each.key.metric, each.direction) for each in told(columns)})


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_the_documentation_run(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(module))
    assert outcome.attempted > 0
    assert outcome.failed == 0


# Shared by all


def test_ordinary_calls_tell_of_nothing() -> None:
    assert told(calls()) == []


def test_a_constant_series_does_not_fire_on_rounding() -> None:
    columns = calls(spread=0.0)
    columns.values[5000:] = np.nextafter(columns.values[5000:], np.inf)
    assert told(columns) == []


@pytest.mark.parametrize("spread", [0.0, 0.3])
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"latency_ms": 2.0}, "latency_spike"),
        ({"latency_ms": 0.4}, "latency_drop"),
        ({"ttft_ms": 2.0}, "latency_spike"),
        ({"ttft_ms": 0.4}, "latency_drop"),
        ({"prompt_tokens": 4.0}, "token_usage_spike"),
        ({"prompt_tokens": 0.25}, "token_usage_drop"),
        ({"completion_tokens": 4.0, "latency_ms": 1.0}, "token_usage_spike"),
        ({"cost_usd": 2.0}, "cost_anomaly"),
        ({"cost_usd": 0.4}, "cost_drop"),
        ({"quality_score": 0.8}, "quality_degradation"),
        ({"gaps": 8.0}, "throughput_degradation"),
        ({"errors": 0.4}, "error_rate_increase"),
    ],
)
def test_a_step_fires_in_its_direction_and_only_there(change: dict[str, float], kind: str, spread: float) -> None:
    found = told(calls(spread=spread, **change))
    if spread == 0.0:  # what never varied before goes on to be told of when it comes back
        found = found[:1]
    assert {anomaly_type(each.key.metric, each.direction) for each in found} == {kind}
    assert all(FROM <= each.first_offset < TO for each in found)
    assert {each.severity for each in found} <= ({"info"} if "drop" in kind else {"warning", "critical"})


def test_ten_times_the_traffic_is_a_surge_told_once() -> None:
    (episode,) = (each for each in told(calls(gaps=0.1)) if each.direction == "up")
    assert (anomaly_type(episode.key.metric, episode.direction), episode.severity) == ("traffic_surge", "info")


def test_a_better_quality_is_not_told() -> None:
    assert told(calls(quality_score=1.2)) == []


@pytest.mark.parametrize("metric", SHIFTED)
def test_the_end_of_a_rise_is_no_drop(metric: str) -> None:
    assert {each.direction for each in told(calls(**{metric: 3.0})) if each.key.metric == metric} == {"up"}


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e200, -5.0])
def test_what_is_no_number_neither_fires_nor_is_learned(wrong: float) -> None:
    columns = calls()
    without = columns._replace(values=columns.values.copy())
    columns.values[100::50] = wrong
    without.values[100::50] = np.nan
    if wrong < 0:  # a quality may be negative
        columns.values[100::50, EVENT_METRICS.index("quality_score")] = np.nan
    engines = [engine(CALIBRATED) for _ in range(2)]
    for made, each in zip(engines, (columns, without), strict=True):
        made.score(each)
        assert made.drain().episodes == []
    for name in ("fast", "slow", "spikes", "residuals", "output_buckets", "cost_buckets"):
        np.testing.assert_array_equal(*(getattr(made.channels, name)[0] for made in engines))


def test_scores_and_bands_are_finite_for_extreme_values() -> None:
    random = np.random.default_rng(3)
    columns = calls()
    columns.values[:] = np.exp(random.normal(0, 8, columns.values.shape)) * random.choice([0, 1], columns.values.shape)
    columns.values[4000:] *= 1e6
    np.clip(columns.values, 0, 1e15, out=columns.values)
    made = engine(CALIBRATED)
    found = made.score(columns)
    assert found
    assert np.isfinite([(each.score, each.value, each.expected, each.lower, each.upper) for each in found]).all()
    for table in made.channels:
        for name in table.dtype.names or ():
            assert np.isfinite(table[name][0]).all()


# Metrics that few events have


def test_a_metric_of_every_tenth_call_is_watched_by_its_own_count() -> None:
    columns = calls(quality_score=0.7)
    quality = EVENT_METRICS.index("quality_score")
    columns.values[np.arange(EVENTS) % 5 != 0, quality] = np.nan
    (episode,) = told(columns)
    assert anomaly_type(episode.key.metric, episode.direction) == "quality_degradation"
    assert episode.occurrences > 20  # calls without a score in between do not end it


def test_a_metric_seen_too_rarely_says_nothing_yet() -> None:
    columns = calls(ttft_ms=5.0)
    columns.values[np.arange(EVENTS) % 12 != 0, EVENT_METRICS.index("ttft_ms")] = np.nan
    assert told(columns) == []


# What is shown


def test_a_spike_shows_what_its_tokens_led_to_expect() -> None:
    random = np.random.default_rng(5)
    tokens = random.lognormal(5.0, 0.4, EVENTS).round() + 1
    latency = 20.0 * tokens * np.exp(0.2 * random.normal(size=EVENTS))
    tokens[5000:5002], latency[5000:5002] = 400.0, 4_000_000.0
    event_ms = NOON_MS + 200 * np.arange(EVENTS)
    found = engine(CALIBRATED).score(batch(EVENTS, latency_ms=latency, completion_tokens=tokens, event_ms=event_ms))
    spike = next(each for each in found if each.event == 5000)
    assert spike.value == 4_000_000.0
    assert spike.expected == pytest.approx(20.0 * 400, rel=0.25)
    ends = (spike.lower or 0.0, spike.expected or 0.0, spike.upper or 0.0, spike.value)
    assert sorted(set(ends)) == list(ends)
    assert ends[0] > 0.0


def test_a_rate_and_a_share_of_failures_show_what_is_usual() -> None:
    (slow,) = told(calls(gaps=8.0))
    assert slow.median == pytest.approx(300.0, rel=0.1)  # five a second, in a minute
    assert slow.lower is not None
    assert slow.upper is not None
    assert slow.value < slow.lower < 300.0 < slow.upper
    (burst,) = told(calls(errors=0.4))
    assert burst.median == pytest.approx(0.005, abs=0.01)
    assert burst.lower == 0.0
    assert burst.upper == pytest.approx(0.06, abs=0.04)
    assert burst.value > 0.1


@pytest.mark.parametrize(("level", "severity"), [(0.1, "warning"), (0.9, "info")])
def test_a_deviation_smaller_than_what_matters_stays_info(level: float, severity: str) -> None:
    made = engine(DetectionSettings(mode="calibrated", min_deviation={"latency_ms": level}))
    made.score(calls(latency_ms=1.4))
    (episode,) = made.drain().episodes
    assert episode.severity == severity


# What it costs


def test_the_channels_of_a_pair_fit_in_seven_kilobytes() -> None:
    assert sum(table.nbytes for table in channels.allocate(1)) < 7000


def test_pairs_do_not_touch_each_other_however_many_there_are() -> None:
    alone, many = engine(CALIBRATED), engine(CALIBRATED, pairs=100)
    columns = calls(latency_ms=2.0, cost_usd=2.0)
    alone.score(columns)
    for start in range(0, EVENTS, 500):
        _score_for_all(many, part(columns, start, start + 500), 100)
    expected = [comparable(each) for each in alone.drain().episodes]
    found: dict[str, list[Any]] = {}
    for each in many.drain().episodes:
        found.setdefault(each.key.service, []).append(comparable(each))
    assert len(found) == 100
    assert all(each == expected for each in found.values())


def _score_for_all(made: Engine, columns: Columns, pairs: int) -> None:
    repeated = Columns._make(np.repeat(column, pairs, axis=0) for column in columns)
    made.score(repeated._replace(pair=np.tile(np.arange(pairs), len(columns.pair))))


def comparable(episode: Episode) -> tuple[Any, ...]:
    return (
        episode.key.metric,
        episode.direction,
        episode.first_offset,
        episode.score,
        episode.occurrences,
        episode.value,
    )


# Against a plain implementation


class PlainShift:
    """The formulas of the module, over lists: no rings, no running sums."""

    def __init__(self, limits: dict[int, float], memory: float, clip: float = 3.0) -> None:
        self.limits, self.memory, self.clip = limits, memory, clip
        self.codes: list[int] = []
        self.squares = dict.fromkeys(limits, 1.0)
        self.mean, self.spread = 0.0, 1.0

    def update(self, value: float) -> tuple[float, float]:
        """Take one value while nothing is active; T upwards and downwards."""
        seen = len(self.codes)
        if seen == 0:
            self.mean = value
        z = (value - self.mean) / self.spread if seen > 20 else 0.0
        self.codes.append(min(127, math.floor(min(max(z, -self.clip), self.clip) * 32 + 0.5)))
        best, worst = self._statistics(seen)
        self._learn(value, seen + 1)
        return best, worst

    def _statistics(self, seen: int) -> tuple[float, float]:
        best = worst = 0.0
        for scale, limit in self.limits.items():
            weight = seen + 2 - scale - 50
            if weight < 1:
                continue
            mean = sum(self.codes[-scale:]) / 32 / math.sqrt(scale)
            power = self.squares[scale]
            if seen > 500:
                best = max(best, mean / math.sqrt(power) / limit)
                worst = max(worst, -mean / math.sqrt(power) / limit)
            square = min(mean**2, 6 * power) if weight > 201 else mean**2
            self.squares[scale] = float(np.float32(max(0.3, power + (square - power) / min(weight, 20_000))))
        return best, worst

    def _learn(self, value: float, learned: int) -> None:
        step, reach = 1 / min(min(learned, self.memory) + 1, self.memory), self.clip * self.spread
        move = value - self.mean
        self.mean += step * (min(max(move, -reach), reach) if learned > 50 else move)
        deviation = abs(value - self.mean)
        deviation = min(deviation, reach) if learned > 50 else deviation
        if learned > 5:
            self.spread += step * (1.2533 * deviation - self.spread)
        else:
            self.spread = max(deviation * 1.2533, 1e-3) if learned == 1 else max(self.spread, deviation)


def correlated(events: int, seed: int) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    noise = random.standard_t(4, events)
    for place in range(1, events):
        noise[place] += 0.3 * noise[place - 1]
    return noise


@pytest.mark.parametrize("clip", [3.0, 4.0])
def test_shift_is_that_of_a_plain_implementation(clip: float) -> None:
    limits = {4: 50.0, 8: 50.0, 32: 50.0, 128: 50.0}  # out of reach: what lasts is another test
    profile = shift.profile(limits, memory=700.0, threshold=1.0, drop=1.0, clip=clip)
    state, plain = np.zeros(1, shift.shift_state(profile)), PlainShift(limits, 700.0, clip)
    for value in correlated(3000, seed=2):
        verdict = shift.update(state[0], value, profile, 1.0)
        assert (verdict.score, verdict.drop) == pytest.approx(plain.update(value), rel=1e-5, abs=1e-9)
    assert state["mean"][0] == pytest.approx(plain.mean)


def test_a_level_that_lasts_is_adopted_after_freeze() -> None:
    profile = shift.profile({4: 5.5, 8: 5.0}, memory=1000.0, threshold=1.0, drop=1.0)
    state = np.zeros(1, shift.shift_state(profile))
    values = np.random.default_rng(1).normal(size=1000 + shift.FREEZE + 200)
    values[1000:] += 4.0
    phases = [shift.update(state[0], value, profile, 1.0).phase for value in values]
    assert phases.count(shift.OPENED) == 1
    adopted = phases.index(shift.ADOPTED_LEVEL)
    assert adopted - phases.index(shift.OPENED) == shift.FREEZE + 1
    assert state["mean"][0] == pytest.approx(4.0, abs=0.5)
    assert state["age"][0].tolist()[UP] == 0
    assert state["age"][0].tolist()[DOWN] <= 0
