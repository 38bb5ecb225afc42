"""The state of an engine: saved and loaded at any point it continues to the bit, and a broken one is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalies.detection import loading
from anomalies.detection.engine import LONG_AGO, Engine
from anomalies.detection.saving import StateWriter
from anomalies.detection.settings import DetectionSettings
from baselines.stats import codec
from baselines.stats.codec import BrokenState
from baselines.stats.series import Pair
from tests.support.telemetry import NOON_MS, TOPIC, Told, batch, engine, latencies, part, sampled, traffic, watching

SMALL = DetectionSettings(window=130, refresh_ms=20_000)


def fresh(settings: DetectionSettings | None = None) -> Engine:
    return Engine(settings or DetectionSettings(), TOPIC, 3)


def saved(made: Engine) -> dict[str, bytes]:
    made.drain()
    return StateWriter(made).encode(range(len(made.pairs)))


def continued(made: Engine, rest: Any) -> tuple[object, ...]:
    """Everything the engine tells from here on."""
    told = Told()
    told.add(made.drain())
    found = [msgspec.to_builtins(detection) for detection in made.score(rest, sampled(rest))]
    told.add(made.drain())
    made.advance(int(rest.record_ms[-1]) + 10**7)
    told.add(made.drain())
    return found, *told.everything(), saved(made)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 1199), max_size=8), st.integers(1, 5), st.booleans())
def test_flushed_at_any_points_and_loaded_it_continues_identically(
    seed: int, flushes: list[int], pairs: int, is_small: bool
) -> None:
    settings, columns = SMALL if is_small else DetectionSettings(), traffic(1500, pairs, seed)
    made, image = engine(settings, pairs), {}
    writer = StateWriter(made)
    for start, stop in zip([0, *sorted(flushes)], [*sorted(flushes), 1200], strict=True):
        some = part(columns, start, stop)
        made.score(some, sampled(some))
        image |= writer.encode(made.drain().touched_pairs)
    loaded = fresh(settings)
    loading.load(loaded, image)
    assert loaded.pairs == made.pairs
    assert sorted(loaded.open_episode_ids()) == sorted(made.open_episode_ids())
    rest = part(columns, 1200, 1500)
    assert continued(loaded, rest) == continued(made, rest)


def test_after_a_load_only_what_changed_is_written() -> None:
    made = engine(pairs=50)
    made.score(traffic(5000, 50, 1))
    image = saved(made)
    loaded = fresh()
    writer = loading.load(loaded, image)
    assert writer.encode([]) == {}
    loaded.score(latencies([5.0], pair=7, event_ms=NOON_MS + 10**6))
    learned = int(loaded.tables.series["learned"][loaded.tables.series_of[7, 0]])
    changed = writer.encode(loaded.drain().touched_pairs)
    assert set(changed) == {"b:7", "p:7", codec.window_piece(7, 0, (learned - 1) // codec.SLOTS)}
    assert image | changed == saved(loaded)


def test_a_pair_without_events_leaves_no_hole_in_the_state() -> None:
    made = engine(pairs=3)
    writer = StateWriter(made)
    made.score(latencies([5.0], pair=2))
    loaded = fresh()
    loading.load(loaded, writer.encode(made.drain().touched_pairs))
    assert loaded.pairs == made.pairs


def test_a_state_of_no_pairs_is_whole() -> None:
    loaded = fresh()
    loading.load(loaded, saved(fresh()))
    assert loaded.pairs == []


def test_a_window_that_was_written_more_than_once_around_is_whole() -> None:
    made = engine(SMALL)
    writer = StateWriter(made)
    image = {}
    for start, stop in ((0, 95), (95, 245), (245, 1000)):
        made.score(part(latencies(np.arange(1000.0)), start, stop))
        image |= writer.encode(made.drain().touched_pairs)
        loaded = fresh(SMALL)
        loading.load(loaded, image)
        np.testing.assert_array_equal(loaded.tables.rings[0], made.tables.rings[0])


@pytest.mark.parametrize("window", [60, 130, 400])
def test_a_state_of_another_window_loads_with_its_newest_samples(window: int) -> None:
    made = engine(SMALL)
    made.score(latencies(100.0 + np.arange(200) % 7))
    image = saved(made)
    loaded = fresh(DetectionSettings(window=window))
    writer = loading.load(loaded, image)
    kept = (100.0 + np.arange(200) % 7)[-min(window, 130) :]
    assert sorted(loaded.tables.rings[0][: len(kept)]) == sorted(kept)
    assert loaded.tables.series["median"][0] == made.tables.series["median"][0]
    again = fresh(DetectionSettings(window=window))
    loading.load(again, writer.encode(loaded.drain().touched_pairs) if window != 130 else image)
    rest = latencies([100.0, 500.0, 101.0], event_ms=NOON_MS + 300_000)
    assert continued(again, rest) == continued(loaded, rest)


def test_a_state_of_an_older_schema_loads() -> None:
    """An older version knew fewer metrics, in another order, fewer detectors and fewer fields."""
    made = engine()
    values = 100.0 + np.arange(40) % 5
    made.score(batch(40, latency_ms=values, cost_usd=values / 1000))
    made.score(latencies([900.0], event_ms=NOON_MS + 41_000))
    image = saved(made)
    schema = json.loads(image["schema"])
    schema["metrics"] = ["latency_ms", "prompt_tokens", "abandoned", "total_tokens", "cost_usd", "ttft_ms"]
    schema["detectors"] = [
        "iqr",
        "abandoned",
        "mad",
        "zscore",
        "spike",
        "shift",
        "error_burst",
        "novelty",
        "silence",
        "drift",
    ]
    schema["records"]["series"][-1][0] = "largest"
    loaded = fresh()
    writer = loading.load(loaded, image | {"schema": json.dumps(schema).encode()})
    assert loaded.tables.series["mean"][:2] == pytest.approx(made.tables.series["mean"][:2])
    assert loaded.tables.series["maximum"][0] == 0.0
    was, now = (each.tables.episode_scores[each.tables.open_episodes[0, 0, 0]] for each in (made, loaded))
    assert now.tolist() == [was[3], was[0], was[2], 0.0, was[5], was[4], *was[6:]]
    assert set(writer.encode(loaded.drain().touched_pairs)) == set(image)


def test_changed_thresholds_take_effect_on_a_loaded_state() -> None:
    made = engine(watching("zscore"))
    made.score(latencies(100.0 + np.arange(40) % 5))
    image, outlier = saved(made), latencies([112.0], event_ms=NOON_MS + 41_000)
    strict, loose = fresh(watching("zscore")), fresh(watching("zscore", zscore_threshold=50.0))
    loading.load(strict, image)
    loading.load(loose, image)
    assert (len(strict.score(outlier)), len(loose.score(outlier))) == (1, 0)


def image_of_an_open_episode() -> dict[str, bytes]:
    made = engine(watching("mad"), pairs=2)
    made.score(latencies(100.0 + np.arange(140) % 3, pair=np.arange(140) % 2))
    made.score(latencies([900.0], event_ms=NOON_MS + 141_000))
    return saved(made)


@pytest.mark.parametrize("name", sorted(image_of_an_open_episode()))
def test_a_state_that_lacks_any_piece_is_refused(name: str) -> None:
    image = image_of_an_open_episode()
    del image[name]
    with pytest.raises(BrokenState):
        loading.load(fresh(), image)


SPOILERS = {"short": lambda data: data[:-1], "empty": lambda data: b"", "strange": lambda data: b"\xc1" + data[1:]}
# Any four bytes are a sample: strange samples cannot be told from others.
SPOILED = [
    (name, how) for name in sorted(image_of_an_open_episode()) for how in SPOILERS if (name[0], how) != ("w", "strange")
]


@pytest.mark.parametrize(("name", "how"), SPOILED)
def test_a_piece_that_was_spoiled_is_refused(name: str, how: str) -> None:
    image = image_of_an_open_episode()
    with pytest.raises(BrokenState):
        loading.load(fresh(), image | {name: SPOILERS[how](image[name])})


def test_a_state_of_a_later_version_is_refused() -> None:
    image = image_of_an_open_episode()
    schema = json.loads(image["schema"]) | {"version": codec.VERSION + 1}
    with pytest.raises(BrokenState, match="version 2"):
        loading.load(fresh(), image | {"schema": json.dumps(schema).encode()})


def test_an_episode_that_changed_after_the_last_drain_is_told_after_a_load() -> None:
    made = engine(watching("mad"))
    made.score(latencies(100.0 + np.arange(20) % 3))
    made.score(latencies([900.0], event_ms=NOON_MS + 41_000))
    image = StateWriter(made).encode([0])
    loaded = fresh()
    loading.load(loaded, image)
    assert [each.id for each in loaded.drain().episodes] == made.open_episode_ids()


def test_seeds_take_baselines_and_nothing_else() -> None:
    image = image_of_an_open_episode()
    seeded = fresh(watching("mad"))
    loading.seed(seeded, image, [Pair("service-0", "model")])
    assert (seeded.pairs, seeded.open_episode_ids()) == ([Pair("service-0", "model")], [])
    assert seeded.tables.pairs["watermark"][0] == LONG_AGO
    assert (seeded.tables.open_minutes[0] == -1).all()
    assert seeded.tables.cusum["reference_samples"][0] == 0
    [found] = seeded.score(latencies([900.0], offset=0, event_ms=NOON_MS + 200_000))
    assert found.expected == 101.0


def test_a_seeded_pair_is_written_whole() -> None:
    image = image_of_an_open_episode()
    seeded = fresh(watching("mad"))
    loading.seed(seeded, image, [Pair("service-1", "model")])
    written = StateWriter(seeded).encode(seeded.drain().touched_pairs)
    assert written["w:0:0:0"] == image["w:1:0:0"]
    assert [each.key.service for each in codec.read_baselines(written)] == ["service-1"]


def test_a_seed_changes_no_pair_that_is_there_and_refuses_one_that_is_not_stored() -> None:
    made = engine(watching("mad"))
    made.score(latencies([1.0]))
    loading.seed(made, image_of_an_open_episode(), [Pair("service-0", "model")])
    assert made.tables.series["learned"][0] == 1
    with pytest.raises(BrokenState, match="unknown"):
        loading.seed(made, image_of_an_open_episode(), [Pair("unknown", "model")])


def test_baselines_are_read_without_an_engine() -> None:
    made = engine(pairs=2)
    made.score(batch(40, latency_ms=100.0 + np.arange(40) % 5, cost_usd=0.5))
    read = {str(each.key): each for each in codec.read_baselines(saved(made))}
    assert set(read) == {"service-0:model:latency_ms", "service-0:model:cost_usd"}
    latency = read["service-0:model:latency_ms"]
    assert latency.record == made.tables.series[0]
    assert latency.watermark_ms == NOON_MS + 39_000
