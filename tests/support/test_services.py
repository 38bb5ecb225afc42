"""What becomes of a test whose service is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.services import find

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
from tests.support.services import report_missing

def pytest_terminal_summary(terminalreporter):
    report_missing(terminalreporter)
"""
TESTS = """
import pytest
from tests.support.services import require

@pytest.mark.parametrize("number", range(3))
def test_with_redis(number):
    require("redis")

def test_without():
    pass
"""


def run_without_redis(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run three tests that need Redis, and one that does not, where there is none."""
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "test_it.py").write_text(TESTS)
    absent = {f"SENTINEL_TEST_{name}": "" for name in ("REDIS", "KAFKA", "POSTGRES", "RABBITMQ")}
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "SENTINEL_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:randomly", "-p", "no:cacheprovider"],
        cwd=directory,
        env=own | absent | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_service_skips_and_the_last_lines_say_which_and_why(tmp_path: Path) -> None:
    result = run_without_redis(tmp_path)
    assert result.returncode == 0
    assert "1 passed, 3 skipped" in result.stdout
    last_lines = result.stdout.splitlines()[-6:]
    assert "redis: 3 tests skipped: SENTINEL_TEST_REDIS is empty" in last_lines
    assert "kafka: 0 tests skipped: SENTINEL_TEST_KAFKA is empty" in last_lines


def test_a_missing_service_fails_where_services_are_required(tmp_path: Path) -> None:
    result = run_without_redis(tmp_path, SENTINEL_REQUIRE_SERVICES="1")
    assert result.returncode == 1
    assert "3 failed, 1 passed" in result.stdout
    assert "needs redis: SENTINEL_TEST_REDIS is empty" in result.stdout


@pytest.mark.parametrize("name", ["POSTGRES", "REDIS", "RABBITMQ", "KAFKA"])
def test_an_address_where_nobody_answers_is_a_reason(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    urls = {
        "POSTGRES": "postgresql://sentinel@127.0.0.1:1/sentinel",
        "REDIS": "redis://127.0.0.1:1/0",
        "RABBITMQ": "amqp://guest:guest@127.0.0.1:1//",
        "KAFKA": "127.0.0.1:1",
    }
    monkeypatch.setenv(f"SENTINEL_TEST_{name}", urls[name])
    url, reason = find(name.lower())
    assert url is None
    assert reason is not None
    assert reason.startswith(f"{urls[name]} does not answer: ")
