"""The benches that judge detection: what their scores are worth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import DATA_MISSING, llm, llm_adapter, nab
from bench import __main__ as program
from bench.nab import PROFILES, Judged, Recording, sweep

WINDOW = (500, 599)


def recording(*windows: tuple[int, int], samples: int = 1000) -> Recording:
    return Recording("some/file.csv", np.zeros(samples), np.arange(samples, dtype=float), list(windows))


def standard(file: Recording, *alerts: int) -> float:
    scores = np.zeros(len(file.values))
    scores[list(alerts)] = 1.0
    return sweep(Judged.of([file], [scores]), PROFILES["standard"]).at(0.5)


def test_silence_scores_0_and_an_alert_at_the_start_of_every_window_100() -> None:
    file = recording(WINDOW, (800, 849))
    assert standard(file) == 0.0
    assert standard(file, 500, 800) == pytest.approx(100.0)
    assert standard(file, 500) == pytest.approx(50.0)


def test_a_later_alert_earns_less_and_a_second_one_in_a_window_nothing() -> None:
    file = recording(WINDOW)
    early, late = standard(file, 520), standard(file, 580)
    assert 100.0 > early > late > 0.0
    assert standard(file, 520, 580) == early


def test_false_alarms_cost_more_the_further_they_lie_behind_a_window() -> None:
    file = recording(WINDOW)
    near, far = standard(file, 500, 605), standard(file, 500, 900)
    assert 100.0 > near > far == pytest.approx(100.0 - 11.0 / 2)
    assert standard(file, 500, 200) == pytest.approx(100.0 - 11.0 / 2)


def test_the_probation_does_not_count() -> None:
    assert standard(recording(WINDOW), 500, *range(150)) == pytest.approx(100.0)


def test_the_best_threshold_leaves_false_alarms_out() -> None:
    scores = np.zeros(1000)
    scores[[500, 900]] = 0.9, 0.3
    score, threshold = sweep(Judged.of([recording(WINDOW)], [scores]), PROFILES["standard"]).best()
    assert (score, threshold) == (pytest.approx(100.0), 0.9)


def test_recordings_are_read_as_the_benchmark_publishes_them(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "data" / "some").mkdir(parents=True)
    window = ["2026-01-01 00:01:00.000000", "2026-01-01 00:02:00.000000"]
    (tmp_path / "labels" / "combined_windows.json").write_text(json.dumps({"some/file.csv": [window]}))
    rows = [f"2026-01-01 00:0{minute}:00,{minute}" for minute in range(4)]
    (tmp_path / "data" / "some" / "file.csv").write_text("\n".join(["timestamp,value", *rows]))
    [file] = nab.recordings(tmp_path)
    assert (file.category, file.windows, file.values.tolist()) == ("some", [(1, 2)], [0.0, 1.0, 2.0, 3.0])
    assert np.diff(file.timestamps).tolist() == [60.0] * 3


def test_a_folder_without_the_benchmark_is_named(tmp_path: Path) -> None:
    with pytest.raises(nab.DataMissing, match=str(tmp_path)):
        nab.recordings(tmp_path)
    with pytest.raises(llm.DataMissing, match=str(tmp_path)):
        llm.evaluate(lambda events: events["error"] > 0, tmp_path, 1, llm.Load())


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    random = np.random.default_rng(1)
    seconds = np.cumsum(random.exponential(1.0, 2000))
    times = np.datetime64("2026-01-01") + (seconds * 1e6).astype("timedelta64[us]")
    rows = [
        f"{time},{tokens},{tokens // 2}" for time, tokens in zip(times, random.integers(10, 900, 2000), strict=True)
    ]
    (tmp_path / "code.csv").write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    return tmp_path


def test_a_detector_that_always_rings_finds_all_by_chance(traces: Path) -> None:
    found = llm.evaluate(lambda events: {"bell": np.ones(len(events["ts"]), bool)}, traces, 1, llm.Load())
    assert (found["recall"], found["placebo"], found["false_rows"]) == (1.0, 1.0, 1e5)
    assert found["false_incidents"] == pytest.approx(100.0, rel=0.05)
    assert found["false_rows_by_channel"] == {"bell": 1e5}


def test_a_detector_that_never_rings_finds_nothing(traces: Path) -> None:
    found = llm.evaluate(lambda events: np.zeros(len(events["ts"]), bool), traces, 1, llm.Load())
    assert (found["recall"], found["false_rows"], found["f1"]) == (0.0, 0.0, 0.0)


def test_injection_changes_what_the_episode_says_and_nothing_else(traces: Path) -> None:
    recorded = llm.trace(traces / "code.csv")
    (clean, planned), (changed, injected) = (
        llm.stream(llm.SOURCES[3], recorded, 1003, is_injected, llm.Load()) for is_injected in (False, True)
    )
    assert planned == injected
    assert {episode.kind for episode in injected} == set(llm.KINDS)
    for kind, column in (("cost_runaway", "cost_usd"), ("level_shift30", "latency_ms")):
        [episode, *_] = [each for each in injected if each.kind == kind]
        part = slice(episode.start, episode.stop)
        np.testing.assert_allclose(changed[column][part] / clean[column][part], 2.0 if column == "cost_usd" else 1.3)
    outside = np.ones(len(clean["ts"]), bool)
    for episode in injected:
        outside[episode.start : episode.stop] = False
    for column in ("latency_ms", "output_tokens", "cost_usd", "error"):
        np.testing.assert_array_equal(changed[column][outside], clean[column][outside])


def test_alerts_close_together_are_one_incident_but_no_endless_one() -> None:
    alerts = np.zeros(5000, bool)
    alerts[[100, 250, 300, 900]] = True
    alerts[2000:4500] = True
    assert llm.incidents(alerts).tolist() == [100, 900, 2000, 3001, 4002]


def test_without_recordings_a_run_of_all_benches_goes_on_and_one_by_name_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SENTINEL_BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(program, "BENCHES", ("nab",))
    assert program.main([]) == 0
    assert program.main(["nab"]) == DATA_MISSING
    out, err = capfd.readouterr()
    assert out.count("skipped: nab") == 1
    assert err.count(str(tmp_path)) == 2


def calls_with_an_outlier() -> dict[str, np.ndarray]:
    """A call a second whose latency hardly varies, but for one that takes a hundred times as long."""
    count = 600
    latency = 100.0 + np.arange(count) % 7
    latency[500] = 10_000.0
    steady = {name: np.full(count, 10.0) for name in ("input_tokens", "output_tokens", "total_tokens", "cost_usd")}
    return {"ts": np.arange(float(count)), "latency_ms": latency, "error": np.zeros(count), **steady}


def test_the_classic_mode_is_judged_by_its_flags_and_by_its_episodes() -> None:
    flags = llm_adapter.classic_flags(calls_with_an_outlier())
    assert {name: bool(of[500]) for name, of in flags.items()} == dict.fromkeys(("zscore", "iqr", "mad", "cusum"), True)
    assert not any(of[:500].any() for of in flags.values())
    begun = llm_adapter.classic(calls_with_an_outlier())
    assert {name: np.flatnonzero(of).tolist() for name, of in begun.items()} == {"latency_ms": [500]}
