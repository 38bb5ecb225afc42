"""A request of OTLP taken apart: protobuf or JSON, traces, metrics or logs; resources with their items.

What is wrong with one item spoils that item only. A request of which nothing can be read is `Unreadable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ingestion.formats.event import Event
from ingestion.formats.otlp import json_messages
from ingestion.formats.otlp.json_messages import elements, members
from ingestion.formats.otlp.lenient import salvaged
from ingestion.formats.validation import Rejection

Encoding = Literal["protobuf", "json"]
SignalName = Literal["traces", "metrics", "logs"]
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOST_PARTS = 100_000
"""Resources of one request, and empty messages in it: a body full of these would take fifty times its size."""
EMPTY_MESSAGES = (b"\x0a\x00", b"\x12\x00", b"\x1a\x00")
NOTHING = msgspec.Raw(b"{}")


class Unreadable(ValueError):
    """A request that cannot be read at all; says why, and where it belongs if that can be told."""


@dataclass(slots=True)
class Decoded:
    """What became of a request: the events of its LLM calls, why items were refused, how many were no LLM calls."""

    events: list[Event] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    ignored: int = 0


class Signal(NamedTuple):
    """How the requests of a signal are built: names of the levels in protobuf and in JSON."""

    name: SignalName
    request: type[Message]
    levels: tuple[str, str, str]
    keys: tuple[str, str, str]
    item: type


TRACES = Signal(
    "traces",
    ExportTraceServiceRequest,
    ("resource_spans", "scope_spans", "spans"),
    ("resourceSpans", "scopeSpans", "spans"),
    json_messages.Span,
)
METRICS = Signal(
    "metrics",
    ExportMetricsServiceRequest,
    ("resource_metrics", "scope_metrics", "metrics"),
    ("resourceMetrics", "scopeMetrics", "metrics"),
    json_messages.Metric,
)
LOGS = Signal(
    "logs",
    ExportLogsServiceRequest,
    ("resource_logs", "scope_logs", "log_records"),
    ("resourceLogs", "scopeLogs", "logRecords"),
    json_messages.LogRecord,
)
SIGNALS = (TRACES, METRICS, LOGS)

Group = tuple[Any, Any, Iterable[Any]]
"""A resource, a scope and the items of both."""


def groups(signal: Signal, payload: bytes, encoding: Encoding, refused: list[Rejection]) -> Iterator[Group]:
    """Resources and scopes with their items; items that cannot be read go to `refused`. Raises Unreadable."""
    if encoding == "json":
        return _json_groups(signal, payload.removeprefix(BYTE_ORDER_MARK), refused)
    return _protobuf_groups(signal, payload, refused)


def sniffed(payload: bytes) -> Encoding:
    """The encoding of a payload that does not say: JSON begins with a brace, protobuf's requests never do."""
    return "json" if payload.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] == b"{" else "protobuf"


def _protobuf_groups(signal: Signal, payload: bytes, refused: list[Rejection]) -> Iterator[Group]:
    if sum(map(payload.count, EMPTY_MESSAGES)) > MOST_PARTS:
        raise Unreadable(f"The body holds more than {MOST_PARTS} messages without content.")
    try:
        request = signal.request.FromString(payload)
    except DecodeError as error:
        if (request := salvaged(signal.request, signal.levels, payload, refused)) is None:
            raise Unreadable(f"The body is no {signal.request.DESCRIPTOR.name}: {error}.") from None
    _check_parts(len(getattr(request, signal.levels[0])))
    return _walk(request, signal.levels)


def _check_parts(count: int) -> None:
    if count > MOST_PARTS:
        raise Unreadable(f"The body holds {count} resources; a request may have {MOST_PARTS}.")


def _walk(request: Any, levels: tuple[str, str, str]) -> Iterator[Group]:
    resources, scopes, items = levels
    for group in getattr(request, resources):
        for scope in getattr(group, scopes):
            yield group.resource, scope.scope, getattr(scope, items)


def _json_groups(signal: Signal, payload: bytes, refused: list[Rejection]) -> Iterator[Group]:
    try:
        found = elements(members(payload).get(signal.keys[0]))
    except Rejection as rejection:
        raise Unreadable(f"The body is no {signal.request.DESCRIPTOR.name}: it {rejection}.") from None
    _check_parts(len(found))
    return _read_groups(signal, found, refused)


def _read_groups(signal: Signal, found: list[Any], refused: list[Rejection]) -> Iterator[Group]:
    _, scopes, items = signal.keys
    for group in found:
        try:
            inside = members(group)
            resource = json_messages.decode(json_messages.Resource, inside.get("resource", NOTHING))
            some = elements(inside.get(scopes))
        except Rejection as rejection:
            refused.append(rejection)
            continue
        for each in some:
            yield from _read_scope(signal.item, resource, each, items, refused)


def _read_scope(kind: type, resource: Any, raw: Any, key: str, refused: list[Rejection]) -> Iterator[Group]:
    try:
        inside = members(raw)
        some = elements(inside.get(key))
    except Rejection as rejection:
        refused.append(rejection)
    else:
        yield resource, inside.get("scope", NOTHING), _read_items(kind, some, refused)


def _read_items(kind: type, some: list[Any], refused: list[Rejection]) -> Iterator[Any]:
    for raw in some:
        try:
            item = json_messages.decode(kind, raw)
        except Rejection as rejection:
            refused.append(rejection)
            continue
        yield item
