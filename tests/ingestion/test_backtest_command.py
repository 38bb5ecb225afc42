"""manage.py backtest as a command: files of every format, folders, reports, faults."""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from anomalies import overrides
from anomalies.models import DetectionOverride
from ingestion.backtesting.trial import TOPIC_ID
from ingestion.formats import native
from ingestion.formats.event import Event
from ingestion.telemetry_store import TelemetryBatch
from ingestion.telemetry_store.contract import nanoseconds
from ingestion.telemetry_store.database import DatabaseStore
from sentinel_site.config import load_config

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def classic(tmp_path: Path, settings: Any) -> Path:
    """The configuration in force."""
    path = tmp_path / "classic.yaml"
    path.write_text("detection:\n  mode: classic\n")
    settings.SENTINEL = load_config(path)
    return path


def calls(count: int, spikes: tuple[int, ...] = (), begin_ns: int = 1_790_000_000_000_000_000) -> list[Event]:
    return [
        Event(
            timestamp_ns=begin_ns + second * 10**9,
            service="s",
            model="m",
            latency_ms=5000.0 if second in spikes else 100.0 + second % 7,
            prompt_tokens=10,
            completion_tokens=5,
        )
        for second in range(count)
    ]


def native_file(path: Path, events: list[Event]) -> Path:
    path.write_bytes(b"".join(native.encode(event) + b"\n" for event in events))
    return path


def episodes(folder: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (folder / "episodes.jsonl").read_bytes().splitlines()]


def opened(folder: Path) -> list[int]:
    return [episode["opened_index"] for episode in episodes(folder)]


def scores(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_bad_line_is_named_and_indexes_count_events(tmp_path, capfd):
    path = native_file(tmp_path / "calls.jsonl", calls(200, spikes=(150,)))
    lines = path.read_bytes().splitlines()
    lines.insert(7, b'{"timestamp": 5}')
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    call_command("backtest", str(path), output=tmp_path / "out")
    assert opened(tmp_path / "out") == [150]
    out, err = capfd.readouterr()
    assert "line 8 skipped" in err
    assert "1 bad lines" in err
    assert out.split("episodes per day")[0].split("days")[0].split()[-5:] == ["200", "of", "them", "repeated", "0"]
    assert "classic.yaml" in out


def test_a_trace_of_tokens_is_run_through_the_door_of_the_pipeline(tmp_path, capfd):
    path = tmp_path / "trace.csv"
    rows = [f"2023-11-16 18:{n // 60:02d}:{n % 60:02d}.5,1000,{9_000_000 if n == 400 else 50}" for n in range(600)]
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    call_command("backtest", str(path), format="llm-trace", output=tmp_path / "out", noise=0.0)
    found = episodes(tmp_path / "out")
    assert {row["opened_index"] for row in found} == {400}
    assert {row["metric"]: row["peak"] for row in found}["latency_ms"] == 300_000.0  # the most that is believed
    assert {(row["service"], row["model"]) for row in found} == {("replay", "trace")}


def test_each_of_several_inputs_has_a_folder_and_begins_anew(tmp_path):
    first = native_file(tmp_path / "first.jsonl", calls(60, spikes=(50,)))
    second = tmp_path / "second.jsonl.gz"
    second.write_bytes(gzip.compress(native_file(tmp_path / "x", calls(30, spikes=(3, 20))).read_bytes()))
    call_command("backtest", str(first), str(second), output=tmp_path / "out")
    assert opened(tmp_path / "out" / "first") == [50]
    assert opened(tmp_path / "out" / "second") == [20]  # 3 lies before it knows what is normal


def test_two_configurations_stand_side_by_side(tmp_path, capfd):
    path = native_file(tmp_path / "calls.jsonl", calls(200, spikes=(150,)))
    other = tmp_path / "deaf.yaml"
    other.write_text("detection:\n  enabled_detectors: [cusum]\n  cusum: {threshold: 1000000}\n  mode: classic\n")
    call_command("backtest", str(path), output=tmp_path / "out", compare=other)
    assert opened(tmp_path / "out") == [150]
    assert opened(tmp_path / "out" / "compare") == []
    header = next(line for line in capfd.readouterr().out.splitlines() if "classic.yaml" in line)
    assert header.split() == ["classic.yaml", "deaf.yaml"]


def test_a_wrong_configuration_to_compare_with_is_explained(tmp_path):
    path = native_file(tmp_path / "calls.jsonl", calls(5))
    other = tmp_path / "wrong.yaml"
    other.write_text("detection:\n  zscore: {threshold: -1}\n")
    with pytest.raises(CommandError, match=r"detection\.zscore\.threshold"):
        call_command("backtest", str(path), output=tmp_path / "out", compare=other)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "name either FILES or --from-store"),
        (["a.jsonl", "--from-store"], "name either FILES or --from-store"),
        (["a.jsonl", "--hours=3"], "--hours belongs to --from-store"),
        (["a.csv", "--format=series", "--compare=b.yaml"], "goes with neither"),
        (["missing.jsonl"], r"no such file: missing\.jsonl"),
    ],
)
def test_options_that_make_no_sense_are_refused(words, fault):
    with pytest.raises(CommandError, match=fault):
        call_command("backtest", *words)


def test_inputs_that_would_share_a_folder_are_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    paths = [native_file(folder / "calls.jsonl", calls(5)) for folder in (tmp_path, tmp_path / "sub")]
    with pytest.raises(CommandError, match="would share the folder"):
        call_command("backtest", *map(str, paths), output=tmp_path / "out")


def test_a_file_of_another_format_is_an_error(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("timestamp,value\n2026-01-01,5\n")
    with pytest.raises(CommandError, match="no event that can be used"):
        call_command("backtest", str(path), output=tmp_path / "out")
    with pytest.raises(CommandError, match="must name the columns"):
        call_command("backtest", str(native_file(path, calls(3))), format="series", output=tmp_path / "out")


def test_a_series_gets_a_score_for_every_row_whatever_its_timestamps(tmp_path, capfd):
    random = np.random.default_rng(5)
    values = np.round(10 + np.sin(np.arange(2000) / 20) + random.normal(size=2000) * 0.05, 3)
    values[1500] = 25.0
    texts = [f"{n},{value},x" for n, value in enumerate(values)]
    texts[100], texts[101] = "no time at all,abc,x", "1999-12-31T23:59:59Z,,x"
    path = tmp_path / "some.csv"
    path.write_text("timestamp,value,more\n" + "\n".join(texts))
    call_command("backtest", str(path), format="series", output=tmp_path / "out")
    written = scores(tmp_path / "out")
    assert [(row["timestamp"], row["value"]) for row in written] == [tuple(text.split(",")[:2]) for text in texts]
    numbers = np.array([float(row["score"]) for row in written])
    assert ((numbers >= 0) & (numbers <= 1)).all()
    assert numbers[1500] >= 0.5
    assert (numbers[100], numbers[101]) == (0.0, 0.0)
    out, err = capfd.readouterr()
    assert "line 102 skipped: value must be a number, not 'abc'" in err
    assert out.split()[:1] == ["series"]
    assert f"{(numbers >= 0.5).sum():,}" in out.splitlines()[1].split()


def test_telemetry_is_read_back_from_the_store(tmp_path, capfd, settings):
    settings.SENTINEL = settings.SENTINEL.model_copy(
        update={"storage": settings.SENTINEL.storage.model_copy(update={"backend": "database"})}
    )
    old, young = (nanoseconds(timezone.now() - timedelta(hours=hours)) for hours in (5, 1))
    events = [*calls(30, spikes=(20,), begin_ns=old), *calls(60, spikes=(50,), begin_ns=young)]
    DatabaseStore().write_telemetry(TelemetryBatch("llm.telemetry", TOPIC_ID, 0, range(len(events)), events))
    call_command("backtest", "--from-store", "--hours=2", output=tmp_path / "out")
    assert opened(tmp_path / "out") == [50]
    assert "the last 2 hours of the telemetry store" in capfd.readouterr().out


def test_the_overrides_of_the_database_hold_unless_they_are_left_out(tmp_path, capfd):
    DetectionOverride.objects.create(service="s", muted=True)
    DetectionOverride.objects.create(service="s", muted=False, model="m", enabled=False)
    path = native_file(tmp_path / "calls.jsonl", calls(60, spikes=(50,)))
    call_command("backtest", str(path), output=tmp_path / "with")
    call_command("backtest", str(path), "--without-overrides", output=tmp_path / "without")
    assert (opened(tmp_path / "with"), opened(tmp_path / "without")) == ([], [50])
    told = [line.split() for line in capfd.readouterr().out.splitlines() if line.startswith("overrides")]
    assert told == [["overrides", "1"], ["overrides", "0"]]


def test_both_configurations_have_the_overrides(tmp_path, classic):
    DetectionOverride.objects.create(service="s", muted=True)
    path = native_file(tmp_path / "calls.jsonl", calls(60, spikes=(50,)))
    other = tmp_path / "other.yaml"
    other.write_text(classic.read_text())
    call_command("backtest", str(path), output=tmp_path / "out", compare=other)
    assert (opened(tmp_path / "out"), opened(tmp_path / "out" / "compare")) == ([], [])


def test_a_database_without_tables_has_no_overrides(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(overrides, "current", Mock(side_effect=OperationalError("no such table: overrides")))
    path = native_file(tmp_path / "calls.jsonl", calls(60, spikes=(50,)))
    call_command("backtest", str(path), output=tmp_path / "out")
    assert opened(tmp_path / "out") == [50]
    assert "no such table: overrides" in capfd.readouterr().out


def test_files_need_neither_secrets_nor_services(tmp_path, classic):
    path = native_file(tmp_path / "calls.jsonl", calls(60, spikes=(50,)))
    words = ["backtest", str(path), "--config", str(classic), "--output", str(tmp_path / "out")]
    bare = {name: value for name, value in os.environ.items() if not name.startswith("SENTINEL")}
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=bare | {"SENTINEL__STORAGE__BACKEND": "influxdb3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert opened(tmp_path / "out") == [50]
