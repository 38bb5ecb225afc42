"""Which standalone runs in a `var/` directory: its lock, and the notes by which other processes find it."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]


class AlreadyRunningError(RuntimeError):
    """Another process holds the directory; the message names it."""


def var_directory() -> Path:
    """Where everything embedded lives: `SENTINEL_VAR_DIR`, else `var/` of the checkout."""
    return Path(os.environ.get("SENTINEL_VAR_DIR") or ROOT / "var").absolute()


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


class Instance:
    """The one standalone of a directory. The lock falls with the process, however it ends."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.lock_file = var / "standalone.lock"
        self.bootstrap_file = var / "kafka.bootstrap"
        self.topic_id_file = var / "kafka.topic-id"
        self.environment_file = var / "standalone.json"
        self._lock: IO[str] | None = None

    def acquire(self) -> None:
        """Become it. Raises AlreadyRunningError."""
        self.var.mkdir(parents=True, exist_ok=True)
        lock = open(self.lock_file, "a+")  # noqa: SIM115  held until the process ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise AlreadyRunningError(
                f"a standalone already runs here (process {self.pid()}, data in {self.var})"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def release(self) -> None:
        """Be it no longer."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def is_running(self) -> bool:
        """Whether some process holds the lock."""
        try:
            with open(self.lock_file) as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def pid(self) -> str:
        """The process that took the lock last."""
        return self.lock_file.read_text().strip() or "unknown"

    def publish(self, brokers: str, environment: dict[str, str]) -> str:
        """Note how other processes reach it. Returns the fresh identity of the broker's topics.

        The identity is new at every start, because the broker's offsets begin at zero again.
        """
        topic_id = str(uuid.uuid4())
        self.topic_id_file.write_text(topic_id + "\n")
        write_private(self.environment_file, json.dumps(environment, indent=2))
        self.bootstrap_file.write_text(brokers + "\n")
        return topic_id

    def withdraw(self) -> None:
        """Take the notes away; the address leads nowhere any more."""
        for file in (self.bootstrap_file, self.topic_id_file, self.environment_file):
            file.unlink(missing_ok=True)

    def published(self) -> dict[str, str] | None:
        """The environment of the running one, with its brokers and topic identity; None while it is not ready."""
        try:
            environment: dict[str, str] = json.loads(self.environment_file.read_text())
            brokers = self.bootstrap_file.read_text().strip().split(",")
            topic_id = self.topic_id_file.read_text().strip()
        except FileNotFoundError:
            return None
        return environment | {BROKERS: json.dumps(brokers), TOPIC_ID: topic_id}


BROKERS = "SENTINEL__INGESTION__KAFKA__BROKERS"
TOPIC_ID = "SENTINEL_EMBEDDED_BROKER_ID"
