"""Where the services live and on which ports."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[3]
FILES = ROOT / "deployments" / "local"

DEFAULT_PORTS = {
    "POSTGRES": 15432,
    "REDIS": 16379,
    "RABBITMQ": 15673,
    "RABBITMQ_DIST": 25673,
    "RABBITMQ_EPMD": 14369,
    "KAFKA": 19092,
    "KAFKA_CONTROLLER": 19093,
}


class UnavailableError(Exception):
    """A service cannot be had on this machine; the message says why."""


def home() -> Path:
    """The directory of all data, pid files and logs (`SENTINEL_SERVICES_HOME`, else var/services)."""
    return Path(os.environ.get("SENTINEL_SERVICES_HOME") or ROOT / "var" / "services").absolute()


def demanded_port(key: str) -> int | None:
    """The port that `SENTINEL_SERVICES_<key>_PORT` demands, None if it is not set.

    Raises UnavailableError if the variable does not hold a port number.
    """
    variable = f"SENTINEL_SERVICES_{key}_PORT"
    text = os.environ.get(variable)
    if not text:
        return None
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise UnavailableError(f"{variable} is {text!r}; a port from 1 to 65535 is needed")
    return int(text)


def default_port(key: str) -> int:
    """The port that a checkout takes when it has the machine for itself."""
    return DEFAULT_PORTS[key]


def other_ports(key: str) -> range:
    """Where to look for a free port when the default is taken: below those that systems hand out to clients."""
    return range(default_port(key) + 100, 32000, 100)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file: one process of this machine at a time."""
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
