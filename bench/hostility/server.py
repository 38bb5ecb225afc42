"""The web server as the image starts it, and what it says and takes."""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.premises import ROOT, Premises

START_SECONDS = 60.0
ANSWER_SECONDS = 120.0
ISSUE = (
    "import django, sys; django.setup(); from sentinel_site.access.models import ApiToken; "
    "from baselines.models import Project; project = Project.objects.filter(name=sys.argv[3]).first(); "
    "ApiToken.issue(sys.argv[1], name='bench', scopes=[sys.argv[2]], project=project)"
)


@dataclass(frozen=True)
class Server:
    """A running web server: where it listens, its processes, its log, and where what it takes ends up."""

    place: Premises
    port: int
    worker: int
    """The process of its (largest) worker."""
    token: str
    log: IO[bytes]
    processes: tuple[int, ...] = ()
    """All of them: the one that was started and its children."""

    def post(self, path: str, body: bytes, content_type: str, encoding: str = "identity") -> tuple[int, bytes]:
        """Status and content of the answer; OSError or HTTPException where there is none."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type, "Content-Encoding": encoding}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # the answer came before all was sent
                connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def peak_mb(self) -> float:
        """The most memory the worker ever had."""
        return status_mb(self.worker, "VmHWM")

    def memory_mb(self) -> float:
        return status_mb(self.worker, "VmRSS")

    def tracebacks(self) -> int:
        """How many were logged."""
        self.log.seek(0)
        return self.log.read().count(b"Traceback (most recent call last)")


def status_mb(process: int, name: str) -> float:
    """A size of /proc/<process>/status in MB. OSError where there is no such process."""
    rows = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith(f"{name}:")) / 1024


@contextmanager
def web_server(
    place: Premises, workers: int = 1, threads: int = 4, scope: str = "ingest", project: str = ""
) -> Iterator[Server]:
    """Start the web server, wait until it answers, end it. Its token has one scope, for one project or all."""
    token, port = f"sentinel_{secrets.token_hex(20)}", _free_port()
    subprocess.run([sys.executable, "-c", ISSUE, token, scope, project], cwd=ROOT, env=place.environment, check=True)
    command = [str(Path(sys.executable).with_name("granian")), "--interface", "wsgi", "--no-ws", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", str(workers), "--blocking-threads", str(threads)]
    command += ["sentinel_site.wsgi:application"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, env=place.environment, stdout=log, stderr=log)
        try:
            _await(port)
            children = _children(process.pid)
            yield Server(place, port, _largest(children), token, log, (process.pid, *children))
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _await(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
        finally:
            connection.close()
        time.sleep(0.1)


def _children(parent: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _largest(children: list[int]) -> int:
    """The worker: of the server's children the one with the most memory."""
    return max(children, key=lambda child: status_mb(child, "VmRSS"), default=os.getpid())
