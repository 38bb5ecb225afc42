"""A configuration over a recording: what the live pipeline would have told, whatever the batches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalies.detection.engine import Engine
from anomalies.detection.facts import facts
from anomalies.detection.overrides import OverrideSet, Rule
from anomalies.detection.saving import StateWriter
from anomalies.detection.settings import MODES, DetectionSettings
from anomalies.record import _anomaly
from baselines.models import Service
from baselines.store import PartitionName
from ingestion.backtesting.report import report
from ingestion.backtesting.rows import DETECTIONS, EPISODES
from ingestion.backtesting.runs import Contender, run
from ingestion.backtesting.stored import StoredTelemetry
from ingestion.backtesting.trial import PARTITION, TOPIC_ID, Trial
from ingestion.columns import columns_of
from ingestion.formats import native
from ingestion.formats.event import Event
from ingestion.formats.timestamps import rfc3339
from ingestion.formats.validation import Limits
from ingestion.partition import OwnedPartition
from ingestion.recent import RecentIds
from ingestion.telemetry_store import TelemetryBatch
from ingestion.telemetry_store.contract import moment, nanoseconds
from ingestion.telemetry_store.database import DatabaseStore
from tests.ingestion.pipeline.fakes import FakeMessage
from tests.ingestion.pipeline.recordings import traffic

WINDOW = 500
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAR_MS = 1 << 50


def recorded(events: int, seed: int = 7) -> list[Event]:
    return [native.decode(payload, received_ms=FAR_MS, limits=Limits()) for _, payload, _ in traffic(events, seed)]


def steady(count: int, **unusual: Any) -> list[Event]:
    """One pair, a call a second of almost the same latency."""
    return [
        Event(timestamp_ns=nanoseconds(NOON + timedelta(seconds=second)), service="s", model="m", **fields)
        for second in range(count)
        for fields in [{"latency_ms": 100.0 + second % 7, "event_id": f"e{second}"} | unusual]
    ]


def contender(folder: Path, mode: str = "classic", name: str = "it") -> Contender:
    return Contender(name, DetectionSettings(mode=mode, window=100), WINDOW, folder)


def tried(events: list[Event], folder: Path, mode: str = "classic", batch: int = 4096) -> Trial:
    [trial] = run(events, [contender(folder, mode)], lambda _: None, lambda: False, batch)
    return trial


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (folder / name).read_bytes().splitlines()]


EVENTS = {"classic": recorded(900), "calibrated": recorded(6000)}


@pytest.mark.parametrize("mode", MODES)
def test_any_batch_size_gives_the_same_files(mode: str, tmp_path: Path) -> None:
    tried(EVENTS[mode], tmp_path / "whole", mode, len(EVENTS[mode]))
    assert rows(tmp_path / "whole", EPISODES)
    assert rows(tmp_path / "whole", DETECTIONS)

    @settings(max_examples=10, deadline=None)
    @given(st.integers(1, 60).map(lambda size: size**2))
    def same(size: int) -> None:
        tried(EVENTS[mode], tmp_path / "parts", mode, size)
        for name in (EPISODES, DETECTIONS):
            assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    same()


@pytest.mark.parametrize("mode", MODES)
def test_a_backtest_tells_what_the_live_partition_tells(mode: str, tmp_path: Path) -> None:
    events = EVENTS[mode]
    engine = Engine(contender(tmp_path, mode).settings, TOPIC_ID, PARTITION)
    name = PartitionName("llm.telemetry", TOPIC_ID, PARTITION)
    live = OwnedPartition(name, engine, StateWriter(engine), RecentIds(WINDOW), Limits(), 0)
    live.take([FakeMessage(o, native.encode(e), None, e.timestamp_ns // 10**6) for o, e in enumerate(events)])
    work = live.drain()
    tried(events, tmp_path, mode)
    told = {
        (str(e.id), e.key.metric, e.first_offset, e.last_offset, e.value, e.occurrences, e.detector, e.state)
        for e in work.episodes
    }
    names = ("id", "metric", "first_index", "last_index", "peak", "occurrences", "detector", "state")
    assert told == {tuple(row[name] for name in names) for row in rows(tmp_path, EPISODES)}
    published = [msgspec.json.decode(value) for _, value in work.detections]
    names = ("timestamp", "service", "model", "metric", "detector", "score", "value")
    assert [(m["offset"], *(m[name] for name in names)) for m in published] == [
        (row["index"], *(row[name] for name in names)) for row in rows(tmp_path, DETECTIONS)
    ]


def test_an_episode_says_at_which_event_it_opened(tmp_path: Path) -> None:
    events = steady(300)
    for place in (200, 203, 205):
        events[place].latency_ms = 5000.0
    tried(events, tmp_path)
    [episode] = rows(tmp_path, EPISODES)
    indexes = (episode["opened_index"], episode["first_index"], episode["last_index"], episode["occurrences"])
    assert indexes == (200, 200, 205, 3)
    assert episode["opened_at"] == episode["first_seen"] == rfc3339(events[200].timestamp_ns)
    assert episode["last_seen"] == rfc3339(events[205].timestamp_ns)
    assert (episode["type"], episode["direction"], episode["severity"]) == ("latency_spike", "up", "critical")
    assert (episode["peak"], episode["state"]) == (5000.0, "ended")
    assert episode["lower"] < 100 < episode["expected"] < episode["upper"] < 200
    assert [row["index"] for row in rows(tmp_path, DETECTIONS)] == [200, 203, 205]


def test_the_files_have_the_keys_that_programs_rely_on(tmp_path: Path) -> None:
    events = steady(50)
    events[40].latency_ms = 5000.0
    tried(events, tmp_path)
    assert " ".join(rows(tmp_path, EPISODES)[0]) == (
        "id service model metric type direction detector detectors severity opened_index first_index last_index"
        " opened_at first_seen last_seen peak expected lower upper occurrences state dimensions"
    )
    assert " ".join(rows(tmp_path, DETECTIONS)[0]) == "index timestamp service model metric detector score value"


def test_an_episode_says_what_its_calls_have_in_common(tmp_path: Path) -> None:
    events = steady(1200)
    for place, event in enumerate(events):
        is_slow = 1000 <= place < 1020
        event.metadata = {"region": "eu" if is_slow or place % 4 == 0 else "us"}
        event.latency_ms = 5000.0 if is_slow else event.latency_ms
    tried(events, tmp_path)
    episode = max(rows(tmp_path, EPISODES), key=lambda row: row["occurrences"])
    [common] = episode["dimensions"]
    assert (common["dimension"], common["value"], common["share"]) == ("region", "eu", 1.0)
    assert common["usual_share"] == pytest.approx(0.25, abs=0.05)


def test_a_row_of_a_backtest_and_an_anomaly_tell_of_an_episode_in_the_same_words(tmp_path: Path) -> None:
    events = steady(300)
    events[200].latency_ms = 5000.0
    trial = tried(events, tmp_path)
    [row] = trial.episodes()
    engine = Engine(contender(tmp_path).settings, TOPIC_ID, PARTITION)
    columns = columns_of(events, range(300), [event.timestamp_ns // 10**6 for event in events], engine.pair_row)
    engine.score(columns)
    [episode] = engine.drain().episodes
    service = Service(name="s")
    anomaly = _anomaly(episode, TOPIC_ID, PARTITION, {"s": service}, NOON)
    assert facts(episode) == {name: getattr(row, name) for name in facts(episode)}
    assert facts(episode) == {name: getattr(anomaly, name) for name in facts(episode)}


def test_overrides_hold_from_the_first_event_on(tmp_path: Path) -> None:
    events = steady(300)
    events[200].latency_ms = 5000.0
    deaf = OverrideSet.of([Rule(service="s", metric="latency_ms", muted=True)], {})
    both = [contender(tmp_path / "heard"), contender(tmp_path / "deaf")._replace(overrides=deaf)]
    trials = run(events, both, lambda _: None, lambda: False)
    assert [len(rows(tmp_path / name, EPISODES)) for name in ("heard", "deaf")] == [1, 0]
    [line] = [line for line in report(trials).splitlines() if line.startswith("overrides")]
    assert line.split() == ["overrides", "0", "1"]


def test_what_is_still_open_at_the_end_is_active_and_drops_are_info(tmp_path: Path) -> None:
    events = steady(101)
    events[100].latency_ms = 1.0
    tried(events, tmp_path)
    [episode] = rows(tmp_path, EPISODES)
    assert (episode["state"], episode["type"], episode["severity"]) == ("active", "latency_drop", "info")


def test_a_repeated_event_has_an_index_but_is_not_scored_again(tmp_path: Path) -> None:
    events = steady(100)
    events[50].latency_ms = 5000.0
    events[51:51] = [events[50]] * 3
    events[80].latency_ms = 5000.0
    trial = tried(events, tmp_path)
    assert [row["index"] for row in rows(tmp_path, DETECTIONS)] == [50, 80]
    assert (trial.events, trial.repeated) == (103, 3)


def test_configurations_side_by_side_do_not_touch_each_other(tmp_path: Path) -> None:
    both = [contender(tmp_path / mode, mode, f"{mode}.yaml") for mode in MODES]
    trials = run(EVENTS["classic"], both, lambda _: None, lambda: False)
    for mode in MODES:
        tried(EVENTS["classic"], tmp_path / "alone", mode)
        for name in (EPISODES, DETECTIONS):
            assert (tmp_path / mode / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    header, events, *_ = report(trials).splitlines()
    assert header.split() == ["classic.yaml", "calibrated.yaml"]
    assert events.split() == ["events", *[f"{len(EVENTS['classic']):,}"] * 2]


def test_the_report_counts_episodes_by_day_detector_and_severity(tmp_path: Path) -> None:
    events = steady(43_201)  # half a day
    events[30_000].latency_ms = 5000.0
    events[40_000].latency_ms = 5000.0
    lines = [line.split("  ") for line in report([tried(events, tmp_path)]).splitlines()]
    told = {cells[0]: cells[-1].strip() for cells in lines}
    [kind] = {f"{row['detector']}, critical" for row in rows(tmp_path, EPISODES)}
    assert (told[kind], told["all"]) == ("4.0 (2)", "4.0 (2)")
    assert (told["days"], told["series covered"], told["flagged samples"]) == ("0.50", "1 of 1", "2")
    assert told["alarms (episodes) per 100,000 events"] == "4.6"


def test_a_run_that_is_stopped_leaves_whole_files(tmp_path: Path) -> None:
    seen: list[int] = []
    events = steady(100)
    events[15].latency_ms = 5000.0
    run(events, [contender(tmp_path)], seen.append, lambda: seen[-1] >= 20, batch_size=10)
    assert seen == [10, 20]
    assert [row["state"] for row in rows(tmp_path, EPISODES)] == ["active"]


@pytest.mark.django_db
def test_the_store_is_read_back_oldest_first_whatever_its_pages(tmp_path: Path, monkeypatch: Any) -> None:
    events = EVENTS["classic"]
    store = DatabaseStore()
    store.write_telemetry(TelemetryBatch("llm.telemetry", TOPIC_ID, 0, range(len(events)), events))
    monkeypatch.setattr("ingestion.backtesting.stored.PAGE", 37)
    monkeypatch.setattr("ingestion.backtesting.stored.SLICE", timedelta(seconds=20))
    times = [event.timestamp_ns for event in events]
    start, end = moment(min(times)), moment(max(times)) + timedelta(seconds=1)
    stored = StoredTelemetry(store, start, end)
    found = list(stored.events())
    assert stored.position == stored.size == (end - start).total_seconds()
    expected = sorted(events, key=lambda event: event.timestamp_ns)
    assert [event.timestamp_ns for event in found] == [event.timestamp_ns for event in expected]
    kept = ("service", "model", "latency_ms", "prompt_tokens", "cost_usd", "error", "errors", "trace_id", "event_id")
    assert {tuple(str(getattr(event, name)) for name in kept) for event in found} == {
        tuple(str(getattr(event, name)) for name in kept) for event in events
    }
    tried(found, tmp_path)
    assert rows(tmp_path, EPISODES)
