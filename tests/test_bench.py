"""The pure parts of the benches: what they print and write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.figures import Spread, save, table
from bench.machine import cpu_model, machine, memory_mb
from bench.messages import messages
from bench.pipeline import Run, cases_of, show, summary
from bench.premises import Addresses, ServiceMissing


def test_a_spread_is_the_median_and_the_extremes() -> None:
    assert Spread.of([3.0, 1.0, 20.0]) == Spread(3.0, 1.0, 20.0)
    assert Spread.of([3.0, 1000.0, 20000.0]).text() == "1,000 (3-20,000)"
    assert Spread.of([5.0]).text(".1f") == "5.0"
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


def test_columns_of_a_table_are_as_wide_as_their_widest_cell() -> None:
    assert table(["name", "n"], [["a", "100"], ["longer", "2"]]) == "name      n\na       100\nlonger    2"


def test_figures_are_written_with_the_machine_they_were_measured_on(tmp_path: Path) -> None:
    content = json.loads(save("speed", {"x": [1.5]}, tmp_path).read_text())
    assert (content["bench"], content["figures"], content["machine"]) == ("speed", {"x": [1.5]}, machine())


def test_a_machine_is_read_from_what_linux_says_of_it() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: Z 80\nmodel name\t: other\n") == "Z 80"
    assert memory_mb("MemFree: 1 kB\nMemTotal:  8388608 kB\n") == 8192
    assert (cpu_model(""), memory_mb("")) == ("", None)


def test_runs_are_summed_up_by_case_and_rates_are_per_second_of_cpu() -> None:
    runs = [Run("all", "database", 1000, 4.0, seconds, 200.0) for seconds in (2.0, 1.0, 4.0)]
    runs.insert(1, Run("detect", "database", 1000, 1.0, 0.5, 100.0))
    first, second = summary(runs)
    assert (first["role"], first["events_per_cpu_s"]) == ("all", Spread(500.0, 250.0, 1000.0))
    assert (second["role"], second["events_per_cpu_s"]) == ("detect", Spread(2000.0, 2000.0, 2000.0))
    assert "500 (250-1,000)" in show([first])


def test_the_detect_role_is_measured_with_one_store_only() -> None:
    assert cases_of(["detect", "all"], ["database", "influxdb3"]) == [
        ("detect", "database"),
        ("all", "database"),
        ("all", "influxdb3"),
    ]


def test_the_messages_are_the_same_every_time_and_keyed_by_their_series() -> None:
    some = list(messages(300))
    assert (len(some), some) == (300, list(messages(300)))
    assert all(key.split(b"|")[0] in value for key, value in some)


def test_a_missing_service_is_named() -> None:
    with pytest.raises(ServiceMissing, match="POSTGRES, REDIS"):
        Addresses.of({"SENTINEL_TEST_KAFKA": "k:1"})
