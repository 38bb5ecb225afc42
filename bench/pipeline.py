"""The whole consumer against real Kafka, Redis and PostgreSQL: events per second, and per second of CPU.

python -m bench pipeline                          # detect, store and both; then both with the double of InfluxDB 3
python -m bench.pipeline --roles detect store --stores database --runs 5 --events 1000000

The consumer is one process on one core. Its start-up (imports, compilation, joining the groups) is not measured; what
it still has to make durable after the last message is. Work of other processes on the same machine, those services
included, shows in the wall time and, less, in the CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from bench import machine
from bench.figures import Spread, save, table
from bench.messages import messages
from bench.premises import ROOT, Addresses, Premises, ServiceMissing, empty, premises, publish

ROLES = {"detect": ("detect",), "store": ("store",), "all": ("detect", "store")}
STORES = ("database", "influxdb3")
TOKEN = "bench-token"
LONGEST_RUN_S = 900


@dataclass(frozen=True)
class Run:
    """One run of the consumer over all messages."""

    role: str
    store: str
    events: int
    wall_s: float
    cpu_s: float
    memory_mb: float

    @property
    def per_cpu_second(self) -> float:
        return self.events / self.cpu_s


def consume(place: Premises, role: str, store: str, number: int, core: int | None) -> Run:
    """Run the consumer in a process of its own; raises CalledProcessError and TimeoutExpired."""
    command = [sys.executable, "-m", "bench.consumer", "--roles", *ROLES[role], "--topic", place.topic]
    command += ["--group", f"{place.name}-{role}-{store}-{number}"]
    command += [] if core is None else ["--core", str(core)]
    with store_settings(store) as settings:
        found = subprocess.run(
            command,
            cwd=ROOT,
            env=place.environment | settings,
            stdout=subprocess.PIPE,
            timeout=LONGEST_RUN_S,
            check=True,
        )
    figures = json.loads(found.stdout.splitlines()[-1])
    return Run(role, store, round(figures["consumed"]), figures["wall_s"], figures["cpu_s"], figures["memory_mb"])


@contextmanager
def store_settings(store: str) -> Iterator[dict[str, str]]:
    """The configuration of a telemetry store; the double of InfluxDB 3 runs as long as it is needed."""
    with influxdb_double() if store == "influxdb3" else nullcontext("") as url:
        yield {
            "SENTINEL__STORAGE__BACKEND": store,
            "SENTINEL__STORAGE__INFLUXDB__URL": url or "http://127.0.0.1:8181",
            "INFLUXDB_TOKEN": TOKEN,
        }


@contextmanager
def influxdb_double() -> Iterator[str]:
    """Start the double; its address. It parses every line in Python and so bounds the wall time, not the CPU time."""
    command = [sys.executable, "-m", "tests.support.influxdb3_double", "--port", "0", "--token", TOKEN]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()[0]  # type: ignore[union-attr]
        finally:
            process.terminate()


def measure(place: Premises, cases: Sequence[tuple[str, str]], runs: int, core: int | None) -> list[Run]:
    """All cases in turn, `runs` times over, so that a slow moment of the machine does not fall on one of them."""
    found = []
    for number in range(runs):
        for role, store in cases:
            empty(place)
            run = consume(place, role, store, number, core)
            print(f"  {role} {store}: {run.per_cpu_second:,.0f} events per CPU second", file=sys.stderr, flush=True)
            found.append(run)
    return found


def summary(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Medians and spread of every case, in the order in which the cases first ran."""
    cases: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        cases.setdefault((run.role, run.store), []).append(run)
    return [
        {
            "role": role,
            "store": store,
            "events_per_s": Spread.of([run.events / run.wall_s for run in some]),
            "cpu_s": Spread.of([run.cpu_s for run in some]),
            "events_per_cpu_s": Spread.of([run.per_cpu_second for run in some]),
            "memory_mb": Spread.of([run.memory_mb for run in some]),
        }
        for (role, store), some in cases.items()
    ]


def show(lines: Sequence[dict[str, Any]]) -> str:
    """The summary as a table."""
    header = ["role", "store", "events/s", "CPU s", "events/CPU s", "MB"]
    rows = [
        [
            line["role"],
            line["store"] if line["role"] != "detect" else "-",
            line["events_per_s"].text(),
            line["cpu_s"].text(".2f"),
            line["events_per_cpu_s"].text(),
            line["memory_mb"].text(),
        ]
        for line in lines
    ]
    return table(header, rows)


def cases_of(roles: Sequence[str], stores: Sequence[str]) -> list[tuple[str, str]]:
    """Roles with stores; the detect role writes no telemetry, so one store is enough for it."""
    return [(role, store) for role in roles for store in (stores[:1] if role == "detect" else stores)]


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--roles", nargs="+", choices=list(ROLES), default=list(ROLES))
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    parser.add_argument(
        "--core", type=int, default=last_core(), help="core to keep the consumer on (default: the last)"
    )
    return parser.parse_args(argv)


def last_core() -> int | None:
    """The highest of the cores that this process may use, None where that is not known."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def main(argv: Sequence[str] | None = None) -> None:
    """Publish, measure, print the table and save the figures."""
    chosen = options(argv)
    try:
        addresses = Addresses.of(dict(os.environ))
    except ServiceMissing as error:
        print(f"not measured: {error}")
        return
    with premises(addresses) as place:
        publish(place, messages(chosen.events))
        print(machine.line(), flush=True)
        runs = measure(place, cases_of(chosen.roles, chosen.stores), chosen.runs, chosen.core)
    lines = summary(runs)
    print(show(lines))
    spreads = [{key: asdict(value) if isinstance(value, Spread) else value for key, value in x.items()} for x in lines]
    print(f"written to {save('pipeline', {'summary': spreads, 'runs': [asdict(run) for run in runs]})}")


if __name__ == "__main__":
    main()
