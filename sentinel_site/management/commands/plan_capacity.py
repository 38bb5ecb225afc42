"""manage.py plan_capacity: how many of what, and how large, for a load."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ingestion.management.options import at_least, duration
from sentinel_site.capacity.planning import Load, Plan, plan
from sentinel_site.command_line.printing import as_json, table

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Command(BaseCommand):
    help = "Print partitions, replicas, memory and disk for a load, from what was measured (docs/capacity.md)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--events-per-second", type=float, required=True, metavar="N", help="at the daily peak")
        parser.add_argument("--pairs", type=at_least(1), required=True, metavar="N", help="of service and model")
        parser.add_argument(
            "--retention",
            type=duration,
            metavar="DURATION",
            help="of single events, such as 30d (default: storage.retention.telemetry)",
        )
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            load = load_of(options["events_per_second"], options["pairs"], options["retention"])
        except ValueError as error:
            raise CommandError(str(error)) from error
        made = plan(load)
        if options["json"]:
            self.stdout.write(as_json({"load": asdict(load), "plan": asdict(made)}))
        else:
            self.stdout.write("\n".join(lines(load, made)))


def load_of(events_per_second: float, pairs: int, retention: timedelta | None) -> Load:
    """The load under the configuration in force. Raises ValueError."""
    storage, detection = settings.SENTINEL.storage.retention, settings.SENTINEL.detection
    return Load(
        events_per_second=events_per_second,
        pairs=pairs,
        retention_days=storage.telemetry if retention is None else retention / timedelta(days=1),
        minutes_days=storage.minutes,
        hours_days=storage.hours,
        anomalies_days=storage.anomalies,
        anomalies_per_100k=detection.false_alarms_per_100k,
        max_novelty_series=detection.max_novelty_series,
        max_series=detection.max_series,
    )


def lines(load: Load, made: Plan) -> Iterator[str]:
    days = f"{load.retention_days:g} days"
    yield f"{load.events_per_second:,g} events/s of {load.pairs:,} pairs, single events kept {days}\n"
    yield from table(("what", "how many", "memory of each", "disk"), rows(made))
    for warning in made.warnings:
        yield f"\n! {warning}"


def rows(made: Plan) -> Iterator[tuple[str, str, str, str]]:
    yield "Kafka partitions", f"{made.partitions}", "", f"{size(made.kafka_disk_bytes)} in three copies"
    for role in made.roles:
        yield role.name, f"{role.replicas}", size(role.memory_bytes), ""
    yield "Redis", "1", size(made.redis_bytes), ""
    written = f"{made.influxdb_lines_per_second:,.0f} lines/s, {size(made.influxdb_bytes_per_second)}/s"
    yield "InfluxDB 3", written, "", size(made.influxdb_disk_bytes)
    counted = f"{made.minutes_rows:,} minutes, {made.hours_rows:,} hours, {made.anomalies_rows:,} anomalies"
    yield "PostgreSQL", counted, "", size(made.postgresql_disk_bytes)


def size(count: float) -> str:
    """Bytes in decimal units with three digits."""
    power = 0
    while count >= 1_000 and power < len(UNITS) - 1:
        count, power = count / 1_000, power + 1
    return f"{count:.3g} {UNITS[power]}" if count < 999.5 else f"{count:,.0f} {UNITS[power]}"
