"""The machine that figures were measured on."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("confluent-kafka", "Django", "msgspec", "numba", "numpy", "psycopg", "redis")


@cache
def machine() -> dict[str, Any]:
    """Cores this process may use, the processor, memory, Python, and the packages that matter for speed."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": cpu_model(_text(Path("/proc/cpuinfo"))) or platform.processor() or platform.machine(),
        "memory_mb": memory_mb(_text(Path("/proc/meminfo"))),
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in PACKAGES},
    }


def line() -> str:
    """The machine in one line, with how busy it is now: other work on it spoils every figure."""
    facts = machine()
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    return f"{facts['cores']} x {facts['cpu']}, load {os.getloadavg()[0]:.1f}, {facts['python']}, {packages}"


def cpu_model(cpuinfo: str) -> str:
    """The name of the first processor in /proc/cpuinfo, "" if it names none."""
    return next((row.partition(":")[2].strip() for row in cpuinfo.splitlines() if row.startswith("model name")), "")


def memory_mb(meminfo: str) -> int | None:
    """The memory of /proc/meminfo in MB, None if it does not say."""
    sizes = (row.split()[1] for row in meminfo.splitlines() if row.startswith("MemTotal:"))
    return next((int(size) // 1024 for size in sizes), None)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"
