"""Every list of the admin over a million anomalies and ten thousand series: how long a page takes.

python -m bench admin
python -m bench.admin --anomalies 1000000 --runs 5

Asked by Django's own client within one process, so the figure is the page itself, without a web server: of somebody
who sees every project, and of a member of one that has four fifths of the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import psycopg

from bench import machine
from bench.api import MINE, fill
from bench.figures import save, table
from bench.premises import ROOT, Addresses, Premises, ServiceMissing, premises

ALLOWED_MS = 300.0
QUERIES = {
    "anomalies_anomaly": (
        "status__exact=open",
        "severity__exact=critical&status__exact=resolved&state__exact=active",
        "q=service-7",
        "service=service-7&metric=cost_usd",
        "first_seen__year=2026",
        "p=100",
        "o=1",
    ),
    "anomalies_incident": ("status__exact=resolved", "service=service-7", "type=nothing"),
    "baselines_baselinesnapshot": ("service=service-7", "q=service-7"),
    "baselines_servedmodel": ("q=model-199",),
    "auditlog_logentry": ("q=threshold", "who=nobody"),
    "alerting_alert": ("service=service-7", "outcome__exact=silenced"),
}
MORE = """
INSERT INTO baselines_servedmodel (service_id, name, provider, first_seen, last_seen, is_capped)
  SELECT s.id, 'model-' || n, '', now(), now(), false FROM baselines_service s, generate_series(0, 199) n;
INSERT INTO baselines_baselinesnapshot (topic, topic_id, partition, service, model, metric, samples, learned, mean,
    stddev, median, mad, q1, q3, p95, p99, minimum, maximum, "offset", last_event_at, updated_at)
  SELECT 'llm.telemetry', md5('topic')::uuid, 0, s.name, m.name, 'latency_ms', 500, 500, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    9, now(), now() FROM baselines_servedmodel m JOIN baselines_service s ON s.id = m.service_id;
INSERT INTO alerting_alert (id, anomaly_id, type, severity, occurred_at, created_at, outcome)
  SELECT md5('alert' || id)::uuid, id, 'anomaly.opened', severity, first_seen, first_seen, 'routed'
  FROM anomalies_anomaly WHERE first_offset % 4 = 0;
INSERT INTO auditlog_logentry (content_type_id, object_pk, object_id, object_repr, action, changes_text, changes,
    timestamp, additional_data)
  SELECT (SELECT min(id) FROM django_content_type), n::text, n, 'rule ' || n, 1, '', '{"enabled": ["True", "False"]}',
    now() - n * interval '1 minute', jsonb_build_object('actor', 'otto', 'project',
    (SELECT min(id) FROM baselines_project)) FROM generate_series(1, 50000) n;
VACUUM ANALYZE
"""


@dataclass(frozen=True)
class Page:
    """One address, asked some times by one person."""

    path: str
    person: str
    median_ms: float
    worst_ms: float
    status: int


def fill_more(place: Premises) -> None:
    """Ten thousand series, a quarter million of alerts, fifty thousand entries of the audit trail."""
    with psycopg.connect(place.environment["SENTINEL__DATABASE__URL"], autocommit=True) as connection:
        for statement in MORE.split(";\n"):
            connection.execute(statement)


def ask_all(runs: int) -> list[Page]:
    """Within a process whose environment names the database: every list, plain and as `QUERIES` filter it."""
    import django  # noqa: PLC0415  settings are read with it

    django.setup()
    from django.contrib import admin  # noqa: PLC0415
    from django.contrib.auth.models import Group, User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from baselines.models import Project  # noqa: PLC0415

    root = User.objects.create_superuser("root", "", "root")
    member = User.objects.create_user("member", is_staff=True)
    member.groups.add(Group.objects.get(name="admin"))
    Project.objects.get(name=MINE).members.add(member)
    lists = [model._meta.label_lower.replace(".", "/") for model in admin.site._registry]
    paths = [f"/admin/{name}/" for name in lists]
    paths += [f"/admin/{name.replace('_', '/')}/?{query}" for name, queries in QUERIES.items() for query in queries]
    pages = []
    for person in (root, member):
        client = Client(SERVER_NAME="localhost")
        client.force_login(person)
        pages += [_page(client, path, person.username, runs) for path in ["/admin/", *paths]]
    return pages


def _page(client: object, path: str, person: str, runs: int) -> Page:
    answer = client.get(path)  # type: ignore[attr-defined]
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        client.get(path)  # type: ignore[attr-defined]
        taken.append((time.perf_counter() - began) * 1e3)
    taken.sort()
    return Page(path, person, taken[len(taken) // 2], taken[-1], answer.status_code)


def measure(addresses: Addresses, count: int, runs: int) -> list[Page]:
    with premises(addresses) as place:
        fill(place, count)
        fill_more(place)
        command = [sys.executable, "-m", "bench.admin", "--within", "--runs", str(runs)]
        told = subprocess.run(command, cwd=ROOT, env=place.environment, check=True, capture_output=True)
    return [Page(**each) for each in json.loads(told.stdout)]


def show(pages: Sequence[Page]) -> str:
    rows = [
        [page.path, page.person, f"{page.median_ms:,.0f}", f"{page.worst_ms:,.0f}", str(page.status)]
        for page in sorted(pages, key=lambda page: -page.median_ms)
    ]
    return table(["", "asked by", "median ms", "worst ms", "status"], rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and save the figures; 1 where the median of a page exceeds what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anomalies", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.within:
        json.dump([asdict(page) for page in ask_all(chosen.runs)], sys.stdout)
        return 0
    try:
        pages = measure(Addresses.of(dict(os.environ)), chosen.anomalies, chosen.runs)
    except ServiceMissing as error:
        print(error, file=sys.stderr)
        return 2
    print(machine.line())
    print(show(pages))
    print(f"written to {save('admin', [asdict(page) for page in pages])}")
    slow = [page for page in pages if page.median_ms > ALLOWED_MS]
    print(f"{len(slow)} of {len(pages)} pages take longer than {ALLOWED_MS:.0f} ms")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
