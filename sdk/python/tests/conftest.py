"""A producer over a transport that tests look into, and a server that answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest
from standins import Kept, Server, interface

from llm_sentinel import TelemetryProducer


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def producer(kept: Kept) -> Iterator[TelemetryProducer]:
    made = TelemetryProducer(transport=kept, service_name="chat")
    yield made
    kept.gate.set()
    made.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    listening = ThreadingHTTPServer(("127.0.0.1", 0), interface(made))
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{listening.server_port}"
    yield made
    listening.shutdown()
    listening.server_close()
    thread.join()
