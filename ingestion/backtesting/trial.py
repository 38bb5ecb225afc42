"""One configuration over one recording: the engine fed as a partition feeds it, and what it told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import numpy as np

from anomalies.detection.arrays import Columns
from anomalies.detection.engine import Engine
from anomalies.detection.facts import facts
from anomalies.detection.instructions import Instructions
from anomalies.detection.overrides import NO_OVERRIDES, OverrideSet
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.verdicts import Detection, Episode
from ingestion.backtesting.rows import DetectionRow, EpisodeRow, told_at
from ingestion.columns import columns_of, cuts, fresh_places, let_time_pass, samples_of, vectors_of
from ingestion.formats.event import Event
from ingestion.recent import RecentIds

# The topic of all backtests: ids of episodes are functions of the recording alone.
TOPIC_ID = UUID("b7c1f2de-5d0e-4a57-9a3e-1f4d8c60b2a5")
PARTITION = 0
# No record was seen yet, however old the recording is.
LONG_AGO = -(1 << 62)
MS_PER_DAY = 86_400_000


class Opening(NamedTuple):
    """The event at which an episode opened, by its index, and the time of that event (ms)."""

    event: int
    at_ms: int


@dataclass
class Trial:
    """Scores the events of one recording, in the order of their reading, under one configuration.

    An event's offset is its index in the recording, its record time the time of the event itself. `on_detection` is
    given every detection as it comes. `overrides` hold from the first event on.
    """

    name: str
    settings: DetectionSettings
    dedup_window: int
    on_detection: Callable[[DetectionRow], None]
    overrides: OverrideSet = NO_OVERRIDES
    events: int = 0
    repeated: int = 0
    detections: int = 0
    seconds: float = 0.0
    _ended: list[EpisodeRow] = field(default_factory=list)
    _active: dict[UUID, Episode] = field(default_factory=dict)
    _openings: dict[UUID, Opening] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engine = Engine(self.settings, TOPIC_ID, PARTITION, instructions=Instructions(self.overrides))
        self._recent = RecentIds(self.dedup_window)
        self._clock_ms = LONG_AGO
        self._first_ms, self._last_ms = -LONG_AGO, LONG_AGO

    def take(self, events: Sequence[Event]) -> None:
        """Take the next events. How they are cut into batches makes no difference."""
        began = time.perf_counter()
        first = self.events
        self.events += len(events)
        offsets = range(first, self.events)
        places = fresh_places(events, offsets, self._recent)
        self.repeated += len(events) - len(places)
        if places:
            self._score([events[place] for place in places], [offsets[place] for place in places])
        self._drain()
        self.seconds += time.perf_counter() - began

    def _score(self, events: Sequence[Event], offsets: Sequence[int]) -> None:
        records = [event.timestamp_ns // 1_000_000 for event in events]
        self._first_ms, self._last_ms = min(self._first_ms, *records), max(self._last_ms, *records)
        columns = columns_of(events, offsets, records, self.engine.pair_row)
        for start, stop in cuts(columns.record_ms, self._clock_ms):
            part = Columns._make(column[start:stop] for column in columns)
            self._clock_ms = let_time_pass(self.engine, part.record_ms, self._clock_ms, is_recording=True)
            some = events[start:stop]
            for detection in self.engine.score(part, samples_of(some), vectors_of(some, part.offset)):
                self._note(detection)

    def _note(self, detection: Detection) -> None:
        self.detections += 1
        self._openings.setdefault(detection.anomaly_id, Opening(detection.offset, detection.event_ms))
        self.on_detection(_detection_row(detection))

    def _drain(self) -> None:
        for episode in self.engine.drain().episodes:
            if episode.state == "active":
                self._active[episode.id] = episode
            else:
                self._active.pop(episode.id, None)
                self._ended.append(_episode_row(episode, self._openings.pop(episode.id, None)))

    def episodes(self) -> list[EpisodeRow]:
        """What opened so far, in the order of opening."""
        open_now = [_episode_row(episode, self._openings.get(episode.id)) for episode in self._active.values()]
        return sorted([*self._ended, *open_now], key=lambda row: (row.opened_index, str(row.id)))

    @property
    def days(self) -> float:
        """The span of the events' times."""
        return max(0, self._last_ms - self._first_ms) / MS_PER_DAY

    @property
    def series(self) -> tuple[int, int]:
        """How many series have samples enough to be judged, and how many there are."""
        count = len(self.engine.series_keys)
        samples = self.engine.tables.series["samples"][:count]
        return int(np.count_nonzero(samples >= self.settings.min_samples)), count


def _detection_row(detection: Detection) -> DetectionRow:
    return DetectionRow(
        index=detection.offset,
        timestamp=told_at(detection.event_ms),
        service=detection.key.service,
        model=detection.key.model,
        metric=detection.key.metric,
        detector=detection.detector,
        score=detection.score,
        value=detection.value,
    )


def _episode_row(episode: Episode, opening: Opening | None) -> EpisodeRow:
    # What only a clock tells has no detection to it.
    opened = opening or Opening(episode.first_offset, episode.first_seen_ms)
    return EpisodeRow(
        **facts(episode),
        service=episode.key.service,
        opened_index=opened.event,
        first_index=episode.first_offset,
        last_index=episode.last_offset,
        opened_at=told_at(opened.at_ms),
        first_seen=told_at(episode.first_seen_ms),
        last_seen=told_at(episode.last_seen_ms),
        peak=episode.value,
        expected=episode.median if episode.median is not None else episode.mean,
    )
