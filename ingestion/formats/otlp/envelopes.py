"""A request of OTLP taken apart: protobuf or JSON, traces, metrics or logs; resources with their items.

What is wrong with one item spoils that item only. A request of which nothing can be read is `Unreadable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ingestion.formats.event import Event
from ingestion.formats.otlp import json_messages
from ingestion.formats.otlp.encoded import EncodedSpans
from ingestion.formats.otlp.faults import Allowance, Unreadable
from ingestion.formats.otlp.json_messages import elements, members
from ingestion.formats.otlp.large import walked
from ingestion.formats.otlp.lenient import salvaged
from ingestion.formats.splitting import has_more_values
from ingestion.formats.validation import Rejection

Encoding = Literal["protobuf", "json"]
SignalName = Literal["traces", "metrics", "logs"]
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOST_PARTS = 100_000
"""Resources, scopes and items of one request."""
LARGE = 1 << 20
"""Bytes of a body from which it is not taken to pieces all at once."""
MOST_VALUES = 2_500_000
"""Values in the JSON of one large request: each may take a hundred bytes."""


@dataclass(slots=True)
class Decoded:
    """What became of a request: the events of its LLM calls, why items were refused, how many were no LLM calls."""

    events: list[Event] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    ignored: int = 0


class Signal(NamedTuple):
    """How the requests of a signal are built: the names of the levels, as protobuf has them, and what reads them."""

    name: SignalName
    request: type[Message]
    reader: type[Message]
    levels: tuple[str, str, str]
    item: type


TRACES = Signal(
    "traces",
    ExportTraceServiceRequest,
    EncodedSpans,
    ("resource_spans", "scope_spans", "spans"),
    json_messages.Span,
)
METRICS = Signal(
    "metrics",
    ExportMetricsServiceRequest,
    ExportMetricsServiceRequest,
    ("resource_metrics", "scope_metrics", "metrics"),
    json_messages.Metric,
)
LOGS = Signal(
    "logs",
    ExportLogsServiceRequest,
    ExportLogsServiceRequest,
    ("resource_logs", "scope_logs", "log_records"),
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
    if len(payload) > LARGE:
        return walked(signal.reader, signal.levels, payload, MOST_PARTS, refused)
    try:
        request = signal.reader.FromString(payload)
    except DecodeError as error:
        if (request := salvaged(signal.reader, signal.levels, payload, refused)) is None:
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
    if len(payload) > LARGE and has_more_values(payload, MOST_VALUES):
        raise Unreadable(f"The body holds more than {MOST_VALUES} values.")
    try:
        found = elements(getattr(members(payload), signal.levels[0]))
    except Rejection as rejection:
        raise Unreadable(f"The body is no {signal.request.DESCRIPTOR.name}: it {rejection}.") from None
    _check_parts(len(found))
    return _read_groups(signal, found, refused)


def _read_groups(signal: Signal, found: list[Any], refused: list[Rejection]) -> Iterator[Group]:
    _, scopes, items = signal.levels
    allowance = Allowance.of(MOST_PARTS)
    allowance.take(len(found))
    for group in found:
        for resource, scope, some in _scopes(group, scopes, items, allowance, refused):
            yield resource, scope, _read_items(signal.item, some, refused)


def _scopes(
    group: Any, scopes: str, items: str, allowance: Allowance, refused: list[Rejection]
) -> Iterator[tuple[Any, Any, list[Any]]]:
    """The scopes of a resource with their items, unread. Raises Unreadable."""
    try:
        inside = members(group)
        resource = json_messages.decode(json_messages.Resource, inside.resource)
        some = elements(getattr(inside, scopes))
    except Rejection as rejection:
        refused.append(rejection.kept())
        return
    allowance.take(len(some))
    for each in some:
        try:
            inside = members(each)
            found = elements(getattr(inside, items))
        except Rejection as rejection:
            refused.append(rejection.kept())
            continue
        allowance.take(len(found))
        yield resource, inside.scope, found


def _read_items(kind: type, some: list[Any], refused: list[Rejection]) -> Iterator[Any]:
    for raw in some:
        try:
            item = json_messages.decode(kind, raw)
        except Rejection as rejection:
            refused.append(rejection.kept())
            continue
        yield item
