"""The real PostgreSQL, Redis, RabbitMQ and Kafka that tests run against, where they can be had.

Addresses come from `SENTINEL_TEST_<NAME>` (as `deployments/local/services env` prints them), else from whatever that
script has running. An empty variable makes a service count as missing.
"""

import json
import os
import re
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import kombu
import psycopg
import pytest
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from kombu.exceptions import OperationalError

SCRIPT = Path(__file__).resolve().parents[2] / "deployments" / "local" / "services"
PING_SECONDS = 3
SKIP_PATTERN = re.compile(r"needs (\w+): (.*)", re.DOTALL)
FAILURES = (psycopg.Error, redis.RedisError, OperationalError, KafkaException, OSError)
PORTS = {
    "postgres": ["POSTGRES"],
    "redis": ["REDIS"],
    "rabbitmq": ["RABBITMQ", "RABBITMQ_DIST", "RABBITMQ_EPMD"],
    "kafka": ["KAFKA", "KAFKA_CONTROLLER"],
}


def ping_postgres(url: str) -> None:
    """Open a session."""
    psycopg.connect(url, connect_timeout=PING_SECONDS).close()


def ping_redis(url: str) -> None:
    """PING."""
    with redis.Redis.from_url(url, socket_timeout=PING_SECONDS, socket_connect_timeout=PING_SECONDS) as client:
        client.ping()


def ping_rabbitmq(url: str) -> None:
    """Open a connection."""
    with kombu.Connection(url, connect_timeout=PING_SECONDS) as connection:
        connection.connect()


def ping_kafka(url: str) -> None:
    """Ask for the cluster's metadata."""
    AdminClient({"bootstrap.servers": url, "log_level": 0}).list_topics(timeout=PING_SECONDS)


PINGS: dict[str, Callable[[str], None]] = {
    "postgres": ping_postgres,
    "redis": ping_redis,
    "rabbitmq": ping_rabbitmq,
    "kafka": ping_kafka,
}


def variable(name: str) -> str:
    """The environment variable that holds a service's address."""
    return f"SENTINEL_TEST_{name.upper()}"


@cache
def script_states() -> dict[str, dict[str, Any]]:
    """What the script says of each service."""
    result = subprocess.run([SCRIPT, "status", "--json"], capture_output=True, text=True, check=False)
    states: dict[str, dict[str, Any]] = json.loads(result.stdout)
    return states


def find(name: str) -> tuple[str | None, str | None]:
    """The address of a service and None, or None and the reason why it is missing."""
    url = os.environ.get(variable(name))
    if url == "":
        return None, f"{variable(name)} is empty"
    state = {} if url else script_states()[name]
    if state.get("reason"):
        return None, state["reason"]
    url = url or state["url"]
    try:
        PINGS[name](url)
    except FAILURES as error:
        return None, f"{url} does not answer: {' '.join(str(error).split())}"
    return url, None


@cache
def found() -> dict[str, tuple[str | None, str | None]]:
    """Address or reason of every service; asked once per process."""
    return {name: find(name) for name in PINGS}


def available() -> dict[str, str | None]:
    """Of every service: None if it answers, else the reason why it does not."""
    return {name: reason for name, (_, reason) in found().items()}


def require(name: str) -> str:
    """The address of a service; without it the test is skipped, or fails if `SENTINEL_REQUIRE_SERVICES=1`."""
    url, reason = found()[name]
    if url is None:
        give_up(name, str(reason))
    return str(url)


def give_up(name: str, reason: str) -> None:
    """End the running test for want of a service."""
    text = f"needs {name}: {reason}"
    if os.environ.get("SENTINEL_REQUIRE_SERVICES") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def skipped_for(reports: list[Any]) -> tuple[Counter[str], dict[str, str]]:
    """From reports of skipped tests: how many each service cost, and the reason given."""
    counts: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for report in reports:
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if match := SKIP_PATTERN.search(text):
            counts[match[1]] += 1
            reasons[match[1]] = match[2]
    return counts, reasons


def report_missing(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in the last lines which services were missing, why, and how many tests that skipped."""
    counts, reasons = skipped_for(terminalreporter.stats.get("skipped", []))
    reasons |= {name: reason for name, reason in available().items() if reason}
    if not reasons:
        return
    terminalreporter.section("missing services")
    for name, reason in sorted(reasons.items()):
        terminalreporter.line(f"{name}: {counts[name]} tests skipped: {reason}", yellow=True)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class PrivateService:
    """A service of one test's own, which it may kill and flush without disturbing the others."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        ports = zip(PORTS[name], free_ports(len(PORTS[name])), strict=True)
        self.environment = {f"SENTINEL_SERVICES_{key}_PORT": str(port) for key, port in ports}
        self.environment["SENTINEL_SERVICES_HOME"] = str(home)

    def run(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the script for this service; its status is the caller's to judge."""
        line = [str(SCRIPT), command, *options, self.name]
        return subprocess.run(line, env=os.environ | self.environment, capture_output=True, text=True, check=False)

    def start(self) -> None:
        """Start it (again); skips or fails the test as `require` does if it cannot be had."""
        result = self.run("start")
        if result.returncode:
            give_up(self.name, result.stdout.strip() or result.stderr.strip())

    def stop(self) -> None:
        """Stop it politely; its data stays."""
        self.run("stop").check_returncode()

    def kill(self) -> None:
        """`kill -9`."""
        self.run("kill").check_returncode()

    def state(self) -> dict[str, Any]:
        """What `status --json` says of it: up, pid, port, url, variable, reason."""
        state: dict[str, Any] = json.loads(self.run("status", "--json").stdout)[self.name]
        return state

    @property
    def url(self) -> str:
        """Its address as clients take it; the same after every restart."""
        return str(self.state()["url"])


@contextmanager
def private(name: str, home: Path) -> Iterator[PrivateService]:
    """A started service with its data under `home`, stopped afterwards."""
    service = PrivateService(name, home)
    try:
        service.start()
        yield service
    finally:
        service.run("stop")
