"""`manage.py plan_capacity` and the arithmetic under it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from sentinel_site.capacity import measured
from sentinel_site.capacity.planning import MAX_EVENTS_PER_SECOND, UTILISATION, Load, Plan, detect_rate, plan
from sentinel_site.management.commands.plan_capacity import size

DOCS = Path(__file__).resolve().parents[2] / "docs" / "capacity.md"
USUAL = Load(events_per_second=10_000, pairs=1_000, retention_days=30)


def replicas(made: Plan, name: str) -> int:
    return next(role.replicas for role in made.roles if role.name == name)


def run(*argv: str) -> str:
    out = io.StringIO()
    call_command("plan_capacity", *argv, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("rate", [0.1, 100, 10_000, 250_000, MAX_EVENTS_PER_SECOND])
def test_every_role_is_planned_below_what_was_measured_of_it(rate: float) -> None:
    made = plan(replace(USUAL, events_per_second=rate))
    assert rate / replicas(made, "detect") <= detect_rate(USUAL.pairs) * UTILISATION
    assert rate / replicas(made, "store") <= measured.STORE_EVENTS_PER_SECOND * UTILISATION
    assert made.partitions >= max(role.replicas for role in made.roles)


def test_more_load_never_needs_less() -> None:
    plans = [plan(replace(USUAL, events_per_second=rate)) for rate in (1, 10, 1e3, 1e4, 1e5, 1e6)]
    for less, more in pairwise(plans):
        assert less.partitions <= more.partitions
        assert less.influxdb_disk_bytes < more.influxdb_disk_bytes
        assert less.redis_bytes <= more.redis_bytes
        assert less.postgresql_disk_bytes <= more.postgresql_disk_bytes


def test_events_of_more_pairs_cost_more() -> None:
    assert detect_rate(10) == pytest.approx(measured.DETECT_EVENTS_PER_SECOND)
    assert detect_rate(10) > detect_rate(1_000) > detect_rate(10_000) == detect_rate(50_000)


def test_a_pair_that_is_quiet_for_minutes_writes_no_minutes() -> None:
    seldom = plan(Load(events_per_second=1, pairs=10_000, retention_days=1, minutes_days=1, hours_days=1))
    assert seldom.minutes_rows == 60 * 1_440
    assert seldom.hours_rows == 3_600 * 24


def test_disk_of_single_events_follows_their_retention_alone() -> None:
    week, month = (plan(replace(USUAL, retention_days=days)) for days in (7, 28))
    assert month.influxdb_disk_bytes == pytest.approx(4 * week.influxdb_disk_bytes, abs=4)
    assert month.postgresql_disk_bytes == week.postgresql_disk_bytes


def test_what_replicas_do_not_solve_is_told() -> None:
    assert plan(replace(USUAL, events_per_second=20)).warnings == ()
    told = " ".join(plan(Load(events_per_second=MAX_EVENTS_PER_SECOND, pairs=2, retention_days=30)).warnings)
    for part in ("cannot occupy", "A pair alone", "InfluxDB 3 Core", "false_alarms_per_100k"):
        assert part in told
    assert "max_series" in " ".join(plan(replace(USUAL, max_series=1)).warnings)


@pytest.mark.parametrize(
    "argv",
    [("--events-per-second", "0"), ("--events-per-second", "1000001"), ("--events-per-second", "nan")],
)
def test_a_load_that_cannot_be_is_refused_with_what_is_allowed(argv: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match=r"above 0 and at most 1,000,000"):
        run(*argv, "--pairs", "10")


def test_json_and_the_table_tell_the_same_under_the_configuration_in_force() -> None:
    argv = ("--events-per-second", "10000", "--pairs", "1000", "--retention", "7d")
    told = json.loads(run(*argv, "--json"))
    shown = run(*argv)
    assert told["load"]["retention_days"] == 7
    assert told["load"]["minutes_days"] == 90
    assert f"{told['plan']['minutes_rows']:,} minutes" in shown
    assert size(told["plan"]["redis_bytes"]) in shown


def test_the_docs_name_every_measured_figure() -> None:
    text = DOCS.read_text().replace("\u202f", " ").replace(",", " ")
    figures = [value for name, value in vars(measured).items() if name.isupper() and isinstance(value, int)]
    assert len(figures) >= 12
    missing = [value for value in figures if f"{value:,}".replace(",", " ") not in text and size(value) not in text]
    assert not missing


def test_the_table_of_the_docs_is_what_comes_out() -> None:
    table = [row for row in DOCS.read_text().splitlines() if row.startswith("| ") and "/s, " in row]
    assert len(table) == 4
    for row in table:
        (load, *cells) = (cell.strip() for cell in row.strip("|").split("|"))
        rate, pairs = (int("".join(filter(str.isdigit, part))) for part in load.split("/s, "))
        made = plan(Load(events_per_second=rate, pairs=pairs, retention_days=30))
        sizes = (made.redis_bytes, made.influxdb_disk_bytes, made.postgresql_disk_bytes)
        counts = (made.partitions, replicas(made, "detect"), replicas(made, "store"))
        assert cells == [*map(str, counts), size(made.roles[0].memory_bytes), *map(size, sizes)]
