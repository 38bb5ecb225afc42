"""The compose file and the secrets that are made for it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MAKE_ENV = ROOT / "deployments" / "compose" / "make-env"
VARIABLE = re.compile(r"\$\{(\w+)(?::?[-?]([^}]*))?\}")
DEMANDED = re.compile(r"\$\{(\w+):\?")

Compose = dict[str, Any]


@pytest.fixture
def made(tmp_path: Path) -> dict[str, str]:
    """The variables of a fresh .env."""
    file = tmp_path / ".env"
    subprocess.run([MAKE_ENV, file], check=True, capture_output=True)
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


@pytest.fixture(scope="module")
def compose() -> Compose:
    loaded: Compose = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
    return loaded


def filled(text: str, values: dict[str, str]) -> str:
    """`text` with its variables replaced as compose does it: by their values, else by their defaults."""
    return VARIABLE.sub(lambda match: values.get(match[1], match[2] or ""), text)


def test_every_demanded_variable_is_made_up_and_none_besides(made: dict[str, str]) -> None:
    assert set(DEMANDED.findall((ROOT / "docker-compose.yaml").read_text())) == set(made)


def test_secrets_are_for_their_owner_alone_and_new_each_time(tmp_path: Path, made: dict[str, str]) -> None:
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    other = tmp_path / "other"
    subprocess.run([MAKE_ENV, other], check=True, capture_output=True)
    assert not set(made.values()) & {line.split("=", 1)[1] for line in other.read_text().splitlines()}


def test_what_is_there_already_is_kept(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SENTINEL_PORT=8081\nREDIS_PASSWORD=kept")
    subprocess.run([MAKE_ENV, file], check=True, capture_output=True)
    lines = file.read_text().splitlines()
    assert lines[:2] == ["SENTINEL_PORT=8081", "REDIS_PASSWORD=kept"]
    assert sum(line.startswith("REDIS_PASSWORD=") for line in lines) == 1


@pytest.mark.parametrize("service", ["migrate", "web", "normalize", "detect", "store", "worker", "beat"])
def test_the_product_starts_in_production_with_what_compose_gives_it(
    compose: Compose, made: dict[str, str], service: str
) -> None:
    given = {name: filled(str(value), made) for name, value in compose["services"][service]["environment"].items()}
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    line = [sys.executable, "manage.py", "check_config", "--config", "config/sentinel.yaml"]
    result = subprocess.run(line, cwd=ROOT, env=clean | given, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    effective = yaml.safe_load(result.stdout)
    assert effective["environment"] == "production"
    assert effective["ingestion"]["kafka"]["brokers"] == [f"kafka-{number}:19092" for number in range(3)]
    assert not any(secret in result.stdout for secret in made.values())


def test_the_state_of_detection_is_never_evicted(compose: Compose, made: dict[str, str]) -> None:
    settings = filled(compose["configs"]["redis"]["content"], made).splitlines()
    assert "maxmemory-policy noeviction" in settings
    assert f"requirepass {made['REDIS_PASSWORD']}" in settings


def test_all_that_was_promised_starts(compose: Compose) -> None:
    services = compose["services"]
    assert {f"kafka-{number}" for number in range(3)} < set(services)
    assert {"influxdb", "rabbitmq", "redis", "postgres", "prometheus", "grafana", "gateway", "beat"} < set(services)
    replicas = {name: services[name]["deploy"]["replicas"] for name in ("web", "detect", "store")}
    assert replicas == {"web": 2, "detect": 3, "store": 2}
    assert not any("profiles" in service for service in services.values())


def test_no_service_waits_for_the_health_of_one_that_tells_none(compose: Compose) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, terms in service.get("depends_on", {}).items():
            assert other in services, name
            if terms["condition"] == "service_healthy":
                check = services[other].get("healthcheck")
                assert check is None or "test" in check, f"{name} waits for {other}"


def test_only_loopback_is_published_and_no_port_twice(compose: Compose, made: dict[str, str]) -> None:
    published = [filled(port, made) for service in compose["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)
    outside = [port.split(":")[1] for port in published]
    assert len(set(outside)) == len(outside)


def test_every_broker_is_a_voter_under_its_own_number_and_volume(compose: Compose) -> None:
    brokers = {name: service for name, service in compose["services"].items() if name.startswith("kafka-")}
    voters = {broker["environment"]["KAFKA_CONTROLLER_QUORUM_VOTERS"] for broker in brokers.values()}
    assert voters == {",".join(f"{one['environment']['KAFKA_NODE_ID']}@{name}:29093" for name, one in brokers.items())}
    assert {one["volumes"][0].partition(":")[0] for one in brokers.values()} == set(brokers) < set(compose["volumes"])


def test_the_laptop_takes_away_only_what_nothing_needs(compose: Compose) -> None:
    laptop: Compose = yaml.safe_load((ROOT / "deployments" / "compose" / "laptop.yaml").read_text())["services"]
    assert set(laptop) <= set(compose["services"])
    gone = {name for name, service in laptop.items() if "profiles" in service}
    for name in set(compose["services"]) - gone:
        needed = compose["services"][name].get("depends_on", {})
        assert all(terms.get("required", True) is False for other, terms in needed.items() if other in gone), name
    assert laptop["kafka-0"]["environment"]["KAFKA_DEFAULT_REPLICATION_FACTOR"] == 1
