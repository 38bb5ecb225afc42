from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from sentinel_site.config import load_config
from sentinel_site.standalone import environment
from sentinel_site.standalone.instance import BROKERS, TOPIC_ID, AlreadyRunningError, Instance

PATH = os.environ["PATH"]


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    """An empty var directory, and an environment that knows nothing else."""
    with mock.patch.dict(os.environ, {"PATH": PATH, "SENTINEL_VAR_DIR": str(tmp_path)}, clear=True):
        yield tmp_path


@pytest.fixture
def running(var: Path) -> Iterator[Instance]:
    """A standalone that holds the directory and can be found."""
    instance = Instance(var)
    instance.acquire()
    instance.publish("127.0.0.1:4711", environment.defaults(var))
    yield instance
    instance.release()


def test_the_embedded_default_is_a_valid_configuration_without_outside_services(var: Path) -> None:
    environment.apply(environment.defaults(var))
    config = load_config()
    assert config.standalone
    assert config.database.url.startswith("sqlite:")
    assert config.storage.backend == "database"
    assert config.storage.redis.url.startswith("fakeredis:")
    assert config.celery_broker_url().startswith("memory:")
    assert config.alerting.rabbitmq.url.startswith("memory:")
    assert config.api.bind_addr == "127.0.0.1:8080"
    assert config.origin.warnings == ()


@pytest.mark.parametrize(
    ("name", "value", "kept_out"),
    [
        ("SENTINEL__API__BIND_ADDR", "127.0.0.1:9999", ""),
        ("SENTINEL__SECURITY__SECRET_KEY_FILE", "/run/secret", "SENTINEL__SECURITY__SECRET_KEY"),
        ("SENTINEL_LOG_LEVEL", "debug", "SENTINEL__LOGGING__LEVEL"),
    ],
)
def test_what_the_user_set_is_kept(var: Path, name: str, value: str, kept_out: str) -> None:
    os.environ[name] = value
    environment.apply(environment.defaults(var))
    assert os.environ[name] == value
    assert kept_out not in os.environ


def test_metrics_are_open_to_this_machine_only(var: Path) -> None:
    assert environment.defaults(var)["SENTINEL__API__METRICS_OPEN"] == "true"
    os.environ["SENTINEL__API__BIND_ADDR"] = "0.0.0.0:8080"
    assert environment.defaults(var)["SENTINEL__API__METRICS_OPEN"] == "false"


def test_an_empty_variable_counts_as_unset(var: Path) -> None:
    os.environ["SENTINEL__STANDALONE"] = ""
    environment.apply(environment.defaults(var))
    assert os.environ["SENTINEL__STANDALONE"] == "true"


@pytest.mark.parametrize("port", ["web", "0", "65536", "-1"])
def test_a_port_that_is_none_is_refused_by_name(var: Path, port: str) -> None:
    os.environ["SENTINEL_PORT"] = port
    with pytest.raises(ValueError, match=r"SENTINEL_PORT is .* from 1 to 65535"):
        environment.defaults(var)


def test_secrets_are_made_once_and_for_their_owner_alone(var: Path) -> None:
    first = environment.generated_secrets(var / "secrets.json")
    assert environment.generated_secrets(var / "secrets.json") == first
    assert stat.S_IMODE((var / "secrets.json").stat().st_mode) == 0o600
    assert len(first["SENTINEL__SECURITY__SECRET_KEY"]) >= 50


def test_damaged_secrets_are_not_replaced(var: Path) -> None:
    (var / "secrets.json").write_text('{"SENTINEL__SECU')
    with pytest.raises(ValueError, match="is damaged"):
        environment.generated_secrets(var / "secrets.json")
    assert (var / "secrets.json").read_text() == '{"SENTINEL__SECU'


def test_a_directory_has_one_standalone(running: Instance) -> None:
    with pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}"):
        Instance(running.var).acquire()


def test_the_topics_are_new_at_every_start(running: Instance) -> None:
    identity = running.published()
    running.publish("127.0.0.1:4711", {})
    assert identity is not None
    assert running.topic_id_file.read_text().strip() != identity[TOPIC_ID]


def test_a_command_adopts_broker_database_and_secrets_of_the_running_one(running: Instance) -> None:
    environment.adopt_running("simulate_telemetry")
    assert json.loads(os.environ[BROKERS]) == ["127.0.0.1:4711"]
    assert os.environ[TOPIC_ID] == running.topic_id_file.read_text().strip()
    expected = environment.defaults(running.var)
    assert {name: os.environ[name] for name in expected} == expected


@pytest.mark.parametrize("name", ["SENTINEL_CONFIG", "SENTINEL__DATABASE__URL", "SENTINEL__INGESTION__KAFKA__BROKERS"])
def test_a_command_with_a_configuration_of_its_own_adopts_nothing(running: Instance, name: str) -> None:
    os.environ[name] = "chosen"
    environment.adopt_running("consume_telemetry")
    assert "SENTINEL__STANDALONE" not in os.environ


def test_nothing_is_adopted_from_one_that_died(running: Instance) -> None:
    running.release()
    environment.adopt_running("consume_telemetry")
    assert BROKERS not in os.environ


def test_a_second_consumer_is_refused_because_redis_cannot_be_shared(running: Instance) -> None:
    with pytest.raises(SystemExit, match="memory of that process"):
        environment.adopt_running("consume_telemetry")
