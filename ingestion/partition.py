"""One partition in the hands of its owner: from messages to verdicts, with all the state that takes."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from anomalies.detection.arrays import NEVER, Columns
from anomalies.detection.engine import OTHER, Engine
from anomalies.detection.instructions import Instructions
from anomalies.detection.obedience import take_up
from anomalies.detection.saving import StateWriter
from anomalies.detection.verdicts import Detection, Episode, Minute
from baselines.checkpoints import Tick
from baselines.metrics import EVENTS_CAPPED
from baselines.stats.series import FREE, Pair
from baselines.store import Holding, Image, PartitionName
from ingestion import failpoints, metrics
from ingestion.columns import columns_of, cuts, fresh_places, let_time_pass, samples_of, vectors_of
from ingestion.dead_letters import Record
from ingestion.formats.batches import decode_all
from ingestion.formats.event import Event, partition_key
from ingestion.formats.identity import event_id
from ingestion.formats.validation import Limits, Rejection
from ingestion.idleness import Idleness
from ingestion.messages import detection_message
from ingestion.recent import RecentIds

# How far the catalogue may be behind.
SEEN_MS = 60_000
NO_BOUND_MS = 1 << 62
MOST_SEEN = 100_000
LAST_TICK = "t"  # piece of the state: the number of the last tick in it

_kafka_key = lru_cache(maxsize=32_768)(partition_key)


def arrived_ms(message: Message) -> int:
    """When a message came to Kafka (unix time), NO_BOUND_MS if that is not known."""
    kind, record_ms = message.timestamp()
    return NO_BOUND_MS if kind == TIMESTAMP_NOT_AVAILABLE else record_ms


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
    capped: dict[Pair, int]  # the same of pairs that share the row of OTHER
    providers: dict[Pair, str]  # of both, where their events say who served them
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
    ticks: deque[Tick] = field(default_factory=deque)  # still to be replayed
    last_tick: int = 0  # number of the last one that was let pass
    is_at_end: bool = False
    is_lost: bool = False  # fenced: somebody else owns it
    is_whole_wanted: bool = False  # the store has nothing to add changes to
    is_unsaved: bool = False  # the store did not take the latest state yet

    def __post_init__(self) -> None:
        self.clock_ms = self._newest_record()
        self.idleness = Idleness()
        self._drained_offset = self.next_offset
        self._drained_tick = self.last_tick
        self._heard: Instructions | None = None  # the last that was no news
        self._seen: dict[Pair, int] = {}
        self._providers: dict[tuple[str, str], str] = {}
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
        with metrics.STAGE_SECONDS.labels("decode").time():
            events, offsets, records = self._decode(messages)
        failpoints.reach("decode")
        invalid = len(messages) - len(events)
        events, offsets, records = self._once(events, offsets, records)
        if events:
            with metrics.STAGE_SECONDS.labels("score").time():
                self._score(events, offsets, records)
            metrics.count_events(events)
        failpoints.reach("score")
        self.next_offset = int(messages[-1].offset()) + 1  # type: ignore[arg-type]
        self.replay_due_ticks()
        return len(messages) - invalid, invalid

    def _decode(self, messages: Sequence[Message]) -> tuple[list[Event], list[int], list[int]]:
        events: list[Event] = []
        offsets: list[int] = []
        records: list[int] = []
        arrivals = [arrived_ms(message) for message in messages]
        decoded = decode_all([message.value() or b"" for message in messages], arrivals, self.limits)
        for message, event, record_ms in zip(messages, decoded, arrivals, strict=True):
            if isinstance(event, Rejection):
                self._refused.append((Record.of(message), event))
                metrics.VALIDATION_FAILURES.labels(event.code).inc()
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
        """Score events in parts between which ticks are let pass: those may take away the row of a pair."""
        ticks = np.searchsorted(offsets, [tick.offset for tick in self.ticks]).tolist()
        for start, stop in pairwise(sorted({0, *ticks, len(events)})):
            self._replay_ticks(offsets[start])
            self._score_part(events[start:stop], offsets[start:stop], records[start:stop])

    def _score_part(self, events: list[Event], offsets: list[int], records: list[int]) -> None:
        columns = columns_of(events, offsets, records, self.engine.pair_row)
        for start, stop in cuts(columns.record_ms, self.clock_ms):
            part = Columns._make(column[start:stop] for column in columns)
            self.clock_ms = let_time_pass(self.engine, part.record_ms, self.clock_ms)
            some = events[start:stop]
            self._providers |= {(event.service, event.model): event.provider for event in some if event.provider}
            detections = self.engine.score(part, samples_of(some), vectors_of(some, part.offset))
            for detection in detections:
                metrics.DETECTIONS.labels(detection.detector, detection.severity).inc()
            self._detections += [self._message(detection, some[detection.event]) for detection in detections]

    def _message(self, detection: Detection, event: Event) -> tuple[bytes, bytes]:
        name = self.name
        identifier = event.event_id or event_id(name.topic_id, name.partition, detection.offset)
        return detection_message(detection, identifier, name.topic_id, name.partition)

    # Ticks

    def due_tick(self, newest: Instructions | None = None) -> Tick | None:
        """What has to happen now and is no event: idle time that ends something, and `newest` if it is news."""
        if self.ticks:
            return None
        is_news = newest is not None and newest is not self._heard and newest != self.engine.instructions
        self._heard = None if is_news else newest
        now_ms = self._due_time()
        if now_ms is None and not is_news:
            return None
        return Tick(self.next_offset, now_ms, newest.to_bytes() if newest and is_news else None)

    def _due_time(self) -> int | None:
        """The record time up to which idle time has to pass now, None while nothing would come of it.

        Only in a partition that was read to its end, and by its idle time since the last message: neither a backlog nor
        a broker that is down nor a clock that is wrong tells anything early.
        """
        seconds = self.idleness.seconds()
        if not self.is_at_end or seconds is None:
            return None
        due = self.engine.earliest_due()
        now_ms = self.clock_ms + int(seconds * 1000)
        return now_ms if due != NEVER and due <= now_ms else None

    def tick(self, tick: Tick) -> None:
        """Let a tick pass, which must be durable already."""
        if tick.instructions is not None:
            take_up(self.engine, Instructions.from_bytes(tick.instructions))
        if tick.now_ms is not None:
            self.engine.advance(tick.now_ms)
        self.last_tick = tick.number

    def replay_due_ticks(self) -> None:
        """Let the ticks pass that stand before the next event."""
        self._replay_ticks(self.next_offset)

    def _replay_ticks(self, offset: int) -> None:
        while self.ticks and self.ticks[0].offset <= offset:
            self.tick(self.ticks.popleft())

    # What came of it

    @property
    def pair_count(self) -> int:
        """Pairs with a state, OTHER included."""
        return len(self.engine.pairs) - len(self.engine.free_rows)

    @property
    def held_samples(self) -> int:
        """Samples in the windows of all series."""
        learned = self.engine.tables.series["learned"][: len(self.engine.series_keys)]
        return int(np.minimum(learned, self.engine.settings.window).sum())

    @property
    def has_detections(self) -> bool:
        return bool(self._detections)

    @property
    def has_news(self) -> bool:
        is_further = self.next_offset != self._drained_offset or self.last_tick != self._drained_tick
        return is_further or bool(self.engine.touched)

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
        if self.last_tick != self._drained_tick or (is_whole and self.last_tick):
            pieces[LAST_TICK] = str(self.last_tick).encode()
        EVENTS_CAPPED.inc(sum(changes.capped.values()))
        metrics.EMBEDDINGS_SKIPPED.inc(changes.skipped_embeddings)
        stored = holding.fields if holding else set()
        last_seen, capped = self._newly_seen(changes.touched_pairs), self._newly_capped(changes.capped)
        work = Work(
            partition=self,
            offset=self.next_offset,
            is_whole=is_whole,
            pieces=pieces,
            outdated=self.recent.outdated(stored, self.next_offset) | self.writer.outdated,
            episodes=changes.episodes,
            minutes=changes.minutes,
            last_seen=last_seen,
            capped=capped,
            providers=self._providers_of([*last_seen, *capped]),
            detections=self._detections,
            refused=self._refused,
        )
        self._detections, self._refused = [], []
        self._drained_offset, self._drained_tick = self.next_offset, self.last_tick
        return work

    def _newly_seen(self, rows: Sequence[int]) -> dict[Pair, int]:
        """The touched pairs that the catalogue does not know, or knows as last seen a while ago."""
        engine = self.engine
        marks = {engine.pairs[row]: int(engine.tables.pairs[row]["watermark"]) for row in rows}
        marks.pop(FREE, None)
        return self._news_of(marks)

    def _newly_capped(self, pairs: Iterable[Pair]) -> dict[Pair, int]:
        """The same of pairs that share the row of all that are too many; they were seen as lately as it was."""
        pairs = list(pairs)
        if not pairs:
            return {}
        mark = int(self.engine.tables.pairs[self.engine.index[OTHER]]["watermark"])
        return self._news_of(dict.fromkeys(pairs, mark))

    def _news_of(self, marks: dict[Pair, int]) -> dict[Pair, int]:
        if len(self._seen) > MOST_SEEN:  # there is no end to the names of capped pairs
            self._seen.clear()
        news = {pair: mark for pair, mark in marks.items() if mark > self._seen.get(pair, -math.inf) + SEEN_MS}
        self._seen |= news
        return news

    def _providers_of(self, pairs: Sequence[Pair]) -> dict[Pair, str]:
        if len(self._providers) > MOST_SEEN:
            self._providers = {pair: self._providers[pair] for pair in pairs if pair in self._providers}
        return {pair: self._providers[pair] for pair in pairs if pair in self._providers}

    def image(self, work: Work) -> Image:
        """The whole state, from a drain that encoded all of it."""
        return Image(self.name, work.offset, work.pieces)
