"""One partition in the hands of its owner: from messages to verdicts, with all the state that takes."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from anomalies.detection.arrays import NEVER, Columns
from anomalies.detection.engine import Engine
from anomalies.detection.state import StateWriter
from anomalies.detection.verdicts import Detection, Episode, Minute
from baselines.stats.series import Pair
from baselines.store import Holding, Image, PartitionName
from ingestion import failpoints, metrics
from ingestion.columns import columns_of, cuts, fresh_places, let_time_pass, samples_of
from ingestion.dead_letters import Record
from ingestion.formats import native
from ingestion.formats.event import Event, partition_key
from ingestion.formats.identity import event_id
from ingestion.formats.validation import Limits, Rejection
from ingestion.idleness import Idleness
from ingestion.messages import detection_message
from ingestion.recent import RecentIds

# How far the catalogue may be behind.
SEEN_MS = 60_000
NO_BOUND_MS = 1 << 62

_kafka_key = lru_cache(maxsize=32_768)(partition_key)


@dataclass
class Work:
    """What is to be made durable for one partition before `offset` may be committed."""

    partition: OwnedPartition
    offset: int
    is_whole: bool  # `pieces` is the whole state, not only what changed
    pieces: dict[str, bytes]
    outdated: set[str]
    episodes: list[Episode]
    minutes: list[Minute]
    last_seen: dict[Pair, int]
    detections: list[tuple[bytes, bytes]]
    refused: list[tuple[Record, Rejection]]


@dataclass(eq=False)
class OwnedPartition:
    """Decodes, deduplicates and scores the messages of one partition; `drain` hands out what came of them."""

    name: PartitionName
    engine: Engine
    writer: StateWriter
    recent: RecentIds
    limits: Limits
    next_offset: int
    holding: Holding | None = None
    ticks: deque[tuple[int, int]] = field(default_factory=deque)  # (offset, now_ms) still to be replayed
    is_at_end: bool = False
    is_lost: bool = False  # fenced: somebody else owns it
    is_whole_wanted: bool = False  # the store has nothing to add changes to
    is_unsaved: bool = False  # the store did not take the latest state yet

    def __post_init__(self) -> None:
        self.clock_ms = self._newest_record()
        self.idleness = Idleness()
        self._drained_offset = self.next_offset
        self._seen: dict[int, int] = {}
        self._detections: list[tuple[bytes, bytes]] = []
        self._refused: list[tuple[Record, Rejection]] = []

    def _newest_record(self) -> int:
        records = self.engine.tables.pairs["last_record"][: len(self.engine.pairs)]
        return int(records.max()) if len(records) else 0

    # Messages

    def take(self, messages: Sequence[Message]) -> tuple[int, int]:
        """Take messages in the order of their offsets; returns how many were valid and how many invalid."""
        self.is_at_end = False
        self.idleness.interrupt(time.monotonic())
        events, offsets, records = self._decode(messages)
        failpoints.reach("decode")
        invalid = len(messages) - len(events)
        events, offsets, records = self._once(events, offsets, records)
        if events:
            self._score(events, offsets, records)
        failpoints.reach("score")
        self.next_offset = int(messages[-1].offset()) + 1  # type: ignore[arg-type]
        self.replay_due_ticks()
        return len(messages) - invalid, invalid

    def _decode(self, messages: Sequence[Message]) -> tuple[list[Event], list[int], list[int]]:
        events: list[Event] = []
        offsets: list[int] = []
        records: list[int] = []
        decode, limits = native.decode, self.limits
        for message in messages:
            kind, record_ms = message.timestamp()
            if kind == TIMESTAMP_NOT_AVAILABLE:
                record_ms = NO_BOUND_MS
            try:
                event = decode(message.value() or b"", received_ms=record_ms, limits=limits)
            except Rejection as rejection:
                self._refused.append((Record.of(message), rejection))
                continue
            events.append(event)
            offsets.append(message.offset())  # type: ignore[arg-type]
            records.append(record_ms if record_ms != NO_BOUND_MS else event.timestamp_ns // 1_000_000)
            if message.key() != _kafka_key(event.service, event.model):
                metrics.UNKEYED_EVENTS.inc()
        return events, offsets, records

    def _once(
        self, events: list[Event], offsets: list[int], records: list[int]
    ) -> tuple[list[Event], list[int], list[int]]:
        fresh = fresh_places(events, offsets, self.recent)
        if len(fresh) == len(events):
            return events, offsets, records
        metrics.DUPLICATE_EVENTS.inc(len(events) - len(fresh))
        return [events[p] for p in fresh], [offsets[p] for p in fresh], [records[p] for p in fresh]

    # Scoring

    def _score(self, events: list[Event], offsets: list[int], records: list[int]) -> None:
        columns = columns_of(events, offsets, records, self.engine.pair_row)
        ticks = np.searchsorted(columns.offset, [offset for offset, _ in self.ticks]).tolist()
        for start, stop in cuts(columns.record_ms, self.clock_ms, more=ticks):
            part = Columns._make(column[start:stop] for column in columns)
            self._let_time_pass(part)
            some = events[start:stop]
            detections = self.engine.score(part, samples_of(some))
            self._detections += [self._message(detection, some[detection.event]) for detection in detections]

    def _let_time_pass(self, part: Columns) -> None:
        while self.ticks and self.ticks[0][0] <= part.offset[0]:
            self.engine.advance(self.ticks.popleft()[1])
        self.clock_ms = let_time_pass(self.engine, part.record_ms, self.clock_ms)

    def _message(self, detection: Detection, event: Event) -> tuple[bytes, bytes]:
        name = self.name
        identifier = event.event_id or event_id(name.topic_id, name.partition, detection.offset)
        return detection_message(detection, identifier, name.topic_id, name.partition)

    # Idle time

    def due_tick(self) -> int | None:
        """The record time up to which idle time has to pass now, None while nothing would come of it.

        Only in a partition that was read to its end, and by its idle time since the last message: neither a backlog nor
        a broker that is down nor a clock that is wrong tells anything early.
        """
        seconds = self.idleness.seconds()
        if not self.is_at_end or self.ticks or seconds is None:
            return None
        due = self.engine.earliest_due()
        now_ms = self.clock_ms + int(seconds * 1000)
        return now_ms if due != NEVER and due <= now_ms else None

    def tick(self, now_ms: int) -> None:
        """Let idle time pass up to `now_ms`; the tick must be durable already."""
        self.engine.advance(now_ms)

    def replay_due_ticks(self) -> None:
        """Let the ticks pass that stand before the next event."""
        while self.ticks and self.ticks[0][0] <= self.next_offset:
            self.engine.advance(self.ticks.popleft()[1])

    # What came of it

    @property
    def has_detections(self) -> bool:
        return bool(self._detections)

    @property
    def has_news(self) -> bool:
        return self.next_offset != self._drained_offset or bool(self.engine.touched)

    def drain(self) -> Work:
        """Everything since the last drain, with the state that covers it."""
        changes = self.engine.drain()
        rows: Sequence[int] = changes.touched_pairs
        # The writer's thread may lose the state and want it whole at any moment; then it is, by this drain or the next.
        holding, is_whole = self.holding, self.is_whole_wanted
        if is_whole:
            self.is_whole_wanted = False
            self.writer = StateWriter(self.engine)
            self.recent.mark_changed()
            rows = range(len(self.engine.pairs))
        pieces = self.writer.encode(rows) | self.recent.encode()
        stored = holding.fields if holding else set()
        work = Work(
            partition=self,
            offset=self.next_offset,
            is_whole=is_whole,
            pieces=pieces,
            outdated=self.recent.outdated(stored, self.next_offset),
            episodes=changes.episodes,
            minutes=changes.minutes,
            last_seen=self._newly_seen(changes.touched_pairs),
            detections=self._detections,
            refused=self._refused,
        )
        self._detections, self._refused = [], []
        self._drained_offset = self.next_offset
        return work

    def _newly_seen(self, rows: Sequence[int]) -> dict[Pair, int]:
        """The touched pairs that the catalogue does not know, or knows as last seen a while ago."""
        marks = self.engine.tables.pairs["watermark"]
        seen = {}
        for row in rows:
            mark = int(marks[row])
            if mark > self._seen.get(row, -math.inf) + SEEN_MS:
                self._seen[row] = mark
                seen[self.engine.pairs[row]] = mark
        return seen

    def image(self, work: Work) -> Image:
        """The whole state, from a drain that encoded all of it."""
        return Image(self.name, work.offset, work.pieces)
