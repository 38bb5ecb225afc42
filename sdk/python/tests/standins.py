"""Transports that tests look into, and a server that answers as it is told."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from llm_sentinel import Delivery, Message
from llm_sentinel.transport import Pause


class Kept:
    """A transport that keeps what it is given; it waits for `gate`, and delivers what `verdict` says."""

    batch_events = 100
    batch_bytes = 1_000_000
    linger_seconds = 0.0

    def __init__(self) -> None:
        self.batches: list[list[Message]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.verdict: Delivery | Exception = Delivery()
        self.closed = False

    def deliver(self, batch: Sequence[Message], pause: Pause) -> Delivery:
        self.batches.append(list(batch))
        while not self.gate.wait(0.01):
            if pause(0):
                return Delivery(lost=len(batch), reason="given up")
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict

    def after_fork(self) -> None:
        """Nothing to make anew."""

    def close(self) -> None:
        self.closed = True

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(message.value) for batch in self.batches for message in batch]


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    events: list[dict[str, Any]]


@dataclass
class Server:
    """Answers requests with `answers` (status, headers, body) in turn, the last one for ever."""

    answers: list[tuple[int, dict[str, str], Any]] = field(default_factory=lambda: [(202, {}, {"accepted": 1})])
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def answer(self, request: Request) -> tuple[int, dict[str, str], Any]:
        self.requests.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def interface(server: Server) -> type[BaseHTTPRequestHandler]:
    class Interface(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            events = json.loads(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
            status, more, answer = server.answer(Request(self.path, headers, events))
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    return Interface
