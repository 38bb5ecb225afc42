"""The query API under load: GET /api/v1/anomalies?limit=50 of a million anomalies, through token, scoping and throttle.

python -m bench api
python -m bench.api --anomalies 1000000 --seconds 10 --runs 3

The web server runs as the image starts it, with two workers, on a PostgreSQL database of its own. Requests per second
are of the wall clock; requests per CPU second are of all cores that server, database and client kept busy, and mean
something on a machine that does other things too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import count as numbers
from pathlib import Path

import psycopg

from bench import machine
from bench.figures import Spread, save, table
from bench.hostility.server import Server, web_server
from bench.premises import ROOT, Addresses, Premises, ServiceMissing, premises

SERVICES, OTHERS, MODELS, MINE = 50, 10, 5, "mine"
QUESTIONS = {
    "newest 50": "/api/v1/anomalies?limit=50",
    "newest 50, changing": "/api/v1/anomalies?limit=50",
    "50 of a service": "/api/v1/anomalies?limit=50&service=service-7",
    "50 by a query": "/api/v1/anomalies?limit=50&q=service:service-1*%20severity%3E%3Dwarning",
    "50, five fields": "/api/v1/anomalies?limit=50&fields=id,service,metric,severity,first_seen",
}
CHANGING = {"newest 50, changing"}
"""While these are asked, one of the fifty is changed every 50 ms, so that pages cannot stay as they are."""
CHANGED_EVERY = 0.05
CHANGE = "UPDATE anomalies_anomaly SET occurrences = occurrences + 1 WHERE id = md5('a' || %s)::uuid"
TICKS = os.sysconf("SC_CLK_TCK")
UNTHROTTLED = {"SENTINEL__API__REQUESTS_PER_MINUTE": "100000000"}

FILL = f"""
INSERT INTO baselines_project (name, description, created_at) VALUES ('{MINE}', '', now());
INSERT INTO baselines_service (name, project_id, labels, first_seen, last_seen)
  SELECT 'service-' || n, (SELECT min(id) FROM baselines_project WHERE (name = '{MINE}') = (n < {SERVICES - OTHERS})),
         '{{}}', now(), now() FROM generate_series(0, {SERVICES - 1}) n;
CREATE TEMPORARY TABLE made AS
  SELECT n, md5('a' || n)::uuid id, md5('i' || n / 4)::uuid incident, service.id service,
         now() - n * interval '1 second' seen, (ARRAY['info', 'warning', 'critical'])[1 + n %% 3] severity
  FROM generate_series(0, %(count)s - 1) n
  JOIN LATERAL (SELECT id FROM baselines_service WHERE name = 'service-' || n / 4 %% {SERVICES}) service ON true;
INSERT INTO anomalies_incident (id, service_id, first_seen, last_seen, title, type, severity, state, status,
    anomaly_count)
  SELECT incident, min(service), min(seen), max(seen), 'Latency spike', 'latency_spike', 'critical', 'ended', 'open', 4
  FROM made GROUP BY incident;
INSERT INTO anomalies_anomaly (id, incident_id, service_id, model, metric, type, direction, detector, detectors, value,
    baseline_mean, baseline_stddev, baseline_median, lower, upper, z_score, score, severity, confidence, occurrences,
    first_seen, last_seen, dimensions, sample_trace_ids, topic_id, partition, first_offset, last_offset, state, status,
    assignee, note, updated_at)
  SELECT id, incident, service, 'model-' || n %% {MODELS}, (ARRAY['latency_ms', 'cost_usd'])[1 + n %% 2],
    'latency_spike', 'up', (ARRAY['zscore', 'shift'])[1 + n %% 2], '{{"zscore": 7.25}}', 1000.125 + n %% 977,
    412.25, 31.5, 408.5, 317.75, 506.125, 18.6, 6.2, severity, 0.97, 1 + n %% 40, seen, seen + interval '30 seconds',
    '[{{"dimension": "region", "value": "eu-west", "share": 0.9, "usual_share": 0.2}}]',
    jsonb_build_array(md5('t' || n), md5('u' || n)), md5('topic')::uuid, n %% 3, n, n + 40, 'ended',
    (ARRAY['open', 'acknowledged', 'resolved'])[1 + n / 7 %% 3], '', '', seen
  FROM made;
"""


@dataclass(frozen=True)
class Run:
    """One question for some seconds."""

    question: str
    requests: int
    per_second: float
    per_cpu_second: float
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float
    database_cpu_ms: float
    """CPU of one request."""


def fill(place: Premises, count: int) -> None:
    """Make `count` anomalies of 50 services, one a second back from now; four fifths are of the project `mine`."""
    with psycopg.connect(place.environment["SENTINEL__DATABASE__URL"], autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for statement in (FILL % {"count": count}).split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def run(server: Server, name: str, connections: int, seconds: float) -> Run:
    """Raises ValueError where any answer was not 200."""
    processes, backends = server.processes, _backends(server.place)
    before = cpu_seconds(processes), cpu_seconds(backends)
    command = [sys.executable, "-m", "bench.driving", str(server.port), QUESTIONS[name], server.token]
    with changing(server.place) if name in CHANGING else nullcontext():
        driven = json.loads(subprocess.check_output([*command, str(connections), str(seconds)], cwd=ROOT))
    served = cpu_seconds(processes) - before[0]
    queried = cpu_seconds(_backends(server.place)) - before[1]
    latencies = sorted(driven["latencies"])
    if set(driven["statuses"]) != {"200"}:
        raise ValueError(f"{name}: {driven['statuses']}")
    answered = len(latencies)
    busy = served + queried + driven["cpu_seconds"]
    return Run(
        name,
        answered,
        answered / driven["seconds"],
        answered / busy,
        latencies[answered // 2] * 1e3,
        latencies[answered * 99 // 100] * 1e3,
        served / answered * 1e3,
        queried / answered * 1e3,
    )


@contextmanager
def changing(place: Premises) -> Iterator[None]:
    """Change one of the newest anomalies, then another, as detection does while a rush is on."""
    over = threading.Event()

    def change() -> None:
        with psycopg.connect(place.environment["SENTINEL__DATABASE__URL"], autocommit=True) as connection:
            for number in numbers():
                if over.wait(CHANGED_EVERY):
                    return
                connection.execute(CHANGE, [str(number % 40)])

    changer = threading.Thread(target=change)
    changer.start()
    try:
        yield
    finally:
        over.set()
        changer.join()


def _backends(place: Premises) -> tuple[int, ...]:
    """The processes of PostgreSQL that work for the server."""
    with psycopg.connect(place.environment["SENTINEL__DATABASE__URL"]) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [place.name]).fetchall()
        return tuple(pid for (pid,) in rows if pid != connection.info.backend_pid)


def cpu_seconds(processes: Sequence[int]) -> float:
    """What these processes used so far; those that are gone count nothing."""
    return sum(map(_ticks, processes)) / TICKS


def _ticks(process: int) -> int:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def measure(addresses: Addresses, count: int, runs: int, seconds: float, connections: int, threads: int) -> list[Run]:
    with premises(addresses) as place:
        place.environment.update(UNTHROTTLED | {"SENTINEL_LOG_LEVEL": "info"})
        fill(place, count)
        with web_server(place, workers=2, threads=threads, scope="read", project=MINE) as server:
            for name in QUESTIONS:
                run(server, name, connections, 1.0)  # code, plans and pages are warm
            return [run(server, name, connections, seconds) for _ in range(runs) for name in QUESTIONS]


def show(runs: Sequence[Run]) -> str:
    head = ["", "requests/s", "per CPU second", "P50 ms", "P99 ms", "server CPU ms", "database CPU ms"]
    rows = []
    for name in dict.fromkeys(each.question for each in runs):
        of = [each for each in runs if each.question == name]
        figures = ("per_second", "per_cpu_second", "p50_ms", "p99_ms", "server_cpu_ms", "database_cpu_ms")
        patterns = (",.0f", ",.0f", ".1f", ".1f", ".2f", ".2f")
        spreads = [Spread.of([getattr(each, figure) for each in of]) for figure in figures]
        rows.append([name, *(spread.text(form) for spread, form in zip(spreads, patterns, strict=True))])
    return table(head, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and save the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anomalies", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--threads", type=int, default=4, help="blocking threads of each worker")
    chosen = parser.parse_args(argv)
    try:
        addresses = Addresses.of(dict(os.environ))
    except ServiceMissing as error:
        print(error, file=sys.stderr)
        return 2
    asked = chosen.runs, chosen.seconds, chosen.connections, chosen.threads
    runs = measure(addresses, chosen.anomalies, *asked)
    print(machine.line())
    print(show(runs))
    print(f"written to {save('api', [asdict(each) for each in runs])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
