"""What the three paths take in: decoded, attributed to a project, and in Kafka before it counts as accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from django.conf import settings

from baselines.visibility import visible_project_ids
from ingestion import reception
from ingestion.formats import validation
from ingestion.formats.event import Event
from ingestion.formats.otlp import events_of, increments, logs_of, points_of, spans_of
from ingestion.formats.otlp.envelopes import Decoded, Encoding, SignalName
from ingestion.formats.otlp.sampling import Pair, timed_pairs
from ingestion.formats.validation import Limits, Rejection
from ingestion.limits import limits_of
from ingestion.metrics import HTTP_EVENTS, OTLP_IGNORED, VALIDATION_FAILURES, count_marks
from ingestion.otlp.memory import Recollection

MAX_CALLS = 50_000
"""LLM calls of one request."""
MAX_POINTS = 20_000
"""Data points of one request."""

DECODERS: dict[SignalName, Callable[..., Decoded]] = {"traces": spans_of, "logs": logs_of}


def take_in(
    signal: SignalName, payload: bytes, encoding: Encoding, principal: object, now: datetime
) -> list[Rejection]:
    """Take the LLM calls of a request in; returns what was refused. All else is in Kafka, or is no LLM call.

    Raises Unreadable, reception.TooManyEvents, redis.RedisError, NotDelivered (then nothing counts as accepted; whoever
    sends it all again sends the same ids, so that what was stored is recognised).
    """
    recollection, limits = Recollection(), limits_of(settings.SENTINEL)
    decoded = decode(
        signal, payload, encoding, received_ms=int(now.timestamp() * 1000), limits=limits, recollection=recollection
    )
    if len(decoded.events) > MAX_CALLS:
        raise reception.TooManyEvents
    keep_own(decoded, principal, now)
    reception.publish(dict(enumerate(decoded.events)))
    note_counted(signal, decoded.events, recollection)
    recollection.keep()
    count(signal, decoded)
    return decoded.rejections


def decode(
    signal: SignalName,
    payload: bytes,
    encoding: Encoding,
    *,
    received_ms: int,
    limits: Limits,
    recollection: Recollection,
) -> Decoded:
    """The LLM calls that a request of any signal tells of; `recollection` learns what metrics make of it.

    Raises Unreadable, reception.TooManyEvents, redis.RedisError (metrics only).
    """
    if signal == "metrics":
        return _sampled(payload, encoding, received_ms, limits, recollection)
    return DECODERS[signal](payload, encoding, received_ms=received_ms, limits=limits)


def note_counted(signal: SignalName, events: Iterable[Event], recollection: Recollection) -> None:
    """Have metrics about the same services and models not count once more what these spans count."""
    if signal == "traces":
        recollection.note("spans", {(event.service, event.model) for event in events})


def _sampled(
    payload: bytes, encoding: Encoding, received_ms: int, limits: Limits, recollection: Recollection
) -> Decoded:
    """The calls that metrics tell of; the streams they continue are kept when they are in Kafka."""
    read = points_of(payload, encoding, limits)
    if len(read.points) > MAX_POINTS:
        raise reception.TooManyEvents
    kept = recollection.last_points(point.stream for point in read.points if point.is_cumulative)
    found, lasts = increments(read.points, kept)
    durations, pairs = timed_pairs(found), {(point.origin.service, point.calls.model) for point in found}
    decoded = events_of(
        found,
        received_ms=received_ms,
        limits=limits,
        most=MAX_CALLS,
        counted=_counted(pairs, recollection),
        timed=durations | recollection.seen("durations", pairs),
    )
    decoded.rejections[:0], decoded.ignored = read.rejections, decoded.ignored + read.ignored
    recollection.note("durations", durations)
    recollection.add_points(lasts)
    return decoded


def _counted(pairs: set[Pair], recollection: Recollection) -> set[Pair]:
    """The services and models whose metrics do not count."""
    mode = settings.SENTINEL.ingestion.otlp.metrics
    return recollection.seen("spans", pairs) if mode == "auto" else set() if mode == "always" else pairs


def keep_own(decoded: Decoded, principal: object, now: datetime) -> None:
    """Refuse the calls of services that belong to projects the sender may not write to."""
    project_ids = visible_project_ids(principal) if getattr(principal, "is_authenticated", False) else None
    foreign = reception.claim_services({event.service for event in decoded.events}, project_ids, now)
    if foreign:
        refused = [event.service for event in decoded.events if event.service in foreign]
        decoded.events = [event for event in decoded.events if event.service not in foreign]
        decoded.rejections += [foreign_service(service) for service in refused]


def foreign_service(service: str) -> Rejection:
    return Rejection(validation.FOREIGN_SERVICE, "service.name", f'"{service}" belongs to another project')


def count(signal: SignalName, decoded: Decoded) -> None:
    """Count what became of a request."""
    HTTP_EVENTS.labels("accepted").inc(len(decoded.events))
    HTTP_EVENTS.labels("rejected").inc(len(decoded.rejections))
    OTLP_IGNORED.labels(signal).inc(decoded.ignored)
    for rejection in decoded.rejections:
        VALIDATION_FAILURES.labels(rejection.code).inc()
    for event in decoded.events:
        count_marks(event.marks)
