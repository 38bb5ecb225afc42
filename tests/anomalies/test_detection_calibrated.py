"""Calibrated mode: what opens an episode, what does not, and that neither cuts nor restarts change it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalies.detection import loading, saving
from anomalies.detection.arrays import Columns
from anomalies.detection.engine import Engine
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.types import anomaly_type
from anomalies.detection.verdicts import Episode
from tests.support.telemetry import CODES, NOON_MS, TOPIC, batch, part, sampled

CALIBRATED = DetectionSettings(mode="calibrated")
EVENTS = 6000
FROM, TO = 4500, 5000  # where something happens


def calibrated() -> Engine:
    made = Engine(CALIBRATED, TOPIC, 3)
    made.pair_row("chat-api", "gpt-4")
    return made


def traffic(seed: int = 1, **changes: Any) -> Columns:
    """Six thousand calls at five a second whose latency and cost follow their tokens; `changes` hold in [FROM, TO)."""
    random = np.random.default_rng(seed)
    within = slice(FROM, TO)
    output = random.lognormal(5.0, 0.8, EVENTS).round() + 1
    output[within] *= changes.get("tokens", 1.0)
    prompt = random.lognormal(6.5, 0.6, EVENTS).round() + 1
    latency = (300.0 + 20.0 * output) * np.exp(0.35 * random.normal(size=EVENTS))
    latency[within] *= changes.get("latency", 1.0)
    cost = prompt * 2.5e-6 + output * 1e-5
    cost[within] *= changes.get("cost", 1.0)
    failed = random.random(EVENTS) < 0.005
    failed[within] |= random.random(TO - FROM) < changes.get("errors", 0.0)
    gaps = random.exponential(200.0, EVENTS)
    gaps[within] *= changes.get("gaps", 1.0)
    return batch(
        EVENTS,
        latency_ms=latency,
        prompt_tokens=prompt,
        completion_tokens=output,
        total_tokens=prompt + output,
        cost_usd=cost,
        failed=failed,
        event_ms=NOON_MS + np.cumsum(gaps).astype(np.int64),
    )


def episodes_of(columns: Columns, engine: Engine | None = None) -> list[Episode]:
    made = engine or calibrated()
    made.score(columns, sampled(columns))
    return made.drain().episodes


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ordinary_traffic_opens_no_episode(seed: int) -> None:
    assert episodes_of(traffic(seed)) == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"latency": 1.5}, "latency_spike"),
        ({"cost": 2.0}, "cost_anomaly"),
        ({"errors": 0.3}, "error_rate_increase"),
        ({"tokens": 6.0}, "token_usage_spike"),
        ({"gaps": 8.0}, "throughput_degradation"),
    ],
)
def test_an_incident_opens_one_episode_of_its_type_where_it_begins(change: dict[str, float], kind: str) -> None:
    found = [e for e in episodes_of(traffic(**change)) if anomaly_type(e.key.metric, e.direction) == kind]
    assert len(found) == 1
    assert FROM <= found[0].first_offset < TO
    assert found[0].severity in ("warning", "critical")


@pytest.mark.parametrize("change", [{"latency": 1.5}, {"cost": 2.0}, {"errors": 0.3}, {"gaps": 8.0}])
def test_what_does_not_change_is_not_blamed(change: dict[str, float]) -> None:
    assert len(episodes_of(traffic(**change))) == 1


def test_an_episode_ends_when_its_evidence_does() -> None:
    (episode,) = episodes_of(traffic(latency=2.0))
    assert episode.state == "ended"
    assert episode.last_offset < TO + 600  # the longest scale looks back 512 events


def test_a_level_that_lasts_is_adopted() -> None:
    columns = traffic()
    columns.values[2000:, 0] *= 2.0
    (episode,) = episodes_of(columns)
    assert episode.state == "adopted"
    assert 2000 <= episode.first_offset < 2100


def test_a_young_series_still_tells_of_a_gross_outlier() -> None:
    columns = Columns(*(column[:60] for column in traffic()))
    columns.failed[50] = False
    columns.values[50, 0] = 40.0 * np.nanmax(columns.values[:50, 0])
    found = [episode for episode in episodes_of(columns) if episode.key.metric == "latency_ms"]
    assert [episode.first_offset for episode in found] == [50]


def test_a_doubling_that_lasts_is_critical_and_a_small_shift_is_not() -> None:
    (grave,) = episodes_of(traffic(latency=3.0))
    (small,) = episodes_of(traffic(latency=1.3))
    assert (grave.severity, small.severity) == ("critical", "warning")


def test_the_rates_of_closed_minutes_become_baselines() -> None:
    made = calibrated()
    made.score(traffic())
    rate, errors, cost, tokens = made.tables.aggregates[0]
    assert rate["mean"] == pytest.approx(300.0, rel=0.1)
    assert errors["mean"] == pytest.approx(0.005, abs=0.005)
    assert cost["mean"] == pytest.approx(rate["mean"] * 0.00408, rel=0.1)  # dollars of a call, by the distributions
    assert tokens["mean"] == pytest.approx(rate["mean"] * 1000, rel=0.1)


def key(episode: Episode) -> tuple[object, ...]:
    said = (episode.state, episode.score, episode.occurrences, episode.severity)
    return (episode.id, episode.last_offset, said, episode.dimensions, episode.sample_trace_ids)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, EVENTS - 1), max_size=12, unique=True))
def test_neither_cuts_nor_restarts_change_what_is_found(cuts: list[int]) -> None:
    columns = traffic(latency=2.0, cost=2.0, errors=0.3)
    columns.dimensions[:] = np.random.default_rng(3).choice(CODES[:5], (EVENTS, 4))
    columns.dimensions[FROM:TO, 1] = CODES[7]
    whole = episodes_of(columns)
    assert any(excess.value == "value-7" for episode in whole for excess in episode.dimensions)
    expected = {episode.id: key(episode) for episode in whole}
    assert len(expected) >= 3
    engine, image, found = calibrated(), dict[str, bytes](), {}
    writer = saving.StateWriter(engine)
    for first, end in zip([0, *sorted(cuts)], [*sorted(cuts), EVENTS], strict=True):
        some = part(columns, first, end)
        engine.score(some, sampled(some))
        changes = engine.drain()
        found |= {episode.id: key(episode) for episode in changes.episodes}
        image |= writer.encode(changes.touched_pairs)
        engine = Engine(CALIBRATED, TOPIC, 3)
        writer = loading.load(engine, image)
    assert found == expected


def test_a_state_of_classic_mode_goes_on_in_calibrated_mode() -> None:
    classic = Engine(DetectionSettings(), TOPIC, 3)
    classic.pair_row("chat-api", "gpt-4")
    classic.score(traffic())
    image = saving.StateWriter(classic).encode(classic.drain().touched_pairs)
    engine = calibrated_from(image)
    mean = engine.tables.series[engine.tables.series_of[0, 0]]["mean"]
    assert mean == classic.tables.series[classic.tables.series_of[0, 0]]["mean"]
    later = traffic(2)
    engine.score(later._replace(event_ms=later.event_ms + 3_600_000, record_ms=later.record_ms + 3_600_000))
    assert engine.tables.aggregates[0, 0]["samples"] > 0


def calibrated_from(image: dict[str, bytes]) -> Engine:
    engine = Engine(CALIBRATED, TOPIC, 3)
    loading.load(engine, image)
    return engine
