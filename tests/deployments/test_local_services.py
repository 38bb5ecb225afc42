"""The script that runs the services, tried on a Redis of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.services import PrivateService, private, require
from tests.support.waiting import eventually


@pytest.fixture
def service(tmp_path: Path) -> Iterator[PrivateService]:
    require("redis")
    with private("redis", tmp_path) as started:
        yield started


def test_a_started_service_answers_and_a_stopped_one_does_not(service: PrivateService) -> None:
    client = redis.Redis.from_url(service.url)
    assert client.ping()
    service.stop()
    with pytest.raises(redis.ConnectionError):
        client.ping()


def test_starting_twice_leaves_the_running_process_alone(service: PrivateService) -> None:
    before = service.state()["pid"]
    service.start()
    assert service.state()["pid"] == before


def test_a_killed_service_is_reported_and_comes_back_at_the_same_address(service: PrivateService) -> None:
    url, pid = service.url, service.state()["pid"]
    service.kill()
    assert service.run("status").returncode == 3
    assert "not running" in service.state()["reason"]
    service.start()
    assert service.url == url
    assert service.state()["pid"] != pid


def test_env_prints_only_what_runs(service: PrivateService) -> None:
    assert service.run("env").stdout == f"export SENTINEL_TEST_REDIS={service.url}\n"
    service.stop()
    assert service.run("env").stdout == ""


def test_a_demanded_port_that_is_taken_is_refused_with_the_name_of_its_owner(
    service: PrivateService, tmp_path: Path
) -> None:
    second = PrivateService("redis", tmp_path / "second")
    port = service.state()["port"]
    second.environment["SENTINEL_SERVICES_REDIS_PORT"] = str(port)
    result = second.run("start")
    assert result.returncode == 3
    assert f"port {port} is taken by process {service.state()['pid']}" in result.stdout
    assert second.state()["reason"].startswith(f"port {port} is taken")


def test_a_port_that_nobody_demands_gives_way_when_it_is_taken_and_the_new_one_is_kept(
    service: PrivateService,
) -> None:
    service.stop()
    del service.environment["SENTINEL_SERVICES_REDIS_PORT"]
    with socket.create_server(("127.0.0.1", service.state()["port"])) as stranger:
        service.start()
        url = service.url
        assert not url.startswith(f"redis://127.0.0.1:{stranger.getsockname()[1]}/")
    service.kill()
    service.start()
    assert service.url == url
    assert redis.Redis.from_url(url).ping()


def test_stop_spares_a_process_that_inherited_the_recorded_id(service: PrivateService, tmp_path: Path) -> None:
    service.stop()
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as stranger:
        (tmp_path / "redis" / "pid").write_text(str(stranger.pid))
        service.stop()
        assert stranger.poll() is None
        stranger.terminate()


def test_a_frozen_service_is_ended_by_force(service: PrivateService) -> None:
    pid = service.state()["pid"]
    os.kill(pid, signal.SIGSTOP)
    service.stop()
    eventually(lambda: service.state()["pid"] is None, message="the frozen process is gone")


@pytest.mark.parametrize("port", ["0", "70000", "redis"])
def test_a_port_that_is_none_is_refused(tmp_path: Path, port: str) -> None:
    service = PrivateService("redis", tmp_path)
    service.environment["SENTINEL_SERVICES_REDIS_PORT"] = port
    result = service.run("start")
    assert result.returncode == 3
    assert f"SENTINEL_SERVICES_REDIS_PORT is '{port}'" in result.stdout


def test_an_unknown_service_is_refused_with_the_allowed_names(tmp_path: Path) -> None:
    service = PrivateService("redis", tmp_path)
    service.name = "mongodb"
    result = service.run("start")
    assert result.returncode == 2
    assert "allowed: postgres, redis, rabbitmq, kafka" in result.stderr
