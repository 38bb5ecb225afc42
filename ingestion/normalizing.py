"""A portion of one partition's records on its way to the telemetry topic: what they hold, and what is sent for it."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from confluent_kafka import Message

from baselines.store import PartitionName
from ingestion import metrics
from ingestion.dead_letters import TAKEN_HEADER, Record, Taken, dead_letter, headers
from ingestion.formats import native
from ingestion.formats.event import Event, partition_key
from ingestion.formats.otlp import Decoded
from ingestion.formats.validation import Limits, Rejection
from ingestion.inlets import Inlet, name_events
from ingestion.otlp.memory import Recollection
from ingestion.otlp.reception import note_counted
from ingestion.partition import NO_BOUND_MS
from ingestion.recent import identity

MOST_EVENTS = 10_000
"""Events after which a portion is full; one record may hold more."""
MOST_TOLD = 50_000
"""Identities that a dead letter lists at most: 400 kB."""
REASONS_NAMED = 5


@dataclass(slots=True)
class _Taken:
    """One record that was taken in."""

    record: Record
    decoded: Decoded
    before: Taken

    def after(self, *, can_tell: bool) -> Taken:
        """What is taken of the record now, this time and before."""
        events = self.decoded.events
        ids = self.before.ids + array("Q", [_identity(event) for event in events]).tobytes()
        is_told = can_tell and self.before.is_told and len(ids) <= 8 * MOST_TOLD
        return Taken(self.before.seed, self.before.count + len(events), ids if is_told else b"")


@dataclass(slots=True)
class Portion:
    """Records of one partition, in order; `messages` of them are in, up to `next_offset`."""

    name: PartitionName
    inlet: Inlet
    recollection: Recollection = field(default_factory=Recollection)
    messages: int = 0
    next_offset: int = 0
    events: int = 0
    _taken: list[_Taken] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return self.events >= MOST_EVENTS

    @property
    def refused(self) -> int:
        """Items that were refused."""
        return sum(len(taken.decoded.rejections) for taken in self._taken)

    @property
    def usable(self) -> int:
        """Items that were not."""
        return self.events + sum(taken.decoded.ignored for taken in self._taken)

    def take(self, message: Message, limits: Limits) -> None:
        """Decode one record. Raises redis.RedisError (metrics only); then the portion ends before it."""
        record = Record.of(message)
        before = taken_before(message, record)
        decoded = self.inlet.decode(
            record.payload or b"",
            received_ms=NO_BOUND_MS if record.timestamp_ms is None else record.timestamp_ms,
            limits=limits,
            recollection=self.recollection,
        )
        name_events(decoded.events, before.seed)
        if before.ids:
            known = set(array("Q", before.ids))
            decoded.events = [event for event in decoded.events if _identity(event) not in known]
        if self.inlet.signal is not None:
            note_counted(self.inlet.signal, decoded.events, self.recollection)
        self._taken.append(_Taken(record, decoded, before))
        self.events += len(decoded.events)
        self.messages += 1
        self.next_offset = record.offset + 1

    def outgoing(self, ingestion: Any, limits: Limits) -> Iterator[dict[str, Any]]:
        """Arguments of `Batch.send` for each event and each dead letter, as the section `ingestion` has it.

        Events bear the time of their record, so that a repetition is the same message; but none of the future, which
        Kafka may refuse.
        """
        now_ms = int(time.time() * 1000)
        for taken in self._taken:
            arrived_ms = min(taken.record.timestamp_ms or 0, now_ms)
            for event in taken.decoded.events:
                yield {
                    "topic": ingestion.kafka.topic,
                    "value": native.encode(event),
                    "key": partition_key(event.service, event.model),
                    "timestamp_ms": arrived_ms,
                }
            yield from self._letters(taken, ingestion, limits)

    def _letters(self, taken: _Taken, ingestion: Any, limits: Limits) -> Iterator[dict[str, Any]]:
        """One dead letter for each reason, however many items were refused for it."""
        if not taken.decoded.rejections:
            return
        record, most = taken.record, ingestion.dead_letters.max_payload_bytes
        specimen = self.inlet.specimen(record.payload or b"", most)
        about = Record(record.topic, record.partition, record.offset, record.timestamp_ms, specimen)
        after = taken.after(can_tell=self.inlet.signal != "metrics")
        for rejection in _by_code(taken.decoded):
            value = dead_letter(
                about,
                rejection,
                patterns=limits.sanitize_patterns,
                scrubber=limits.scrubber,
                max_payload_bytes=most,
                taken=after,
            )
            yield {"topic": ingestion.kafka.dead_letter_topic, "value": value, "headers": headers(rejection)}

    def count(self) -> None:
        """Count what became of the portion, once it is in Kafka."""
        topic = self.name.topic
        metrics.KAFKA_MESSAGES_CONSUMED.labels(topic).inc(self.messages)
        metrics.NORMALIZED_EVENTS.labels(topic).inc(self.events)
        for taken in self._taken:
            metrics.OTLP_IGNORED.labels(self.inlet.signal or "events").inc(taken.decoded.ignored)
            for rejection in taken.decoded.rejections:
                metrics.VALIDATION_FAILURES.labels(rejection.code).inc()
            for event in taken.decoded.events:
                metrics.count_marks(event.marks)


def taken_before(message: Message, record: Record) -> Taken:
    """What was taken of a record when it was first here, if it is one that was sent again; else only its place."""
    found: Any = message.headers() or ()  # a list of pairs, whatever the stubs say
    for name, value in found:
        if name == TAKEN_HEADER and isinstance(value, bytes):
            try:
                return msgspec.json.decode(value, type=Taken)
            except msgspec.MsgspecError:
                break  # somebody else's header
    return Taken(f"{record.topic}[{record.partition}]@{record.offset}")


def _identity(event: Event) -> int:
    return identity(event.service, event.event_id or "")


def _by_code(decoded: Decoded) -> Iterator[Rejection]:
    """The rejections of each code as one, which says how many items it is about."""
    by_code: dict[str, list[Rejection]] = {}
    for rejection in decoded.rejections:
        by_code.setdefault(rejection.code, []).append(rejection)
    for code, some in by_code.items():
        yield some[0] if len(some) == 1 else Rejection(code, some[0].field, _summary(some))


def _summary(some: list[Rejection]) -> str:
    reasons = Counter(map(str, some)).most_common(REASONS_NAMED)
    told = "; ".join(f"{count} x {reason}" for reason, count in reasons)
    return f"{len(some)} items refused. {told}"
