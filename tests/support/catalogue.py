"""Rows for tests: services of projects, anomalies, baselines, people and tokens, with sensible values everywhere."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, User

from anomalies import incidents
from anomalies.models import Anomaly, Incident
from baselines import rollup
from baselines.models import BaselineSnapshot, Project, ServedModel, Service, TelemetryMinute
from baselines.stats.sketch import empty, encode
from sentinel_site.access.groups import grant_groups
from sentinel_site.access.models import ApiToken

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TOPIC_ID = uuid.UUID(int=7)


def project(name: str = "default") -> Project:
    return Project.objects.get_or_create(name=name)[0]


def service(name: str = "chat-api", of: str = "default", models: tuple[str, ...] = ("gpt-4",)) -> Service:
    seen = {"first_seen": NOON, "last_seen": NOON}
    row, _ = Service.objects.get_or_create(name=name, defaults={"project": project(of), **seen})
    for model in models:
        ServedModel.objects.get_or_create(service=row, name=model, defaults=seen)
    return row


def anomaly(of: Service | None = None, at: datetime = NOON, lasts: timedelta = timedelta(0), **values: Any) -> Anomaly:
    """An open latency spike of `of` at `at`, in an incident of its own unless `incident` is given."""
    of = of or service()
    values = anomaly_values(of, at, lasts) | values
    if "incident" not in values:
        values["incident"] = Incident.objects.create(service=of, first_seen=at, last_seen=at + lasts)
    made = Anomaly.objects.create(**values)
    incidents.summarise([made.incident_id])
    return made


def anomaly_values(of: Service, at: datetime, lasts: timedelta = timedelta(0)) -> dict[str, Any]:
    return {
        "id": uuid.uuid4(),
        "service": of,
        "model": "gpt-4",
        "metric": "latency_ms",
        "type": "latency_spike",
        "direction": "up",
        "detector": "zscore",
        "detectors": {"zscore": 19.9, "mad": 4.2},
        "value": 15234.5,
        "baseline_mean": 1234.5,
        "baseline_stddev": 234.2,
        "baseline_median": 1200.0,
        "lower": 531.9,
        "upper": 1937.1,
        "z_score": 59.8,
        "score": 19.9,
        "severity": "critical",
        "occurrences": 3,
        "first_seen": at,
        "last_seen": at + lasts,
        "topic_id": TOPIC_ID,
        "partition": 0,
        "first_offset": 1,
        "last_offset": 3,
    }


def baseline(of: str = "chat-api", **values: Any) -> BaselineSnapshot:
    numbers = dict.fromkeys(("mean", "stddev", "median", "mad", "q1", "q3", "p95", "p99", "minimum", "maximum"), 1.5)
    series = {"service": of, "model": "gpt-4", "metric": "latency_ms", "samples": 500}
    place = {"topic": "llm.telemetry", "topic_id": TOPIC_ID, "partition": 0, "offset": 9}
    moments = {"last_event_at": NOON, "updated_at": NOON}
    return BaselineSnapshot.objects.create(**numbers | series | place | moments | values)


def minute(of: str = "chat-api", at: datetime = NOON, **values: Any) -> TelemetryMinute:
    """A minute with ten calls, one of them failed, without sketches unless given; its hour is due."""
    place = {"topic_id": TOPIC_ID, "partition": 0, "first_offset": 0, "last_offset": 9}
    tokens = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150, "unpriced_calls": 1}
    sums = {"count": 10, "errors": 1, "cost_usd": 0.5, "unpriced_tokens": 15, "sketches": encode(empty())}
    series = {"service": of, "model": "gpt-4", "minute": at}
    made = TelemetryMinute.objects.create(**place | series | sums | tokens | values)
    rollup.mark_due([made])
    return made


def person(name: str, group: str | None = None, projects: tuple[str, ...] = ("default",), **values: Any) -> User:
    """A member of staff; the groups are made as the migration makes them."""
    user = User.objects.create_user(name, password="let me in, please", **{"is_staff": True} | values)
    if group:
        grant_groups(apps)
        user.groups.add(Group.objects.get(name=group))
    for name_of_project in projects:
        project(name_of_project).members.add(user)
    return user


def token(*scopes: str, of: str | None = None, **values: Any) -> tuple[ApiToken, str]:
    """A token of these scopes; of one project or, without `of`, of all."""
    return ApiToken.issue(**{"name": "robot", "scopes": list(scopes), "project": project(of) if of else None} | values)


def bearer(secret: str) -> dict[str, str]:
    """The header of the test client for a token."""
    return {"authorization": f"Bearer {secret}"}
