"""The doors of HTTP: mutated requests, hostile bodies one by one and four at a time."""

from __future__ import annotations

import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from bench.hostility.mutations import harmless, mutated
from bench.hostility.server import Server
from ingestion.formats.otlp import Decoded, Unreadable, logs_of, spans_of
from ingestion.formats.otlp.envelopes import Encoding, SignalName
from ingestion.formats.validation import Limits
from tests.ingestion.malformed import good_message, malformed_messages
from tests.support.hostile import JSON, PROTOBUF, Body, event_bodies, otlp_bodies

EVENTS, LINES = "/api/v1/events", "application/x-ndjson"
# What a sender may be told; anything else, no answer included, is a fault.
ANSWERS = {200, 202, 400, 413, 415, 429}
ENCODINGS: dict[Encoding, str] = {"protobuf": PROTOBUF, "json": JSON}
SIGNALS: tuple[SignalName, ...] = ("traces", "logs", "metrics")
DECODERS: dict[str, Callable[..., Decoded]] = {"traces": spans_of, "logs": logs_of}
AT_ONCE = 4
BATCH = 100
FRAME = 4096
"""Bytes for what is around the content of a hostile body: it is to pass the limit."""
Finding = dict[str, Any]


class Door:
    """One door on the way: what was answered, and how much memory that took."""

    def __init__(self, server: Server, name: str) -> None:
        self._server, self._name = server, name
        self._before, self._tracebacks = server.memory_mb(), server.tracebacks()
        self.given = 0
        self.outcomes: Counter[str] = Counter()
        self.faults: list[str] = []

    def send(self, path: str, body: bytes, content_type: str, encoding: str = "identity") -> tuple[int, bytes]:
        """Post and note; the status is 0 where there was no answer."""
        try:
            status, content = self._server.post(path, body, content_type, encoding)
        except (OSError, HTTPException) as error:
            status, content = 0, repr(error).encode()
        self.given += 1
        self.outcomes[str(status)] += 1
        if status not in ANSWERS:
            self.faults.append(f"{status} for {body[:60]!r}: {content[:120]!r}")
        return status, content

    def finding(self) -> Finding:
        if missing := self._server.tracebacks() - self._tracebacks:
            self.faults.append(f"{missing} tracebacks in the log")
        growth = max(self._server.peak_mb() - self._before, 0.0)
        return {
            "door": self._name,
            "given": self.given,
            "outcomes": dict(self.outcomes),
            "growth_mb": growth,
            "faults": self.faults,
        }


def tried(server: Server, count: int, size: int, seed: int) -> Iterator[Finding]:
    """Try every door of a server. What was accepted is in Kafka, and only that."""
    _warm_up(server)
    yield from _native(server, count, seed)
    for signal in SIGNALS:
        for encoding in ENCODINGS:
            yield _mutated(server, signal, encoding, count, seed)
    yield _hostile(server, "native bodies", event_bodies(size // 2 - FRAME), 1)
    yield _hostile(server, "OTLP bodies", otlp_bodies(size - FRAME), 1)
    yield _hostile(server, "OTLP bodies, four at a time", otlp_bodies(size - FRAME), AT_ONCE)


def _warm_up(server: Server) -> None:
    """What a process needs for harmless requests is no growth."""
    for _ in range(5):
        for encoding, content_type in ENCODINGS.items():
            server.post("/v1/traces", harmless(encoding, 512), content_type)
        server.post(EVENTS, b"[" + b",".join([good_message(random.Random(0))] * 1000) + b"]", JSON)


def _native(server: Server, count: int, seed: int) -> Iterator[Finding]:
    """Malformed and good events: each by itself, in arrays, in lines and compressed."""
    rng = random.Random(seed)
    items = [payload for payload, code in malformed_messages(count, seed) if code not in ("array", "empty")]
    single = Door(server, "native, one event")
    for item in items[: count // 4]:
        single.send(EVENTS, item, JSON)
    yield single.finding()
    # What would end its array or line early is for the door above.
    whole = [item for item in items if len(item) < 10_000 and _is_value(item)] + [good_message(rng)] * (count // 4)
    rng.shuffle(whole)
    for name, content_type, join in (("arrays", JSON, _array), ("lines", LINES, b"\n".join)):
        door = Door(server, f"native, {name}, gzip")
        for start in range(0, len(whole), BATCH):
            batch = whole[start : start + BATCH]
            _check(door, len(batch), *door.send(EVENTS, gzip.compress(join(batch)), content_type, "gzip"))
        yield door.finding()


def _array(items: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _is_value(item: bytes) -> bool:
    try:
        json.loads(item)
    except (ValueError, RecursionError):
        return False
    return b"\n" not in item and item.strip() != b""


def _check(door: Door, sent: int, status: int, content: bytes) -> None:
    """Every event of a request has to be in the answer, as accepted or as rejected."""
    if status in (HTTPStatus.ACCEPTED, HTTPStatus.BAD_REQUEST):
        told = json.loads(content)
        accounted = told.get("accepted", 0) + len(told.get("rejected", ()))
        door.outcomes["accepted"] += told.get("accepted", 0)
        door.outcomes["rejected"] += len(told.get("rejected", ()))
        if accounted != sent:
            door.faults.append(f"of {sent} events the answer accounts for {accounted}: {content[:120]!r}")


def _mutated(server: Server, signal: SignalName, encoding: Encoding, count: int, seed: int) -> Finding:
    door = Door(server, f"/v1/{signal} {encoding}")
    for payload in mutated(signal, encoding, count, seed):
        status, content = door.send(f"/v1/{signal}", payload, ENCODINGS[encoding])
        if signal in DECODERS and status in (HTTPStatus.OK, HTTPStatus.BAD_REQUEST):
            _compare(door, signal, encoding, payload, (status, content))
    return door.finding()


def _compare(door: Door, signal: str, encoding: Encoding, payload: bytes, answer: tuple[int, bytes]) -> None:
    """The answer has to tell of as many refused items as the decoder refuses; no 200 may hide an unreadable body."""
    try:
        decoded = DECODERS[signal](payload, encoding, received_ms=int(time.time() * 1000), limits=Limits())
    except Unreadable:
        expected = -1
    else:
        expected = len(decoded.rejections)
        door.outcomes["accepted"] += len(decoded.events)
        door.outcomes["rejected"] += expected
    told = _rejected(encoding, answer[1]) if answer[0] == HTTPStatus.OK else -1
    if told != expected:
        door.faults.append(f"{expected} items are refused, the answer says {told}: {payload[:60]!r}")


def _rejected(encoding: Encoding, content: bytes) -> int:
    """The count of refused items in an answer; in all three signals it has the same place, and in JSON three names."""
    if encoding == "protobuf":
        return int(ExportTraceServiceResponse.FromString(content).partial_success.rejected_spans)
    renamed = content.replace(b"rejectedLogRecords", b"rejectedSpans").replace(b"rejectedDataPoints", b"rejectedSpans")
    return int(Parse(renamed, ExportTraceServiceResponse()).partial_success.rejected_spans)


def _hostile(server: Server, name: str, bodies: Iterable[Body], at_once: int) -> Finding:
    door = Door(server, name)

    def send(body: Body) -> None:
        path = EVENTS if body.signal == "events" else f"/v1/{body.signal}"
        began = time.monotonic()
        door.send(path, body.make(), body.content_type, body.encoding)
        door.outcomes["slowest s"] = max(door.outcomes["slowest s"], round(time.monotonic() - began))

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(send, bodies))
    return door.finding()
