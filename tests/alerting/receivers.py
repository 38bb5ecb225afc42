"""HTTP receivers on loopback that behave as scripted, and a canary that notices any connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

Script = Callable[["Request"], Iterable[bytes]]


@dataclass(frozen=True)
class Request:
    """One request as it arrived. Header names are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers each request by its script; a script yields the pieces of a raw HTTP answer."""

    script: Script
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.stopped = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def close(self) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = read_request(connection)
            if request is None:
                return
            self.requests.append(request)
            for piece in self.script(request):
                connection.sendall(piece)
                if self.stopped.is_set():
                    return


def read_request(connection: socket.socket) -> Request | None:
    """The request on a connection, or None where it closes before one came."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return Request(line, headers, body)


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP answer; `retry_after="3"` becomes the header `Retry-After: 3`."""
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-').title()}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.contextmanager
def receiver(script: Script | bytes) -> Iterator[Receiver]:
    """A receiver while the block runs; bytes are the answer to every request."""
    fixed = script if isinstance(script, bytes) else b""
    running = Receiver(script if callable(script) else lambda _: [fixed])
    try:
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def dripping(piece: bytes = b"2", pause: float = 0.05) -> Iterator[int]:
    """The port of a server that reads nothing and says one more piece every `pause` seconds."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    while not stopped.wait(pause):
                        connection.sendall(piece)

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)
