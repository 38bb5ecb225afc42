"""HTTP: what is posted, what is tried again, and how answers are counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from standins import Server

from llm_sentinel import HttpTransport, TelemetryProducer
from llm_sentinel import transport_http as http


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_BACKOFF_SECONDS", 0.001)


@pytest.fixture
def producer(server: Server) -> Iterator[TelemetryProducer]:
    made = TelemetryProducer(transport=HttpTransport(server.url + "/", "secret", delivery_seconds=5))
    yield made
    made.close(0.1)


def send(producer: TelemetryProducer, count: int = 1) -> Any:
    """Send events and wait; the statistics then."""
    for _ in range(count):
        producer.send_event(producer.create_telemetry_event("chat", "gpt-4", 5.0, 1, 1))
    assert producer.flush(20)
    return producer.statistics


def test_a_batch_is_one_authorised_and_compressed_request(producer: TelemetryProducer, server: Server) -> None:
    assert send(producer, 30).delivered == 30
    assert sum(len(request.events) for request in server.requests) == 30
    first = server.requests[0]
    assert first.path == "/api/v1/events"
    assert first.headers["authorization"] == "Bearer secret"
    assert (first.headers["content-type"], first.headers["content-encoding"]) == ("application/json", "gzip")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_failure_that_may_pass_is_tried_again(producer: TelemetryProducer, server: Server, status: int) -> None:
    server.answers = [(status, {}, {}), (status, {}, {}), (202, {}, {"accepted": 1, "rejected": []})]
    assert send(producer).delivered == 1
    ids = {event["event_id"] for request in server.requests for event in request.events}
    assert (len(server.requests), len(ids)) == (3, 1)


def test_retry_after_is_honoured(producer: TelemetryProducer, server: Server) -> None:
    server.answers = [(429, {"Retry-After": "1"}, {}), (202, {}, {})]
    began = time.monotonic()
    assert send(producer).delivered == 1
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("7", 7, 7), ("1000000", 300, 300), ("soon", None, None)],
    ids=["seconds", "too many", "nonsense"],
)
def test_retry_after_is_seconds_and_bounded(header: str, least: float | None, most: float | None) -> None:
    seconds = http._seconds(header)
    assert seconds is None if least is None or most is None else seconds is not None and least <= seconds <= most


def test_retry_after_may_be_a_date() -> None:
    seconds = http._seconds(formatdate(time.time() + 40, usegmt=True))
    assert seconds is not None
    assert 5 <= seconds <= 40


@pytest.mark.parametrize("status", [401, 403, 404, 302, 400])
def test_a_failure_that_will_not_pass_loses_the_batch_at_once(
    producer: TelemetryProducer, server: Server, status: int
) -> None:
    server.answers = [(status, {"Location": "http://127.0.0.1:9/"}, {"detail": "not like this"})]
    counts = send(producer)
    assert (counts.lost, counts.delivered, len(server.requests)) == (1, 0, 1)
    assert counts.last_problem == f"HTTP {status}: not like this"


@pytest.mark.parametrize("status", [202, 400])
def test_events_that_the_server_refuses_are_counted(producer: TelemetryProducer, server: Server, status: int) -> None:
    refused = {"index": 0, "code": "missing", "field": "x", "error": "x is required"}
    server.answers = [(status, {}, {"accepted": 0, "rejected": [refused]})]
    counts = send(producer)
    assert (counts.rejected, counts.lost) == (1, 0)
    assert counts.last_problem == "rejected: x is required"


def test_a_server_that_takes_no_gzip_gets_it_plain(producer: TelemetryProducer, server: Server) -> None:
    server.answers = [(415, {}, {"detail": "Send the body uncompressed."}), (202, {}, {})]
    assert send(producer).delivered == 1
    assert "content-encoding" not in server.requests[1].headers


def test_a_batch_that_is_too_large_is_halved(server: Server) -> None:
    transport = HttpTransport(server.url, "secret")
    sizes: list[int] = []

    def answer(request: Any) -> tuple[int, dict[str, str], Any]:
        sizes.append(len(request.events))
        return (413, {}, {"detail": "too large"}) if len(request.events) > 2 else (202, {}, {})

    server.answer = answer  # type: ignore[method-assign]
    transport.linger_seconds = 60.0
    producer = TelemetryProducer(transport=transport)
    counts = send(producer, 8)
    assert counts.delivered == 8
    assert max(sizes) > 2
    assert producer.close()


def test_an_event_that_is_too_large_by_itself_is_rejected(producer: TelemetryProducer, server: Server) -> None:
    server.answers = [(413, {}, {"detail": "at most 5 bytes"})]
    assert send(producer).rejected == 1


def test_without_a_server_events_are_lost_in_time_and_nothing_is_raised() -> None:
    producer = TelemetryProducer(transport=HttpTransport("http://127.0.0.1:9", "secret", delivery_seconds=0.2))
    counts = send(producer, 5)
    assert (counts.lost, counts.delivered) == (5, 0)
    assert "Connection refused" in counts.last_problem
    assert producer.close()


def test_closing_does_not_wait_for_a_long_backoff(producer: TelemetryProducer, server: Server) -> None:
    server.answers = [(503, {"Retry-After": "4"}, {}), (202, {}, {})]
    producer.send_event(producer.create_telemetry_event("chat", "gpt-4", 5.0, 1, 1))
    assert not producer.flush(0.5)
    began = time.monotonic()
    assert producer.close(10)
    assert time.monotonic() - began < 2
    assert producer.statistics.delivered == 1
