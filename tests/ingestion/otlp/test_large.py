"""Large requests: the same calls come of them as of small ones, and no more memory is taken than they are worth."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ingestion.formats.otlp import Decoded, Encoding, Unreadable, logs_of, points_of, spans_of
from ingestion.formats.otlp.envelopes import LARGE, MOST_PARTS
from ingestion.formats.splitting import has_more_values
from ingestion.formats.validation import Limits
from ingestion.room import NoRoom, Room
from tests.ingestion.otlp.requests import (
    CHAT,
    ENCODINGS,
    RECEIVED_MS,
    encoded,
    histogram,
    logs,
    metrics,
    record,
    span,
    traces,
)
from tests.support.hostile import JSON, Body, otlp_bodies, wrapped

LIMITS = Limits()


def spans(request: Any, encoding: Encoding) -> Decoded:
    return spans_of(encoded(request, encoding), encoding, received_ms=RECEIVED_MS, limits=LIMITS)


def padded(size: int) -> Any:
    """A span that is no call, of so many bytes."""
    return span({"http.route": "x" * size})


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_comes_of_a_request_does_not_depend_on_its_size(encoding: Encoding) -> None:
    request = traces(*[span(CHAT | {"gen_ai.usage.input_tokens": number - 1}) for number in range(9)], span({}))
    request.MergeFrom(traces(span(), resource={"service.name": "search"}))
    small = spans(request, encoding)
    request.resource_spans[1].scope_spans[0].spans.append(padded(LARGE + 1))
    large = spans(request, encoding)
    assert large.events == small.events
    assert list(map(str, large.rejections)) == list(map(str, small.rejections))
    assert (len(small.events), len(small.rejections), large.ignored) == (9, 1, small.ignored + 1)


def test_logs_and_metrics_are_read_from_large_requests_too() -> None:
    told = logs(record(), record({"x": "y" * LARGE}))
    assert len(logs_of(encoded(told, "protobuf"), "protobuf", received_ms=RECEIVED_MS, limits=LIMITS).events) == 1
    measured = metrics(histogram(values=[0.5, 0.6]))
    measured.MergeFrom(metrics(histogram(values=[0.5]), resource={"service.name": "s", "x": "y" * LARGE}))
    found = points_of(encoded(measured, "protobuf"), "protobuf", LIMITS)
    assert (len(found.points), [refused.code for refused in found.rejections]) == (1, ["out_of_range"])


def test_a_long_prompt_does_not_hide_its_call() -> None:
    (event,) = spans(traces(span(CHAT | {"gen_ai.input.messages": "x" * 3 * LARGE})), "protobuf").events
    assert (event.prompt_tokens, event.completion_tokens) == (120, 30)


def test_what_is_wrong_in_a_large_request_spoils_its_own_item_only() -> None:
    request = traces(span(), span(CHAT | {"gen_ai.response.model": "caf@"}), span(), padded(LARGE))
    payload = encoded(request, "protobuf").replace(b"caf@", b"caf\xe9")
    decoded = spans_of(payload, "protobuf", received_ms=RECEIVED_MS, limits=LIMITS)
    assert (len(decoded.events), [refused.code for refused in decoded.rejections]) == (2, ["invalid_text"])
    links = wrapped(b"\x6a\x00" * LARGE, 0x12)
    inside = links + request.resource_spans[0].scope_spans[0].SerializeToString()
    decoded = spans_of(wrapped(inside, 0x12, 0x0A), "protobuf", received_ms=RECEIVED_MS, limits=LIMITS)
    assert (len(decoded.events), [refused.code for refused in decoded.rejections]) == (3, ["out_of_range"])


def test_a_large_request_for_another_path_is_told_so() -> None:
    request = logs(*[record()] * 5, record({"x": "y" * LARGE}))
    with pytest.raises(Unreadable, match="these go to /v1/logs"):
        spans(request, "protobuf")


@pytest.mark.parametrize("cut", [1, 100, LARGE])
def test_a_large_request_that_is_cut_short_is_unreadable(cut: int) -> None:
    payload = encoded(traces(span(), padded(2 * LARGE)), "protobuf")[:-cut]
    with pytest.raises(Unreadable, match="cut short"):
        spans_of(payload, "protobuf", received_ms=RECEIVED_MS, limits=LIMITS)


def test_values_are_counted_outside_of_texts() -> None:
    text = rb'{"a": "[[,,{{\\\"", "b": [1, {"c": 2}, []]}'
    assert [has_more_values(text, most) for most in (6, 9)] == [True, False]


class Memory:
    """The most memory this process has beyond what it had, looked at all the time."""

    def __init__(self) -> None:
        self.before = self.most = self._now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _now(self) -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            self.most = max(self.most, self._now())

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def growth(self) -> float:
        return self.most - self.before


DECODERS = {"traces": spans_of, "logs": logs_of}


def _hostile() -> Iterator[Any]:
    for body in otlp_bodies():
        if body.encoding == "identity":
            yield pytest.param(body, id=f"{body.content_type[12:]}: {body.name}")


@pytest.mark.parametrize("body", list(_hostile()))
def test_no_body_takes_much_more_memory_than_it_has_bytes(body: Body) -> None:
    payload, encoding = body.make(), "json" if body.content_type == JSON else "protobuf"
    with Memory() as memory, suppress(Unreadable):
        if body.signal == "metrics":
            points_of(payload, encoding, LIMITS)  # type: ignore[arg-type]
        else:
            decoded = DECODERS[body.signal](payload, encoding, received_ms=RECEIVED_MS, limits=LIMITS)  # type: ignore[arg-type]
            assert len(decoded.rejections) + decoded.ignored <= MOST_PARTS
    assert memory.growth < 250, f"{body.name}: {memory.growth:.0f} MB"


def test_large_bodies_are_worked_on_one_at_a_time() -> None:
    room = Room(capacity=10, wait_seconds=0.01)
    with room.taken_by(6), room.taken_by(4), pytest.raises(NoRoom), room.taken_by(1):
        pass
    with room.taken_by(1), pytest.raises(NoRoom), room.taken_by(1000):
        pass
    with room.taken_by(1000), pytest.raises(NoRoom), room.taken_by(1):
        pass
    with room.taken_by(1000):
        pass
