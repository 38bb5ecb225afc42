"""Good requests of every door, and the same with a few bytes changed: the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from bench.messages import events
from bench.otlp import as_protobuf, request
from ingestion.formats.otlp import Encoding
from ingestion.formats.otlp.envelopes import SignalName
from tests.ingestion.otlp.requests import CHAT, encoded, histogram, logs, metrics, record, span, tokens, traces

PIECES = (b"\xff", b"\0", b'"', b"{", b"[", b"}", b"9" * 30, b"1e999", b"null", b"-1", b"\x0a\x00", b"\xed\xa0\x80")
REQUESTS = {
    "traces": traces(span(CHAT | {"user.id": "u", "gen_ai.usage.cost": 0.5}), span({}), span(status={"code": 2})),
    "logs": logs(record(), record(CHAT, body=CHAT), record({}, body="x")),
    "metrics": metrics(histogram(values=[0.1, 0.2, 3.0]), tokens("input", [5, 6])),
}


def spoiled(payload: bytes, rng: random.Random) -> bytes:
    """A payload with a few bytes changed, cut out, doubled or put in."""
    found = bytearray(payload)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(4):
            case 0:
                found[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del found[at : at + rng.randrange(1, 9)]
            case 2:
                found[at:at] = found[at : at + rng.randrange(1, 40)]
            case _:
                found[at:at] = rng.choice(PIECES)
    return bytes(found)


def mutated(signal: SignalName, encoding: Encoding, count: int, seed: int) -> Iterator[bytes]:
    """So many spoiled requests of a signal."""
    rng, whole = random.Random(f"{signal} {encoding} {seed}"), encoded(REQUESTS[signal], encoding)
    return (spoiled(whole, rng) for _ in range(count))


def harmless(encoding: Encoding, count: int) -> bytes:
    """A request with so many calls."""
    document = request([event for event in events(2 * count) if not event.error][:count])
    return as_protobuf(document) if encoding == "protobuf" else msgspec.json.encode(document)
