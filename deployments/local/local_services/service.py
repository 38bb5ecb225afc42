"""What the four services have in common: a directory, a process, a port, and a life cycle."""

import os
import re
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from local_services import debian, processes
from local_services.layout import HOST, UnavailableError, default_port, demanded_port, home, locked, other_ports

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ERROR = re.compile(r"\b(error|fatal)\b", re.IGNORECASE)


class Service(ABC):
    """One server on loopback, whose process is known by its pid file and by a mark in its command line."""

    name: str
    packages: tuple[str, ...]
    stop_signal = signal.SIGTERM
    start_seconds = 60.0
    stop_seconds = 10.0

    def __init__(self) -> None:
        self.directory = home() / self.name
        self.pid_file = self.directory / "pid"
        self.log_file = self.directory / "output.log"

    @abstractmethod
    def lacking(self) -> str | None:
        """The program that this machine lacks, None if all are there."""

    @abstractmethod
    def prepare(self) -> None:
        """Write configuration and, the first time, create the data."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command that becomes the server process; it contains `self.mark()`."""

    @abstractmethod
    def mark(self) -> str:
        """The part of the command line that only our process has."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server speaks its own protocol. May raise OSError instead of False."""

    @abstractmethod
    def url(self) -> str:
        """The address as clients take it."""

    def environment(self) -> dict[str, str]:
        """Variables for the server process on top of ours."""
        return {}

    def port_keys(self) -> list[str]:
        """The names of all ports the server listens on, its main one first."""
        return [self.name.upper()]

    @property
    def variable(self) -> str:
        """The environment variable by which tests find the service."""
        return f"SENTINEL_TEST_{self.name.upper()}"

    def port(self, key: str | None = None) -> int:
        """A port: of the running process, else what the environment demands, else that of the last start."""
        key = key or self.port_keys()[0]
        demanded = None if self.pid() else demanded_port(key)
        recorded = self.port_file(key)
        if demanded is None and recorded.exists():
            return int(recorded.read_text())
        return demanded or default_port(key)

    def port_file(self, key: str) -> Path:
        """Where the port of the last start is noted."""
        return self.directory / f"{key.lower()}.port"

    def pid(self) -> int | None:
        """The id of our own live process, None if there is none."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if self.mark() in processes.command_line(pid) else None

    def is_up(self) -> bool:
        """Whether our process lives and answers."""
        try:
            return self.pid() is not None and self.answers()
        except OSError:
            return False

    def start(self) -> str:
        """Bring the service up; returns what happened, in words.

        Raises UnavailableError with the reason if it cannot be had.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with locked(self.directory / "lock"):
            if self.is_up():
                return "already up"
            if self.pid() is None:
                self.install()
                self.choose_ports()
                self.prepare()
                self.await_answer(self.spawn())
            elif not processes.wait_for(self.is_up, self.start_seconds):
                raise UnavailableError(f"process {self.pid()} runs but does not answer on port {self.port()}")
        return "up"

    def stop(self) -> None:
        """End our process politely, and by force if that takes too long."""
        if not self.directory.exists():
            return
        with locked(self.directory / "lock"):
            if pid := self.pid():
                processes.end(pid, self.stop_signal, self.stop_seconds)
            self.pid_file.unlink(missing_ok=True)

    def kill(self) -> bool:
        """`kill -9`; False if there was nothing to kill."""
        pid = self.pid()
        if pid:
            processes.end_at_once(pid)
        return pid is not None

    def install(self) -> None:
        """Install the packages if a program is lacking; UnavailableError if it still is afterwards."""
        if program := self.lacking():
            debian.install(program, self.packages, home())
        if program := self.lacking():
            raise UnavailableError(f"{program} is not found although {' '.join(self.packages)} is installed")

    def choose_ports(self) -> None:
        """Note the ports to listen on; one that is taken, by another checkout's services say, gives way to a free one.

        Raises UnavailableError with the name of whoever sits on a port that the environment demands.
        """
        for key in self.port_keys():
            port = self.port(key)
            if who := processes.occupant(port):
                if demanded_port(key):
                    raise UnavailableError(f"port {port} is taken by {who}; SENTINEL_SERVICES_{key}_PORT demands it")
                port = next(other for other in other_ports(key) if not processes.listening_inodes(other))
            self.port_file(key).write_text(str(port))

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server process detached from us and record its id."""
        with open(self.log_file, "wb") as log:
            process = subprocess.Popen(
                self.command(),
                env=os.environ | self.environment(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid_file.write_text(str(process.pid))
        return process

    def await_answer(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the server answers; UnavailableError with its last words if it leaves or stays silent."""
        processes.wait_for(lambda: process.poll() is not None or self.is_up(), self.start_seconds)
        if process.poll() is not None:
            raise UnavailableError(f"left with status {process.returncode}: {self.last_words()} (see {self.log_file})")
        if not self.is_up():
            processes.end_at_once(process.pid)
            seconds = f"{self.start_seconds:.0f} s"
            raise UnavailableError(f"no answer on port {self.port()} in {seconds} (see {self.log_file})")

    def last_words(self) -> str:
        """The line of the server's output that says why it left."""
        return telling_line(self.log_file.read_text(errors="replace"))

    def converse(self, request: bytes, size: int) -> bytes:
        """Send a request to the main port and return up to `size` bytes of the reply."""
        with socket.create_connection((HOST, self.port()), timeout=2.0) as connection:
            connection.sendall(request)
            return connection.recv(size)


def run(command: list[str], what: str, directory: Path, text: str = "") -> None:
    """Run a preparing command on some input; raises UnavailableError with its error message if it fails."""
    result = subprocess.run(command, cwd=directory, input=text, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = telling_line(result.stdout + result.stderr)
        raise UnavailableError(f"{what} failed with status {result.returncode}: {reason}")


def telling_line(output: str) -> str:
    """The first line that speaks of an error, else the last line, without colours."""
    lines = [line.strip() for line in COLOUR.sub("", output).splitlines() if line.strip()]
    return next((line for line in lines if ERROR.search(line)), lines[-1] if lines else "it wrote nothing")


def newest(pattern: str) -> Path | None:
    """Of the paths that match an absolute pattern, the one with the highest version number in it."""
    found = Path("/").glob(pattern.lstrip("/"))
    return max(found, key=lambda path: [int(part) for part in path.parts if part.isdigit()], default=None)
