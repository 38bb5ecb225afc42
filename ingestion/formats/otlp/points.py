"""Data points of the GenAI metrics: what each measures, of which calls, in which window of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, NamedTuple

import msgspec

from ingestion.formats import validation
from ingestion.formats.otlp import json_messages
from ingestion.formats.otlp.attributes import LLM_OPERATIONS, Wanted, collect, text, wanted
from ingestion.formats.otlp.calls import Origin, name_rejection
from ingestion.formats.otlp.envelopes import METRICS, Encoding, groups
from ingestion.formats.otlp.faults import Unreadable
from ingestion.formats.otlp.histograms import Histogram
from ingestion.formats.otlp.json_messages import read_wanted
from ingestion.formats.otlp.mistaken import misplaced
from ingestion.formats.validation import Limits, Rejection

# What a metric measures and how new its name is: of two that measure the same, calls are counted by the first.
LATENCY, TTFT, TOKENS = "latency_ms", "ttft_ms", "tokens"
MEASURES: dict[str, tuple[str, int]] = {
    "gen_ai.client.operation.duration": (LATENCY, 0),
    "gen_ai.server.request.duration": (LATENCY, 1),
    "gen_ai.client.operation.time_to_first_chunk": (TTFT, 0),
    "gen_ai.server.time_to_first_token": (TTFT, 1),
    "gen_ai.client.token.usage": (TOKENS, 0),
}
TOKEN_TYPES = {"input": "prompt_tokens", "prompt": "prompt_tokens", "output": "completion_tokens"}
TOKEN_TYPES["completion"] = "completion_tokens"
MILLISECONDS = {"s": 1000.0, "ms": 1.0, "us": 0.001, "ns": 1e-6}
CUMULATIVE = (2, "2", "AGGREGATION_TEMPORALITY_CUMULATIVE")
DELTA = (1, "1", "AGGREGATION_TEMPORALITY_DELTA")
NO_RECORDED_VALUE = 1
LATEST_NS = 2**63 - 1
WANTED: Wanted = wanted(
    {
        "model": (text, ("gen_ai.response.model", "gen_ai.request.model")),
        "provider": (text, ("gen_ai.provider.name", "gen_ai.system")),
        "operation": (text, ("gen_ai.operation.name",)),
        "token_type": (text, ("gen_ai.token.type",)),
        "error_type": (text, ("error.type",)),
        "address": (text, ("server.address",)),
        "port": (text, ("server.port",)),
    }
)


class Calls(NamedTuple):
    """Which calls a point is about; points of one request that agree in it describe the same calls."""

    source: bytes  # digest of resource and scope
    model: str
    provider: str
    operation: str
    address: str
    port: str


@dataclass(frozen=True, slots=True)
class Point:
    """One data point of a histogram, in milliseconds or tokens, counted in (start_ns, end_ns]."""

    origin: Origin
    calls: Calls
    measure: str
    rank: int
    error: str
    stream: str
    is_cumulative: bool
    start_ns: int
    end_ns: int
    histogram: Histogram


@dataclass(slots=True)
class Points:
    """What a request with metrics holds."""

    points: list[Point] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    ignored: int = 0


def points_of(payload: bytes, encoding: Encoding, limits: Limits) -> Points:
    """The points of a request that are about LLM calls. Raises Unreadable."""
    result = Points()
    is_json = encoding == "json"
    try:
        found = groups(METRICS, payload, encoding, result.rejections)
    except Unreadable as error:
        raise Unreadable(f"{error}{misplaced(METRICS, payload, encoding)}") from None
    is_named = False
    for resource, scope, some in found:
        origin, source = Origin.of(resource, limits), _source(resource, scope, is_json=is_json)
        for metric in some:
            is_named = is_named or bool(metric.name)
            _take(metric, origin, source, result, is_json=is_json)
    if not (result.points or is_named) and (hint := misplaced(METRICS, payload, encoding)):
        raise Unreadable(f"The body holds no metrics.{hint}")
    return result


def _take(metric: Any, origin: Origin, source: bytes, result: Points, *, is_json: bool) -> None:
    """Take the points of one metric."""
    kind = metric.WhichOneof("data")
    raws = getattr(metric, kind).data_points if kind else ()
    if metric.name not in MEASURES:
        result.ignored += len(raws)
        return
    for raw in raws:
        try:
            point = _point(metric, kind, raw, origin, source, is_json=is_json)
        except Rejection as rejection:
            result.rejections.append(rejection.kept())
            continue
        if point is None:
            result.ignored += 1
        else:
            result.points.append(point)


def _point(metric: Any, kind: str, raw: Any, origin: Origin, source: bytes, *, is_json: bool) -> Point | None:
    """A point, None if it is about nothing that counts."""
    if kind not in ("histogram", "exponential_histogram"):
        raise Rejection(validation.WRONG_TYPE, metric.name, f"must be a histogram, not a {kind}")
    is_explicit = kind == "histogram"
    kinds = json_messages.HistogramDataPoint, json_messages.ExponentialHistogramDataPoint
    point = json_messages.decode(kinds[not is_explicit], raw) if is_json else raw
    found = collect(read_wanted(point.attributes, WANTED) if is_json else point.attributes, WANTED)
    measure, rank = MEASURES[metric.name]
    if measure == TOKENS:
        measure = TOKEN_TYPES.get(found.get("token_type", ""), "")
    is_other = found.get("operation") is not None and found["operation"] not in LLM_OPERATIONS
    if not measure or is_other or (point.flags or 0) & NO_RECORDED_VALUE:
        return None
    fault = origin.fault or name_rejection("gen_ai.request.model", found.get("model"))
    if fault:
        raise fault
    start, end = _window(point)
    factor = 1.0 if measure.endswith("tokens") else MILLISECONDS.get(metric.unit or "s", 1000.0)
    return Point(
        origin,
        Calls(source, *(found.get(name, "") for name in ("model", "provider", "operation", "address", "port"))),
        measure,
        rank,
        found.get("error_type", ""),
        _stream(source, metric.name, point.attributes, is_json=is_json),
        _is_cumulative(getattr(metric, kind).aggregation_temporality),
        start,
        end,
        _scaled(_explicit(point) if is_explicit else _exponential(point), factor),
    )


def _is_cumulative(temporality: Any) -> bool:
    if temporality not in CUMULATIVE + DELTA:
        raise Rejection(validation.INVALID, "aggregationTemporality", "must be delta (1) or cumulative (2)")
    return temporality in CUMULATIVE


def _window(point: Any) -> tuple[int, int]:
    start, end = point.start_time_unix_nano or 0, point.time_unix_nano or 0
    if not 0 < end <= LATEST_NS:
        raise Rejection(validation.BAD_TIMESTAMP, "timeUnixNano", "is required, in nanoseconds since 1970")
    if not 0 <= start <= end:
        raise Rejection(validation.BAD_TIMESTAMP, "startTimeUnixNano", "must not lie after timeUnixNano")
    return start, end


def _explicit(point: Any) -> Histogram:
    total, least, most = _extremes(point)
    return Histogram(
        point.count or 0,
        total,
        least,
        most,
        bounds=tuple(point.explicit_bounds or ()),
        counts=tuple(point.bucket_counts or ()),
    )


def _exponential(point: Any) -> Histogram:
    positive, negative = point.positive, point.negative
    if negative is not None and any(negative.bucket_counts or ()):
        raise Rejection(validation.NEGATIVE, "negative", "must be empty: neither times nor tokens are negative")
    total, least, most = _extremes(point)
    return Histogram(
        point.count or 0,
        total,
        least,
        most,
        counts=tuple((positive and positive.bucket_counts) or ()),
        scale=point.scale or 0,
        offset=(positive and positive.offset) or 0,
        zeros=point.zero_count or 0,
        zero_bound=point.zero_threshold or 0.0,
    )


def _extremes(point: Any) -> list[float | None]:
    """Sum, least and largest value; None where they are not told."""
    is_json = isinstance(point, msgspec.Struct)
    return [getattr(point, name) if is_json or point.HasField(name) else None for name in ("sum", "min", "max")]


def _scaled(histogram: Histogram, factor: float) -> Histogram:
    """The same in another unit. The buckets of an exponential one move with the unit when samples are taken."""
    if factor == 1.0:
        return histogram
    told = {name: getattr(histogram, name) for name in ("total", "least", "most")}
    changed = {name: None if value is None else value * factor for name, value in told.items()}
    bounds = tuple(bound * factor for bound in histogram.bounds)
    return msgspec.structs.replace(histogram, bounds=bounds, unit=histogram.unit * factor, **changed)


def _source(resource: Any, scope: Any, *, is_json: bool) -> bytes:
    scope_bytes = bytes(scope) if is_json else scope.SerializeToString(deterministic=True)
    return sha1(_canonical(resource.attributes, is_json=is_json) + scope_bytes, usedforsecurity=False).digest()


def _stream(source: bytes, name: str, attributes: Any, *, is_json: bool) -> str:
    """The identity of a stream of points: who sends it, the metric and all its attributes."""
    text = source + name.encode() + _canonical(attributes, is_json=is_json)
    return sha1(text, usedforsecurity=False).hexdigest()


def _canonical(attributes: Iterable[Any] | None, *, is_json: bool) -> bytes:
    """Attributes as bytes that do not depend on their order."""
    if is_json:
        return b"\n".join(sorted(each.key.encode() + b"=" + bytes(each.value) for each in attributes or ()))
    return b"\n".join(sorted(each.SerializeToString(deterministic=True) for each in attributes or ()))
