"""A lean client over HTTP/1.1: some connections that stay open, each asking again as soon as it was answered."""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

CHUNK = 1 << 20
STALLED_SECONDS = 30.0


@dataclass
class Driven:
    """What came of it. Latencies in seconds; `statuses` counts answers by status code."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    bytes_read: int = 0


class Connection:
    """One connection with at most one question on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked = 0.0
        self._head = b""
        self._missing = -1

    def ask(self, question: bytes) -> None:
        self._head, self._missing = b"", -1
        self.asked = time.perf_counter()
        self.socket.sendall(question)

    def read(self, buffer: memoryview) -> int | None:
        """Read what is there; the status once the answer is whole. Raises ConnectionError."""
        count = self.socket.recv_into(buffer)
        if not count:
            raise ConnectionError("the server closed the connection")
        if self._missing < 0:
            self._head += bytes(buffer[:count])
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = self._head[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            self._missing = length - (len(self._head) - end - 4)
        else:
            self._missing -= count
        return int(self._head[9:12]) if self._missing == 0 else None


def drive(port: int, path: str, token: str, connections: int, seconds: float) -> Driven:
    """Ask for `path` over and over for so long. Raises ConnectionError, and TimeoutError when nothing is answered."""
    question = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n\r\n"
    ).encode()
    result, statuses = Driven(), Counter[str]()
    buffer = memoryview(bytearray(CHUNK))
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = Connection(port)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.ask(question)
        began, cpu = time.perf_counter(), time.process_time()
        until = began + seconds
        while (now := time.perf_counter()) < until:
            ready = selector.select(STALLED_SECONDS)
            if not ready:
                raise TimeoutError(f"no answer within {STALLED_SECONDS:.0f} s")
            for key, _ in ready:
                connection = key.data
                status = connection.read(buffer)
                if status is not None:
                    statuses[str(status)] += 1
                    result.latencies.append(time.perf_counter() - connection.asked)
                    connection.ask(question)
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    result.seconds, result.cpu_seconds = now - began, time.process_time() - cpu
    result.statuses = dict(statuses)
    return result


if __name__ == "__main__":
    port, path, token, connections, seconds = sys.argv[1:]
    print(json.dumps(asdict(drive(int(port), path, token, int(connections), float(seconds)))))
