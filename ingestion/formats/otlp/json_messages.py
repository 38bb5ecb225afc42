"""OTLP's messages as JSON writes them, with the names and the behaviour of their protobuf classes.

The same code then reads both encodings. Field names are lowerCamelCase, ids hexadecimal, integers of 64 bits texts or
numbers; what is `null` is absent; unknown keys are ignored. An item is decoded by itself, and within it only the
attributes that somebody wants, so that what is wrong spoils as little as possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ingestion.formats import validation
from ingestion.formats.otlp.attributes import Wanted
from ingestion.formats.refusals import refusal
from ingestion.formats.validation import Rejection

ABSENT = msgspec.Raw(b"null")
VALUES = ("string_value", "int_value", "double_value", "bool_value", "array_value", "kvlist_value", "bytes_value")


class AnyValue(msgspec.Struct, rename="camel"):
    """The value of an attribute: one of its fields is set."""

    string_value: str | None = None
    int_value: int | float | str | None = None
    double_value: float | str | None = None
    bool_value: bool | None = None
    array_value: ArrayValue | None = None
    kvlist_value: KeyValueList | None = None
    bytes_value: str | None = None

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - as protobuf calls it
        return next((name for name in VALUES if getattr(self, name) is not None), None)


class ArrayValue(msgspec.Struct):
    values: list[AnyValue] = []


class KeyValue(msgspec.Struct):
    key: str = ""
    value: AnyValue = msgspec.field(default_factory=AnyValue)


class KeyValueList(msgspec.Struct):
    values: list[KeyValue] = []


class UnreadAttribute(msgspec.Struct):
    """An attribute whose value is not looked at until it is wanted."""

    key: str = ""
    value: msgspec.Raw = msgspec.Raw(b"{}")


Attributes = list[UnreadAttribute] | None


class Members(msgspec.Struct, rename="camel"):
    """The levels of a request that lead to its items, unread; an object of any level has some of them."""

    resource: msgspec.Raw = msgspec.Raw(b"{}")
    scope: msgspec.Raw = msgspec.Raw(b"{}")
    resource_spans: msgspec.Raw = ABSENT
    scope_spans: msgspec.Raw = ABSENT
    spans: msgspec.Raw = ABSENT
    resource_metrics: msgspec.Raw = ABSENT
    scope_metrics: msgspec.Raw = ABSENT
    metrics: msgspec.Raw = ABSENT
    resource_logs: msgspec.Raw = ABSENT
    scope_logs: msgspec.Raw = ABSENT
    log_records: msgspec.Raw = ABSENT


class Resource(msgspec.Struct):
    attributes: Attributes = None


class Status(msgspec.Struct):
    message: str | None = None
    code: int | str | None = None


class Span(msgspec.Struct, rename="camel"):
    trace_id: str | None = None
    span_id: str | None = None
    start_time_unix_nano: int | None = None
    end_time_unix_nano: int | None = None
    attributes: Attributes = None
    status: Status | None = None


class LogRecord(msgspec.Struct, rename="camel"):
    time_unix_nano: int | None = None
    observed_time_unix_nano: int | None = None
    severity_number: int | str | None = None
    body: msgspec.Raw = msgspec.Raw(b"{}")
    attributes: Attributes = None
    flags: int | None = None
    trace_id: str | None = None
    span_id: str | None = None
    event_name: str | None = None


class Points(msgspec.Struct, rename="camel"):
    """What a metric holds, whatever its kind."""

    data_points: list[msgspec.Raw] = []
    aggregation_temporality: int | str | None = None


class Metric(msgspec.Struct, rename="camel"):
    name: str | None = None
    unit: str | None = None
    gauge: Points | None = None
    sum: Points | None = None
    histogram: Points | None = None
    exponential_histogram: Points | None = None
    summary: Points | None = None

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802
        kinds = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
        return next((kind for kind in kinds if getattr(self, kind) is not None), None)


class HistogramDataPoint(msgspec.Struct, rename="camel"):
    attributes: Attributes = None
    start_time_unix_nano: int | None = None
    time_unix_nano: int | None = None
    count: int | None = None
    sum: float | None = None
    bucket_counts: list[int] | None = None
    explicit_bounds: list[float] | None = None
    flags: int | None = None
    min: float | None = None
    max: float | None = None


class Buckets(msgspec.Struct, rename="camel"):
    offset: int | None = None
    bucket_counts: list[int] | None = None


class ExponentialHistogramDataPoint(msgspec.Struct, rename="camel"):
    attributes: Attributes = None
    start_time_unix_nano: int | None = None
    time_unix_nano: int | None = None
    count: int | None = None
    sum: float | None = None
    scale: int | None = None
    zero_count: int | None = None
    flags: int | None = None
    positive: Buckets | None = None
    negative: Buckets | None = None
    min: float | None = None
    max: float | None = None
    zero_threshold: float | None = None


_decode_value = msgspec.json.Decoder(AnyValue).decode
_decode_members = msgspec.json.Decoder(Members).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
# Lax: integers may be texts.
_decoders = {
    kind: msgspec.json.Decoder(kind, strict=False).decode
    for kind in (Resource, Span, LogRecord, Metric, HistogramDataPoint, ExponentialHistogramDataPoint)
}


def decode(kind: Any, raw: msgspec.Raw) -> Any:
    """A message of one of the classes above. Raises Rejection."""
    return _checked(_decoders[kind], raw)


def members(raw: bytes | msgspec.Raw) -> Members:
    """The members of an object, unread; none of `null`. Raises Rejection."""
    found: Members = Members() if _is_null(raw) else _checked(_decode_members, raw)
    return found


def elements(raw: msgspec.Raw) -> list[msgspec.Raw]:
    """The elements of an array, unread; none of `null`. Raises Rejection."""
    found: list[msgspec.Raw] = [] if _is_null(raw) else _checked(_decode_list, raw)
    return found


def _is_null(raw: bytes | msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:5]) == b"null"


def read_wanted(attributes: Attributes, places: Wanted) -> Iterator[KeyValue]:
    """The attributes that have a place, with their values. Raises Rejection."""
    for attribute in attributes or ():
        if attribute.key in places:
            try:
                yield KeyValue(attribute.key, read_value(attribute.value))
            except Rejection as rejection:
                raise Rejection(rejection.code, attribute.key, str(rejection)) from None


def read_value(raw: msgspec.Raw) -> AnyValue:
    """A value. Raises Rejection."""
    found: AnyValue = AnyValue() if _is_null(raw) else _checked(_decode_value, raw)
    return found


def _checked(decoder: Any, raw: bytes | msgspec.Raw) -> Any:
    try:
        return decoder(raw)
    except (ValueError, RecursionError) as error:
        found = refusal(error, bytes(raw))
        if found.code == validation.ARRAY:  # whose hint is about something else
            found = Rejection(validation.NOT_AN_OBJECT, found.field, "must be a JSON object, not an array")
        raise found from None
