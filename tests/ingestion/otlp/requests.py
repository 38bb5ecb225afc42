"""Requests of OTLP for tests: built as protobuf, and rendered as the JSON that OTLP specifies."""

from __future__ import annotations

import json
from base64 import b64decode
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ingestion.formats.otlp.envelopes import Encoding

START_NS = 1_730_888_700_000_000_000  # 2024-11-06T10:25:00Z
RECEIVED_MS = 1_730_888_760_000
TRACE_ID = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
SPAN_ID = bytes.fromhex("00f067aa0ba902b7")
RESOURCE = {"service.name": "chat-api", "deployment.environment.name": "production", "cloud.region": "eu-west-1"}
CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.usage.input_tokens": 120,
    "gen_ai.usage.output_tokens": 30,
    "gen_ai.response.finish_reasons": ["stop"],
}
MEASURED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "server.address": "api.openai.com",
    "server.port": 443,
}
SECOND_NS = 10**9
ENCODINGS: tuple[Encoding, ...] = ("protobuf", "json")
CONTENT_TYPES = {"protobuf": "application/x-protobuf", "json": "application/json"}


def any_value(value: Any) -> AnyValue:
    """A Python value as an attribute's."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, Mapping):
        found = AnyValue()
        found.kvlist_value.SetInParent()
        fill(found.kvlist_value.values, value)
        return found
    if isinstance(value, list):
        found = AnyValue()
        found.array_value.SetInParent()
        found.array_value.values.extend(map(any_value, value))
        return found
    kinds = {int: "int_value", float: "double_value", str: "string_value", bytes: "bytes_value"}
    return AnyValue(**{kinds[type(value)]: value})


def fill(attributes: Any, values: Mapping[str, Any]) -> None:
    """Add attributes to a repeated field."""
    for key, value in values.items():
        attributes.add(key=key, value=any_value(value))


def span(attributes: Mapping[str, Any] = CHAT, *, milliseconds: float = 850.0, **fields: Any) -> Span:
    """A span of an LLM call; a field of None is left unset."""
    chosen = {
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "name": "chat gpt-4o",
        "start_time_unix_nano": START_NS,
        "end_time_unix_nano": START_NS + round(milliseconds * 1e6),
    } | fields
    found = Span(**{name: value for name, value in chosen.items() if value is not None})
    fill(found.attributes, attributes)
    return found


def record(attributes: Mapping[str, Any] = CHAT, body: Any = None, **fields: Any) -> LogRecord:
    """A log record of an LLM call outside of any span."""
    found = LogRecord(
        **({"time_unix_nano": START_NS, "event_name": "gen_ai.client.inference.operation.details"} | fields)
    )
    fill(found.attributes, attributes)
    if body is not None:
        found.body.CopyFrom(any_value(body))
    return found


def histogram(
    name: str = "gen_ai.client.operation.duration",
    values: Sequence[float] = (),
    attributes: Mapping[str, Any] | None = None,
    *,
    bounds: Sequence[float] = (0.1, 0.5, 1.0, 2.0, 5.0),
    start_ns: int = START_NS,
    end_ns: int = START_NS + 60 * SECOND_NS,
    cumulative: bool = False,
    unit: str = "s",
    **changes: Any,
) -> Metric:
    """A metric with one data point that counted these values, as the SDKs count them; `changes` are its fields."""
    found = Metric(name=name, unit=unit)
    found.histogram.aggregation_temporality = 2 if cumulative else 1
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bisect_left(bounds, value)] += 1
    told = {"count": len(values), "sum": sum(values), "bucket_counts": counts, "explicit_bounds": bounds}
    told |= {"start_time_unix_nano": start_ns, "time_unix_nano": end_ns} | changes
    point = found.histogram.data_points.add(**{key: value for key, value in told.items() if value is not None})
    fill(point.attributes, MEASURED if attributes is None else attributes)
    return found


def tokens(kind: str, values: Sequence[float], **options: Any) -> Metric:
    """A metric with the tokens of calls."""
    attributes = MEASURED | {"gen_ai.token.type": kind} | options.pop("attributes", {})
    bounds = (1, 4, 16, 64, 256, 1024, 4096)
    return histogram("gen_ai.client.token.usage", values, attributes, bounds=bounds, unit="{token}", **options)


def traces(*spans: Span, resource: Mapping[str, Any] = RESOURCE) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    fill(group.resource.attributes, resource)
    group.scope_spans.add().spans.extend(spans)
    return request


def logs(*records: LogRecord, resource: Mapping[str, Any] = RESOURCE) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    fill(group.resource.attributes, resource)
    group.scope_logs.add().log_records.extend(records)
    return request


def metrics(*some: Any, resource: Mapping[str, Any] = RESOURCE) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    fill(group.resource.attributes, resource)
    group.scope_metrics.add().metrics.extend(some)
    return request


def encoded(request: Any, encoding: Encoding) -> bytes:
    """A request in one of the encodings."""
    return request.SerializeToString() if encoding == "protobuf" else json.dumps(as_json(request)).encode()


def as_json(request: Any) -> dict[str, Any]:
    """A request as OTLP's JSON: as protobuf's, but with hexadecimal ids and numbers for enumerations."""
    found = MessageToDict(request, use_integers_for_enums=True)
    _hexadecimal(found)
    return found


def _hexadecimal(node: Any) -> None:
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, Sequence) else ():
        if isinstance(value, dict | list):
            _hexadecimal(value)
    if isinstance(node, dict):
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in node:
                node[key] = b64decode(node[key]).hex()
