"""What the store role holds of each partition it reads: messages decoded, and not handed to the writer yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from confluent_kafka import Message

from baselines.store import PartitionName
from ingestion import metrics
from ingestion.formats.batches import decode_all
from ingestion.formats.event import Event
from ingestion.formats.validation import Limits, Rejection
from ingestion.partition import arrived_ms
from ingestion.recent import RecentIds, identity

log = structlog.get_logger(__name__)


@dataclass
class Source:
    """One partition of a topic with telemetry or detections: what was read of it and not handed to the writer."""

    name: PartitionName
    first: int  # messages before it were stored already; they are read for their identities only
    next_offset: int
    recent: RecentIds | None  # None for detections, which overwrite themselves
    offsets: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    detections: list[dict[str, Any]] = field(default_factory=list)
    unwritten: bool = False

    def take(self, messages: Sequence[Message], limits: Limits) -> None:
        """Decode messages in the order of their offsets. Invalid ones are the detect role's to report."""
        if self.recent is None:
            self._take_detections(messages)
        else:
            self._take_events(messages, self.recent, limits)
        self.next_offset = int(messages[-1].offset()) + 1  # type: ignore[arg-type]
        self.unwritten = self.next_offset > self.first

    def _take_events(self, messages: Sequence[Message], recent: RecentIds, limits: Limits) -> None:
        first = self.first
        payloads, arrivals = [message.value() or b"" for message in messages], list(map(arrived_ms, messages))
        for message, event in zip(messages, decode_all(payloads, arrivals, limits), strict=True):
            if isinstance(event, Rejection):
                continue
            offset: int = message.offset()  # type: ignore[assignment]
            if event.event_id is not None and recent.is_repeated(identity(event.service, event.event_id), offset):
                continue
            if offset >= first:
                event.embedding = b""  # is not stored, so what waits to be stored need not hold it
                self.offsets.append(offset)
                self.events.append(event)

    def _take_detections(self, messages: Sequence[Message]) -> None:
        for message in messages:
            try:
                self.detections.append(msgspec.json.decode(message.value() or b"", type=dict[str, Any]))
            except msgspec.MsgspecError as error:
                # Only the detect role writes there; somebody else's message has nowhere to be stored.
                metrics.INGESTION_ERRORS.labels("foreign_detection").inc()
                log.warning("foreign_detection", offset=message.offset(), error=str(error))

    def drain(self) -> Load:
        load = Load(self, self.next_offset, self.offsets, self.events, self.detections)
        self.offsets, self.events, self.detections, self.unwritten = [], [], [], False
        return load


@dataclass
class Load:
    """Rows of one partition that are to be stored before `next_offset` may be committed."""

    source: Source
    next_offset: int
    offsets: list[int]
    events: list[Event]
    detections: list[dict[str, Any]]
