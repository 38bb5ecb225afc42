"""Whatever comes in: every decoder answers with events, rejections or `Unreadable`, and nothing else."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingestion.bodies import TooMuch, inflated
from ingestion.formats import native
from ingestion.formats.otlp import Encoding, Unreadable, events_of, increments, logs_of, points_of, spans_of
from ingestion.formats.otlp.streams import decode_last
from ingestion.formats.validation import REJECTION_CODES, Limits, Rejection
from tests.ingestion.otlp.requests import (
    CHAT,
    ENCODINGS,
    MEASURED,
    RECEIVED_MS,
    START_NS,
    as_json,
    encoded,
    histogram,
    logs,
    metrics,
    record,
    span,
    tokens,
    traces,
)

LIMITS = Limits(capture_text=True)
TEXTS = CHAT | {
    "gen_ai.input.messages": [{"a": {"b": ["c"]}}],
    "user.id": "u",
    "gen_ai.usage.cost": 0.5,
    "error.type": "e",
}
REQUESTS = [
    traces(span(TEXTS, status={"code": 2, "message": "m"}), span({})),
    logs(record(TEXTS, body=CHAT), record({}, body="x")),
    metrics(
        histogram(values=[0.1, 0.2, 3.0]),
        tokens("input", [5, 6], cumulative=True),
        histogram(values=[1.0], attributes={}),
    ),
]


def everything(payload: bytes, encoding: Encoding) -> int:
    """Give a payload to every decoder; checks what they answer, returns how many events there were."""
    events = []
    for decode in (spans_of, logs_of, _metrics_of):
        try:
            decoded = decode(payload, encoding, received_ms=RECEIVED_MS, limits=LIMITS)
        except Unreadable:
            continue
        assert {rejection.code for rejection in decoded.rejections} <= REJECTION_CODES
        events += decoded.events
    for event in events:
        again = native.decode(native.encode(event), received_ms=RECEIVED_MS, limits=LIMITS)
        assert (again.service, again.model, again.latency_ms) == (event.service, event.model, event.latency_ms)
    return len(events)


def _metrics_of(payload: bytes, encoding: Encoding, *, received_ms: int, limits: Limits) -> Any:
    read = points_of(payload, encoding, limits)
    found, kept = increments(read.points, {})
    increments(read.points, {name: decode_last(value) for name, value in kept.items()})
    decoded = events_of(found, received_ms=received_ms, limits=limits, most=1000)
    decoded.rejections += read.rejections
    return decoded


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
                found[at:at] = rng.choice(
                    [b"\xff", b"\0", b'"', b"{", b"[", b"}", b"9" * 30, b"1e999", b"null", b"-1", b"\x0a\x00"]
                )
    return bytes(found)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_as_they_are_the_requests_hold_calls(encoding: Encoding) -> None:
    assert [everything(encoded(request, encoding), encoding) for request in REQUESTS] == [1, 1, 3]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("request_", REQUESTS, ids=["traces", "metrics", "logs"])
@settings(max_examples=300)
@given(seed=st.integers(0, 2**32))
def test_spoiled_requests_are_answered(request_: Any, encoding: Encoding, seed: int) -> None:
    everything(spoiled(encoded(request_, encoding), random.Random(seed)), encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=300)
@given(payload=st.binary(max_size=300))
@example(payload=b"")
def test_any_bytes_are_answered(payload: bytes, encoding: Encoding) -> None:
    everything(payload, encoding)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["NaN", "Infinity", "1e400", "9" * 500, str(2**63), "-1", "\0", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value within a document."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in inside for place in _places(value, (*path, key)))]


@pytest.mark.parametrize("request_", REQUESTS, ids=["traces", "metrics", "logs"])
@settings(max_examples=300)
@given(data=st.data(), value=VALUES)
def test_any_value_anywhere_in_json_is_answered(request_: Any, data: st.DataObject, value: Any) -> None:
    document: Any = [as_json(request_)]
    *path, last = data.draw(st.sampled_from(_places(document)[1:]))
    node = document
    for key in path:
        node = node[key]
    node[last] = value
    everything(json.dumps(document[0]).encode("utf-8", "surrogatepass"), "json")


@pytest.mark.parametrize("depth", [90, 1000, 100_000])
def test_deep_nesting_is_answered(depth: int) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        text = opening * depth + "1" + closing * depth
        whole = f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{text}]}}]}}]}}'
        everything(whole.encode(), "json")
        everything(f'{{"resourceSpans":{text}}}'.encode(), "json")
    value = '{"arrayValue":{"values":[' * depth + '{"intValue":1}' + "]}}" * depth
    attribute = f'{{"key":"gen_ai.input.messages","value":{value}}}'
    everything(
        f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"attributes":[{attribute}]}}]}}]}}]}}'.encode(), "json"
    )
    node = b"\x0a\x01a"  # a string value, wrapped in arrays of one again and again
    for _ in range(min(depth, 2000)):
        inner = b"\x0a" + _varint(len(node)) + node
        node = b"\x2a" + _varint(len(inner)) + inner
    attribute_bytes = b"\x0a\x15gen_ai.input.messages\x12" + _varint(len(node)) + node
    payload = b"\x4a" + _varint(len(attribute_bytes)) + attribute_bytes
    for tag in (b"\x12", b"\x12", b"\x0a"):
        payload = tag + _varint(len(payload)) + payload
    everything(payload, "protobuf")


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


@settings(max_examples=200)
@given(
    count=st.integers(0, 2**64 - 1),
    total=st.floats(),
    counts=st.lists(st.integers(0, 2**64 - 1), max_size=5),
    bounds=st.lists(st.floats(), max_size=4),
    start=st.integers(0, 2**64 - 1),
    end=st.integers(0, 2**64 - 1),
)
def test_any_histogram_is_answered(
    count: int, total: float, counts: list[int], bounds: list[float], start: int, end: int
) -> None:
    told = {"count": count, "sum": total, "bucket_counts": counts, "start_ns": start, "end_ns": end}
    metric = histogram(attributes=MEASURED, bounds=bounds, **told)  # type: ignore[arg-type]
    for encoding in ENCODINGS:
        everything(encoded(metrics(metric), encoding), encoding)


@pytest.mark.parametrize("change", [{"start_ns": START_NS, "end_ns": START_NS}, {"end_ns": 2**63 - 1}, {"start_ns": 1}])
def test_windows_of_any_length_are_answered(change: dict[str, int]) -> None:
    assert everything(encoded(metrics(histogram(values=[0.5] * 3, **change)), "protobuf"), "protobuf") == 3


@pytest.mark.parametrize("part", [b"\x0a\x00", b"\x0a\x02\x12\x00", b"\x0a\x02\x18\x00"])
def test_a_body_full_of_nothing_is_refused(part: bytes) -> None:
    with pytest.raises(Unreadable, match="100000"):
        spans_of(part * 100_001, "protobuf", received_ms=RECEIVED_MS, limits=LIMITS)
    with pytest.raises(Unreadable, match="100000"):
        spans_of(b'{"resourceSpans":[' + b"{}," * 100_000 + b"{}]}", "json", received_ms=RECEIVED_MS, limits=LIMITS)


@settings(max_examples=200)
@given(pieces=st.lists(st.binary(max_size=60), max_size=4), prefix=st.sampled_from([b"", zlib.compress(b"x" * 500)]))
def test_any_compressed_body_is_answered(pieces: list[bytes], prefix: bytes) -> None:
    for bits in (15, 31):
        with suppress(zlib.error, TooMuch):
            assert len(inflated(iter([prefix, *pieces]), bits, 400)) <= 400


def test_a_rejection_never_quotes_what_it_refuses() -> None:
    said = "ann@example.com"
    bad: list[Callable[[], Any]] = [
        lambda: traces(span(CHAT | {"gen_ai.usage.input_tokens": said})),
        lambda: traces(span(CHAT | {"gen_ai.response.model": said * 20})),
        lambda: traces(span(), resource={"service.name": f"{said}\n"}),
    ]
    for make in bad:
        (rejection,) = spans_of(encoded(make(), "json"), "json", received_ms=RECEIVED_MS, limits=LIMITS).rejections
        assert isinstance(rejection, Rejection)
        assert "ann" not in str(rejection)
