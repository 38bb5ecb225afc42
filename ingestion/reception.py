"""Telemetry that comes in over HTTP: split, checked, attributed to a project, and in Kafka before it is accepted."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import structlog
from confluent_kafka import KafkaException
from django.conf import settings

from baselines.catalogue import default_project
from baselines.models import Service
from baselines.visibility import visible_project_ids
from ingestion.formats import native, validation
from ingestion.formats.event import Event, partition_key
from ingestion.formats.splitting import split_events
from ingestion.formats.validation import Limits, Rejection
from ingestion.kafka import KeyedProducer, NotDelivered
from ingestion.limits import limits_of
from ingestion.metrics import HTTP_EVENTS, INGESTION_ERRORS, VALIDATION_FAILURES, count_marks

MAX_EVENTS = 10_000
MAX_EVENT_BYTES = 1 << 20
"""Of one event as it was sent; Kafka takes no larger messages either, unless told so."""
QUEUE_SECONDS = 2.0
DELIVERY_SECONDS = 8.0
MESSAGE_TIMEOUT_MS = 6_000
QUEUE_KBYTES = 32_768
"""What may wait for Kafka in a process; librdkafka's own bound is a gigabyte."""
NAMES_PER_QUERY = 500

log = structlog.get_logger(__name__)


class TooManyEvents(Exception):
    """The body holds more than MAX_EVENTS events."""


class QueueFull(NotDelivered):
    """More comes in than Kafka takes: there was no more room to wait in."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One event of a request that was not accepted: its place, and why."""

    index: int
    code: str
    field: str
    error: str

    @classmethod
    def of(cls, index: int, rejection: Rejection) -> Refused:
        return cls(index, rejection.code, rejection.field, str(rejection))


@dataclass(frozen=True, slots=True)
class Marked:
    """One event of a request that was accepted with repairs: its place, and the codes of what was repaired."""

    index: int
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request: how many events are in Kafka, which were refused and which repaired."""

    accepted: int
    rejected: list[Refused]
    marked: list[Marked]

    def as_json(self) -> dict[str, Any]:
        """`marked` is there only if it says something."""
        told = {"accepted": self.accepted, "rejected": [asdict(refused) for refused in self.rejected]}
        return told | ({"marked": [asdict(marked) for marked in self.marked]} if self.marked else {})


def take_in(body: bytes, principal: object, now: datetime, *, is_lines: bool = False) -> Receipt:
    """Accept the events of a request: every one that counts as accepted was acknowledged by Kafka.

    `is_lines` says that each line is an event.

    Raises ValueError, RecursionError and TooManyEvents for a body that cannot be split, NotDelivered (with indexes
    into the request) where Kafka did not take what should have been accepted.
    """
    items = counted(split_events(body, is_lines=is_lines))
    events, rejected = _decoded(items, int(now.timestamp() * 1000))
    foreign = claim_services({event.service for event in events.values()}, visible_project_ids(principal), now)
    outside = [index for index, event in events.items() if event.service in foreign]
    rejected.extend(_foreign(index, events.pop(index).service) for index in outside)
    publish(events)
    _count(events, rejected)
    marked = [Marked(index, event.marks) for index, event in events.items() if event.marks]
    return Receipt(len(events), sorted(rejected, key=lambda refused: refused.index), marked)


def counted(items: Iterable[bytes]) -> list[bytes]:
    """The items. Raises TooManyEvents as soon as there are more than MAX_EVENTS."""
    found = list(islice(items, MAX_EVENTS + 1))
    if len(found) > MAX_EVENTS:
        raise TooManyEvents
    return found


def decode_one(item: bytes, received_ms: int, limits: Limits) -> Event:
    """The event of one item. Raises Rejection."""
    if len(item) > MAX_EVENT_BYTES:
        raise Rejection(validation.OUT_OF_RANGE, "", f"must not have more than {MAX_EVENT_BYTES} bytes")
    return native.decode(item, received_ms=received_ms, limits=limits)


def _decoded(items: list[bytes], received_ms: int) -> tuple[dict[int, Event], list[Refused]]:
    limits = limits_of(settings.SENTINEL)
    events: dict[int, Event] = {}
    rejected: list[Refused] = []
    for index, item in enumerate(items):
        try:
            events[index] = decode_one(item, received_ms, limits)
        except Rejection as rejection:
            rejected.append(Refused.of(index, rejection))
    return events, rejected


def _foreign(index: int, service: str) -> Refused:
    rejection = Rejection(validation.FOREIGN_SERVICE, "service_name", f'"{service}" belongs to another project')
    return Refused.of(index, rejection)


def _count(events: dict[int, Event], rejected: list[Refused]) -> None:
    HTTP_EVENTS.labels("accepted").inc(len(events))
    HTTP_EVENTS.labels("rejected").inc(len(rejected))
    for refused in rejected:
        VALIDATION_FAILURES.labels(refused.code).inc()
    for event in events.values():
        count_marks(event.marks)


def claim_services(names: set[str], project_ids: Collection[int] | None, now: datetime) -> set[str]:
    """Those of the services that the projects may not write to; a new service is created in one of the projects.

    `project_ids` None means all: then a new service is left to the pipeline, which puts it into the default project.
    """
    if project_ids is None or not names:
        return set()
    owners = _owners(names)
    if new := sorted(names - owners.keys()):
        if not project_ids:
            return names
        owner = _home(project_ids)
        rows = [Service(name=name, project_id=owner, first_seen=now, last_seen=now) for name in new]
        # Another request may be creating it at this moment: whoever was first owns it.
        Service.objects.bulk_create(rows, ignore_conflicts=True, batch_size=NAMES_PER_QUERY)
        owners |= _owners(set(new))
    return {name for name, project_id in owners.items() if project_id not in project_ids}


def _owners(names: set[str]) -> dict[str, int]:
    """The project of each service that exists."""
    ordered = sorted(names)
    owners: dict[str, int] = {}
    for start in range(0, len(ordered), NAMES_PER_QUERY):
        known = Service.objects.filter(name__in=ordered[start : start + NAMES_PER_QUERY])
        owners.update(known.values_list("name", "project_id"))
    return owners


def _home(project_ids: Collection[int]) -> int:
    """The project of a new service: of several, the default one if it is among them, else the oldest."""
    if len(project_ids) > 1 and (default := default_project().pk) in project_ids:
        return int(default)
    return min(project_ids)


_lock = threading.Lock()
_producer: KeyedProducer | None = None


def producer() -> KeyedProducer:
    """This process's producer, made when it is first needed (after the web server has forked)."""
    global _producer  # noqa: PLW0603 - one connection to Kafka per process, shared by its threads
    with _lock:
        if _producer is None:
            _producer = KeyedProducer(
                settings.SENTINEL.ingestion.kafka,
                message_timeout_ms=MESSAGE_TIMEOUT_MS,
                queue_buffering_max_kbytes=QUEUE_KBYTES,
            )
        return _producer


def forget_producer() -> None:
    """Let the next request make a new producer: after a failure this one may be beyond recovery."""
    global _producer  # noqa: PLW0603
    with _lock:
        _producer = None


def publish(events: dict[int, Event]) -> None:
    """Write events to the telemetry topic and wait for the acknowledgements.

    Raises NotDelivered with the keys of `events` that Kafka did not take; all others are taken.
    """
    if not events:
        return
    topic = settings.SENTINEL.ingestion.kafka.topic
    try:
        batch = producer().batch()
        for event in events.values():
            key = partition_key(event.service, event.model)
            batch.send(topic, native.encode(event), key, deadline=QUEUE_SECONDS)
        batch.wait(DELIVERY_SECONDS)
    except (NotDelivered, BufferError, KafkaException) as error:
        raise _lost(error, list(events)) from error


def _lost(error: Exception, indexes: list[int]) -> NotDelivered:
    """The failure in terms of the request's indexes, counted and logged. What is uncertain counts as lost."""
    INGESTION_ERRORS.labels("kafka_unavailable").inc()
    log.error("events_not_delivered", error=str(error), events=len(indexes))
    if isinstance(error, BufferError):
        return QueueFull([(index, str(error)) for index in indexes])
    forget_producer()
    if isinstance(error, NotDelivered):
        return NotDelivered([(indexes[place], reason) for place, reason in error.failures])
    return NotDelivered([(index, str(error)) for index in indexes])
