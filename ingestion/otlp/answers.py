"""Answers in the type of the request: what was accepted, or google.rpc.Status for what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from ingestion.formats.otlp.envelopes import Encoding, SignalName
from ingestion.formats.validation import Rejection

CONTENT_TYPES: dict[str, Encoding] = {"application/x-protobuf": "protobuf", "application/json": "json"}
PROTOBUF = "application/x-protobuf"
REASONS_NAMED = 5
RESPONSES: dict[SignalName, tuple[type[Message], str, str]] = {
    "traces": (ExportTraceServiceResponse, "rejected_spans", "spans"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points", "data points"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records", "log records"),
}
CODES = {
    HTTPStatus.BAD_REQUEST: code_pb2.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: code_pb2.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: code_pb2.PERMISSION_DENIED,
    HTTPStatus.METHOD_NOT_ALLOWED: code_pb2.UNIMPLEMENTED,
    HTTPStatus.LENGTH_REQUIRED: code_pb2.INVALID_ARGUMENT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: code_pb2.RESOURCE_EXHAUSTED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: code_pb2.INVALID_ARGUMENT,
    HTTPStatus.TOO_MANY_REQUESTS: code_pb2.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: code_pb2.UNAVAILABLE,
}


def encoding_of(content_type: str) -> Encoding | None:
    """The encoding a Content-Type names; None for any that OTLP does not know."""
    return CONTENT_TYPES.get(content_type.partition(";")[0].strip().lower())


def accepted(signal: SignalName, rejections: Sequence[Rejection], encoding: Encoding) -> HttpResponse:
    """200: all is stored, or all but the rejected."""
    kind, field, things = RESPONSES[signal]
    answer: Any = kind()
    if rejections:
        setattr(answer.partial_success, field, len(rejections))
        answer.partial_success.error_message = f"{len(rejections)} {things} refused. {summary(rejections)}"
    return _rendered(answer, 200, encoding)


def summary(rejections: Sequence[Rejection]) -> str:
    """The most frequent reasons, each with how often it occurred."""
    reasons = Counter(str(rejection) for rejection in rejections).most_common(REASONS_NAMED)
    return "; ".join(f"{count} x {reason}" for reason, count in reasons)


def failure(code: int, message: str, encoding: Encoding) -> HttpResponse:
    """A google.rpc.Status under an HTTP status."""
    answer = status_pb2.Status(code=CODES.get(HTTPStatus(code), code_pb2.UNKNOWN), message=message)
    return _rendered(answer, code, encoding)


def _rendered(message: Message, code: int, encoding: Encoding) -> HttpResponse:
    if encoding == "json":
        return HttpResponse(MessageToJson(message, indent=None), status=code, content_type="application/json")
    return HttpResponse(message.SerializeToString(), status=code, content_type=PROTOBUF)
