"""An HTTP server on loopback that answers as OpenAI's API does, each request with numbers of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any


@dataclass
class Served:
    """What a request was answered with."""

    model: str
    prompt_tokens: int
    completion_tokens: int
    delay_ms: float
    failed: bool = False
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    streamed: bool = False


@dataclass
class OpenAiStub:
    """The running server: `url` for OPENAI_BASE_URL, and what it served."""

    url: str
    served: list[Served] = field(default_factory=list)


@contextmanager
def openai_stub() -> Iterator[OpenAiStub]:
    numbers = count(1)
    stub = OpenAiStub("")

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = next(numbers)
            one = Served(asked["model"], 100 + number, 10 + number, 20.0 + 5 * number)
            stub.served.append(one)
            time.sleep(one.delay_ms / 1000)
            if asked["model"] == "broken":
                one.failed = True
                self._send(429, json.dumps({"error": {"message": "slow down", "type": "rate_limit"}}).encode())
            elif "input" in asked:
                one.completion_tokens = 0
                self._send(200, json.dumps(embedding(one)).encode())
            else:
                one.cached_tokens, one.reasoning_tokens = 64, 3
                one.streamed = bool(asked.get("stream"))
                if one.streamed:
                    self._send(200, b"".join(chunks(one, number)), "text/event-stream")
                else:
                    self._send(200, json.dumps(completion(one, number)).encode())

        def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def usage(one: Served) -> dict[str, Any]:
    return {
        "prompt_tokens": one.prompt_tokens,
        "completion_tokens": one.completion_tokens,
        "total_tokens": one.prompt_tokens + one.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": one.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": one.reasoning_tokens},
    }


def completion(one: Served, number: int) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1_730_888_700, "model": one.model}
    return head | {"choices": [choice], "usage": usage(one)}


def chunks(one: Served, number: int) -> Iterator[bytes]:
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1_730_888_700, "model": one.model}
    for text, reason in (("Ye", None), ("s.", None), ("", "stop")):
        choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": reason}
        yield b"data: " + json.dumps(head | {"choices": [choice]}).encode() + b"\n\n"
    yield b"data: " + json.dumps(head | {"choices": [], "usage": usage(one)}).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def embedding(one: Served) -> dict[str, Any]:
    row = {"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}
    told = {"prompt_tokens": one.prompt_tokens, "total_tokens": one.prompt_tokens}
    return {"object": "list", "data": [row], "model": one.model, "usage": told}
