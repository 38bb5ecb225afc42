"""Bodies that are small on the wire and large in memory, slow to read, or broken: for every door the same."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

MIB = 1 << 20
PROTOBUF, JSON = "application/x-protobuf", "application/json"
# Tags on the way from a request to its items, and into them, from the inside out. The three signals agree in these.
ITEMS, GROUP = 0x12, 0x0A


@dataclass(frozen=True)
class Body:
    """A body by name, made when it is wanted: together they would be what they are to show."""

    name: str
    signal: str
    content_type: str
    make: Callable[[], bytes]
    encoding: str = "identity"


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def wrapped(content: bytes, *tags: int) -> bytes:
    """A field within a field within a field: the innermost tag first."""
    for tag in tags:
        content = bytes([tag]) + varint(len(content)) + content
    return content


def filled(part: bytes, size: int, *tags: int) -> bytes:
    return wrapped(part * (size // len(part)), *tags)


def packed(size: int, part: bytes, piece: int, inner: tuple[int, ...], outer: tuple[int, ...]) -> bytes:
    """Items full of a part, of `piece` bytes each, up to `size` bytes."""
    return wrapped(filled(part, piece, *inner) * (size // piece), *outer)


def spans(inside: str) -> bytes:
    return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{inside}]}}]}}]}}'.encode()


def values(size: int) -> bytes:
    content = '{"arrayValue":{"values":[' + "{}," * (size // 3) + "{}]}}"
    return spans('{"attributes":[{"key":"gen_ai.input.messages","value":' + content + "}]}")


def bombed(size: int) -> bytes:
    return gzip.compress(bytes(size), 9)


# What is small on the wire, by the signal it is sent as.
PARTS: dict[str, tuple[str, bytes, tuple[int, ...]]] = {
    "empty resources": ("traces", b"\x0a\x00", ()),
    "empty scopes": ("traces", b"\x12\x00", (GROUP,)),
    "empty spans": ("traces", b"\x12\x00", (ITEMS, GROUP)),
    "spans of a byte": ("traces", b"\x12\x02\x30\x01", (ITEMS, GROUP)),
    "log records of a byte": ("logs", b"\x12\x02\x40\x01", (ITEMS, GROUP)),
    "metrics of a byte": ("metrics", b"\x12\x02\x1a\x00", (ITEMS, GROUP)),
    "lengths written long": ("traces", b"\x92\x00\x80\x00", (ITEMS, GROUP)),
    "no field at all": ("traces", b"\xff", ()),
    "unknown fields": ("traces", b"\x78\x01", ()),
}
# What is small within one item.
INNER: dict[str, tuple[str, bytes, tuple[int, ...]]] = {
    "attributes without content": ("traces", b"\x4a\x00", (ITEMS,)),
    "links without content": ("traces", b"\x6a\x00", (ITEMS,)),
    "events without content": ("traces", b"\x5a\x00", (ITEMS,)),
    "data points of a byte": ("metrics", b"\x0a\x02\x50\x00", (0x4A, ITEMS)),
    "log bodies of values": ("logs", b"\x0a\x02\x10\x01", (0x2A, 0x2A, ITEMS)),
}
JSON_BODIES: dict[str, Callable[[int], bytes]] = {
    "numbers for spans": lambda size: spans("0," * (size // 2) + "0"),
    "objects for spans": lambda size: spans("{}," * (size // 3) + "{}"),
    "as many bad spans as go": lambda size: spans("0," * 90_000 + " " * (size - 180_000) + "0"),
    "an attribute with many values": lambda size: values(min(size, 3_600_000)),
    "too many values": values,
    "a text without end": lambda size: b'"' + b'\\"' * (size // 2),
    "blanks and a text without end": lambda size: b" " * size + b'"',
    "brackets": lambda size: b"[" * size,
    "members": lambda size: b"{" + b",".join(b'"%07d":0' % number for number in range(size // 12)) + b"}",
    "digits": lambda size: spans('{"startTimeUnixNano":' + "9" * size + "}"),
}


def otlp_bodies(size: int = 20 * MIB) -> Iterator[Body]:
    """Bodies of about `size` bytes for the doors of OTLP."""
    for name, (signal, part, tags) in PARTS.items():
        yield Body(name, signal, PROTOBUF, partial(filled, part, size, *tags))
    for name, (signal, part, tags) in INNER.items():
        yield Body(f"{name}, in one item", signal, PROTOBUF, partial(filled, part, size, *tags, ITEMS, GROUP))
        yield Body(name, signal, PROTOBUF, partial(packed, size, part, size // 21, tags, (ITEMS, GROUP)))
    for name, make in JSON_BODIES.items():
        yield Body(name, "traces", JSON, partial(make, size))
    for kind in (PROTOBUF, JSON):
        yield Body("a bomb", "traces", kind, partial(bombed, 50 * size), "gzip")


def event_bodies(size: int = 10 * MIB) -> Iterator[Body]:
    """Bodies of about `size` bytes for native events."""
    many: dict[str, Callable[[], bytes]] = {
        "empty events": lambda: b"[" + b"{}," * 9_999 + b"{}]",
        "too many events": lambda: b"[" + b"0," * (size // 2) + b"0]",
        "an event of empty objects": lambda: b'[{"metadata":[' + b"{}," * (size // 3) + b"{}]}]",
        "events just small enough": lambda: (
            b"[" + b",".join([b'{"metadata":[' + b"{}," * 340_000 + b"{}]}"] * (size // 1_020_100)) + b"]"
        ),
        "brackets": lambda: b"[" * size,
        "a text without end": lambda: b'["' + b'\\"' * (size // 2),
        "lines": lambda: b"{}\n" * (size // 3),
        "blanks": lambda: b"[" + b" " * (size - 2) + b"]",
    }
    for name, make in many.items():
        yield Body(name, "events", JSON, make)
    yield Body("a bomb", "events", JSON, partial(bombed, 50 * size), "gzip")
