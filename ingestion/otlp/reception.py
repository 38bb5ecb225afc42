"""What the three paths take in: decoded, attributed to a project, and in Kafka before it counts as accepted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.conf import settings

from baselines.visibility import visible_project_ids
from ingestion import reception
from ingestion.formats import validation
from ingestion.formats.otlp import logs_of, spans_of
from ingestion.formats.otlp.envelopes import Decoded, Encoding, SignalName
from ingestion.formats.validation import Limits, Rejection
from ingestion.metrics import HTTP_EVENTS, OTLP_IGNORED, VALIDATION_FAILURES, count_marks

MAX_CALLS = 50_000
"""LLM calls of one request."""

DECODERS: dict[SignalName, Callable[..., Decoded]] = {"traces": spans_of, "logs": logs_of}


def take_in(
    signal: SignalName, payload: bytes, encoding: Encoding, principal: object, now: datetime
) -> list[Rejection]:
    """Take the LLM calls of a request in; returns what was refused. All else is in Kafka, or is no LLM call.

    Raises Unreadable, reception.TooManyEvents, NotDelivered (then nothing counts as accepted; whoever sends it all
    again sends the same ids, so that what was stored is recognised).
    """
    limits, received_ms = Limits.of(settings.SENTINEL.ingestion), int(now.timestamp() * 1000)
    decoded = DECODERS[signal](payload, encoding, received_ms=received_ms, limits=limits)
    if len(decoded.events) > MAX_CALLS:
        raise reception.TooManyEvents
    keep_own(decoded, principal, now)
    reception.publish(dict(enumerate(decoded.events)))
    count(signal, decoded)
    return decoded.rejections


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
