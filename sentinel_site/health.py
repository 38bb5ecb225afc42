"""Is the web alive, and is what it needs? Every component is asked in a thread of its own, under a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as DeadlineExceeded
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from django_redis import get_redis_connection

from ingestion.telemetry_store import shared_store

DEADLINE_S = 2.0

log = structlog.get_logger(__name__)
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="health")
_running: dict[str, Future[float]] = {}


@dataclass(frozen=True)
class Component:
    """Something the product needs. `probe` returns when it works and raises when not."""

    name: str
    probe: Callable[[], object]
    critical: bool = False
    """Without it the web can answer nothing."""


def probe_database() -> None:
    # The connection belongs to this thread and must not outlive the question.
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def probe_redis() -> None:
    get_redis_connection("state").ping()


def probe_broker() -> None:
    with current_app.connection_for_write(connect_timeout=DEADLINE_S) as broker:
        broker.ensure_connection(max_retries=1, timeout=DEADLINE_S)


def probe_telemetry_store() -> None:
    with closing(connection):  # which this thread has if the store is a table
        shared_store().ping()


def probe_migrations() -> None:
    with closing(connection):
        executor = MigrationExecutor(connection)
        if waiting := executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise LookupError(f"{len(waiting)} migrations are not applied")


COMPONENTS = [
    Component("database", probe_database, critical=True),
    Component("redis", probe_redis),
    Component("broker", probe_broker),
    Component("telemetry store", probe_telemetry_store),
]
AT_STARTUP = [Component("migrations", probe_migrations, critical=True)]


def timed(probe: Callable[[], object]) -> float:
    """Seconds that `probe` took."""
    began = time.perf_counter()
    probe()
    return time.perf_counter() - began


def ask(component: Component) -> Future[float]:
    """A probe under way: one that hangs is waited for again, not started again, so it holds one thread only."""
    running = _running.get(component.name)
    if running is None or running.done():
        running = _running[component.name] = _threads.submit(partial(timed, component.probe))
    return running


def report(component: Component, answer: Future[float], deadline: float, patience: float) -> dict[str, Any]:
    """What the answer says of a component. Errors are named by kind: their texts may hold addresses and users."""
    try:
        seconds = answer.result(timeout=max(0.0, deadline - time.monotonic()))
    except DeadlineExceeded:
        return _described(component, "unhealthy", patience, f"no answer within {patience:g} s")
    except Exception as error:  # noqa: BLE001  whatever it raises, the component does not work
        log.warning("component_unhealthy", component=component.name, error=str(error))
        return _described(component, "unhealthy", None, type(error).__name__)
    return _described(component, "healthy", seconds, None)


def _described(component: Component, status: str, seconds: float | None, error: str | None) -> dict[str, Any]:
    latency = None if seconds is None else round(seconds * 1000, 3)
    return {"name": component.name, "status": status, "latency_ms": latency, "error": error}


def examine(components: list[Component], patience: float | None = None) -> tuple[str, list[dict[str, Any]]]:
    """The status of the whole (unhealthy without a critical component, else degraded or healthy) and of each part.

    What does not answer within `patience` seconds, DEADLINE_S where it is None, is unhealthy.
    """
    patience = DEADLINE_S if patience is None else patience
    answers = [(component, ask(component)) for component in components]
    deadline = time.monotonic() + patience
    reports = [report(component, answer, deadline, patience) for component, answer in answers]
    down = [component for component, part in zip(components, reports, strict=True) if part["status"] != "healthy"]
    if any(component.critical for component in down):
        return "unhealthy", reports
    return ("degraded" if down else "healthy"), reports


def timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def answer_of(components: list[Component]) -> JsonResponse:
    status, reports = examine(components)
    version = settings.SPECTACULAR_SETTINGS["VERSION"]
    body = {"status": status, "timestamp": timestamp(), "version": version, "components": reports}
    return JsonResponse(body, status=503 if status == "unhealthy" else 200)


@csrf_exempt  # they change nothing: another method is a 405, with or without a token of a form
@never_cache
@require_safe
def live(request: HttpRequest) -> HttpResponseBase:
    """The process runs and answers."""
    return JsonResponse({"status": "healthy", "timestamp": timestamp()})


@csrf_exempt  # they change nothing: another method is a 405, with or without a token of a form
@never_cache
@require_safe
def ready(request: HttpRequest) -> HttpResponseBase:
    """503 without the database; degraded (200) without anything else."""
    return answer_of(COMPONENTS)


@csrf_exempt  # they change nothing: another method is a 405, with or without a token of a form
@never_cache
@require_safe
def startup(request: HttpRequest) -> HttpResponseBase:
    """As ready, and the database's tables are those of this version."""
    return answer_of(COMPONENTS + AT_STARTUP)
