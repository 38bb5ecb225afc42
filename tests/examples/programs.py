"""The example producers as programs: how they are got, run and stopped."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RUN_SECONDS = 60
BUILD_SECONDS = 300
OLDEST_GO = (1, 21)  # the first that fetches the version that go.mod asks for


@dataclass(frozen=True)
class Program:
    """A command, and how it writes a flag."""

    command: tuple[str, ...]
    dashes: str

    def line(self, **options: object) -> list[str]:
        """The command line; an option that is True is a flag without a value."""
        line = list(self.command)
        for name, value in options.items():
            line.append(self.dashes + name.replace("_", "-"))
            if value is not True:
                line.append(str(value))
        return line

    def run(self, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.line(**options), capture_output=True, text=True, check=False, timeout=RUN_SECONDS)

    def start(self, **options: object) -> subprocess.Popen[str]:
        return subprocess.Popen(self.line(**options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def python_program(_: Path) -> Program:
    return Program((sys.executable, str(EXAMPLES / "python" / "producer.py")), "--")


def go_program(shared: Path) -> Program:
    """The Go example, built in `shared`, once for all processes of a test run. Skips where Go is missing."""
    require_go()
    binary = shared / "go-producer"
    with (shared / "go-producer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            # One package at a time: other tests run beside it.
            command = ["go", "build", "-p", "1", "-o", str(binary), "producer.go"]
            built = subprocess.run(
                command, cwd=EXAMPLES / "go", capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
            )
            assert built.returncode == 0, built.stderr
    return Program((str(binary),), "-")


def require_go() -> None:
    if shutil.which("go") is None:
        pytest.skip("needs go: it is not installed")
    told = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"go(\d+)\.(\d+)", told)
    if found and (int(found[1]), int(found[2])) < OLDEST_GO:
        pytest.skip(f"needs go: {told.strip()} is too old")


PROGRAMS: dict[str, Callable[[Path], Program]] = {"python": python_program, "go": go_program}
