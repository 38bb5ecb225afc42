"""`manage.py check_config`."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.core.management import call_command

from sentinel_site.config import load_config
from sentinel_site.config.catalogue import KEYS
from sentinel_site.config.checks import configuration_warnings
from sentinel_site.config.loading import PROJECT_ROOT
from sentinel_site.config.report import check
from tests.sentinel_site.configurations import DEVELOPMENT, PRODUCTION, written

SECRETS = {
    "REDIS_PASSWORD": "s3cret-redis",
    "WEBHOOK_SECRET": "s3cret-webhook",
    "SENTINEL__DATABASE__PASSWORD": "s3cret-database",
    "SENTINEL__CELERY__BROKER_URL": "amqp://u:s3cret-broker@mq",
    "SENTINEL__INGESTION__KAFKA__SECURITY__SASL_PASSWORD": "s3cret-sasl",
    "SENTINEL__INGESTION__KAFKA__EXTRA": '{"ssl.keystore.password": "s3cret-store", "client.id": "visible"}',
    "SENTINEL__ALERTING__WEBHOOK__URL": "https://u:s3cret-url@hooks.example/x",
}


def report(path: Path | None, env: dict[str, str], *, sources: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return check(path, sources=sources, env=env, out=out, err=err), out.getvalue(), err.getvalue()


def test_no_secret_is_printed_and_everything_else_is(tmp_path: Path) -> None:
    status, out, err = report(written(tmp_path, ""), PRODUCTION | SECRETS)
    assert (status, err) == (0, "")
    for secret in [*PRODUCTION.values(), "s3cret"]:
        assert secret not in out
    assert '"client.id": "visible"' in out


def test_what_is_printed_is_yaml_of_every_key_that_loads_to_the_same(tmp_path: Path) -> None:
    file = written(tmp_path, "detection: {zscore: {threshold: 2.5}}\napi: {cors_origins: ['https://a.example']}")
    original = load_config(file, DEVELOPMENT)
    _, out, _ = report(file, DEVELOPMENT)
    printed = yaml.safe_load(out)
    assert printed["detection"]["zscore"]["threshold"] == 2.5
    del printed["security"]  # masked
    again = load_config(written(tmp_path, yaml.safe_dump(printed)), {})
    assert again.model_dump() == original.model_dump()
    assert len([line for line in out.splitlines() if ": " in line and not line.startswith("#")]) == len(KEYS)


def test_sources_name_default_line_and_variable(tmp_path: Path) -> None:
    file = written(tmp_path, "\ndetection: {zscore: {threshold: 2.5}}\nstorage: {influxdb: {telemetry_bucket: e}}")
    _, out, _ = report(file, DEVELOPMENT | {"SENTINEL_LOG_LEVEL": "debug"}, sources=True)
    lines = [line.strip() for line in out.splitlines()]
    assert f"threshold: 2.5  # {file}:2" in lines
    assert 'level: "debug"  # SENTINEL_LOG_LEVEL' in lines
    assert f'telemetry_database: "e"  # {file}:3 (as storage.influxdb.telemetry_bucket)' in lines
    assert "window_size: 1000  # default" in lines


def test_problems_go_to_standard_error_with_exit_code_one(tmp_path: Path) -> None:
    status, out, err = report(written(tmp_path, "detection: {mode: psychic, max_serie: 1}"), DEVELOPMENT)
    assert (status, out) == (1, "")
    assert "The configuration has 2 problems:" in err
    assert "did you mean detection.max_series?" in err


def test_warnings_are_printed_beside_a_good_configuration(tmp_path: Path) -> None:
    status, _, err = report(written(tmp_path, "storage: {cache: {tti_secs: 60}}"), DEVELOPMENT)
    assert status == 0
    assert "Warning: " in err
    assert "storage.cache.tti_secs is ignored" in err


def test_it_speaks_when_the_configuration_is_too_wrong_for_django_to_start(tmp_path: Path) -> None:
    file = written(tmp_path, "detection: {zscore: {treshold: 2}}")
    env = {name: value for name, value in os.environ.items() if not name.startswith("SENTINEL")} | DEVELOPMENT
    for argv in (["check_config", "--config", str(file)], [f"--config={file}", "check_config"]):
        command = [sys.executable, "manage.py", *argv]
        done = subprocess.run(command, check=False, cwd=PROJECT_ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 1
        assert "did you mean detection.zscore.threshold?" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_management_command_says_the_same(tmp_path: Path) -> None:
    out = io.StringIO()
    call_command("check_config", "--config", str(written(tmp_path, "")), stdout=out)
    assert "threshold: 3.0" in out.getvalue()
    with pytest.raises(SystemExit):
        call_command("check_config", config=written(tmp_path, "x: 1"), stderr=io.StringIO())


def test_warnings_are_system_checks(tmp_path: Path, settings: pytest.FixtureRequest) -> None:
    settings.SENTINEL = load_config(written(tmp_path, "storage: {cache: {tti_secs: 60}}"), DEVELOPMENT)
    (found,) = configuration_warnings()
    assert "storage.cache.tti_secs is ignored" in found.msg
