"""A real `manage.py standalone` in a directory of its own, driven from outside like a person would."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-preset-token-of-the-tests-0123456789"
START_SECONDS = 240.0  # a machine that never ran this version compiles first


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fresh_environment(var: Path, **more: str) -> dict[str, str]:
    """Ours without what the test settings put there: the embedded default must find its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SENTINEL", "DJANGO", "DEMO"))}
    return kept | {"SENTINEL_VAR_DIR": str(var), "PYTHONUNBUFFERED": "1"} | more


def manage(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of manage.py to its end."""
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=START_SECONDS
    )


class Standalone:
    """One running process."""

    def __init__(self, var: Path, log: Path, environment: dict[str, str]) -> None:
        self.var, self.log, self.environment = var, log, environment
        self.url = f"http://127.0.0.1:{environment['SENTINEL_PORT']}"
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "standalone"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def brokers(self) -> str:
        return (self.var / "kafka.bootstrap").read_text().strip()

    def said(self) -> str:
        return self.log.read_text()

    def get(self, path: str, **parameters: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return requests.get(self.url + path, params=parameters, headers=headers, timeout=5)

    def await_start(self) -> None:
        """Until it says its address and answers; AssertionError with its words when it left instead."""
        eventually(self.is_up_or_gone, deadline=START_SECONDS, interval=0.1)
        assert self.process.poll() is None, self.said()

    def is_up_or_gone(self) -> bool:
        if self.process.poll() is not None:
            return True
        return "Ctrl-C stops it." in self.said() and self.get("/health/live").ok

    def stop(self, number: signal.Signals) -> tuple[int, float]:
        """Send a signal; returns the exit code and the seconds until it came."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(30)
        return code, time.monotonic() - began


@contextlib.contextmanager
def standalone(directory: Path, **more: str) -> Iterator[Standalone]:
    """Start one with its data in `directory`/var, wait until it serves, end it with the block."""
    var = directory / "var"
    settings = {"DEMO": "0", "SENTINEL_PORT": str(free_port()), "SENTINEL_API_TOKEN": TOKEN} | more
    running = Standalone(var, directory / "said.txt", fresh_environment(var, **settings))
    try:
        running.await_start()
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait(10)
