"""The engine: learns and scores the series of one partition, and tells what departed from normal.

engine = Engine(settings, topic_id, partition)
detections = engine.score(columns)        # as often as batches come
changes = engine.drain()                  # since the last drain: episodes, closed minutes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import (
    absence,
    arrays,
    bands,
    calibrated,
    channels,
    embeddings,
    evidence,
    kernel,
    minutes,
    novel,
    obedience,
    sketching,
    telling,
    watches,
)
from anomalies.detection.arrays import (
    CLOSED,
    DETECTIONS,
    DEVIANTS,
    DIRECTIONS,
    ENDED,
    LARGEST,
    MOST_EPISODES,
    NEVER,
    NO_ROW,
    OPENED,
    Columns,
    Found,
    Tables,
)
from anomalies.detection.dimensions import Sample
from anomalies.detection.embeddings import Embeddings, Vector, Vectors
from anomalies.detection.episodes import count_open
from anomalies.detection.instructions import NO_INSTRUCTIONS, Instructions
from anomalies.detection.notes import Note
from anomalies.detection.policies import Policies
from anomalies.detection.settings import DETECTORS, DetectionSettings
from anomalies.detection.verdicts import Changes, Detection, Episode, Minute, episode_id
from baselines.stats.series import FREE, METRICS, Pair, SeriesKey

OTHER = Pair("__other__", "__other__")
CHUNK = 512  # events per call of the kernel: bounds the room its findings need
LONG_AGO = -(1 << 62)


@dataclass
class Engine:
    """The detection state of one partition and what is done with it.

    Not thread-safe: one thread scores; what it drained may go anywhere.
    """

    settings: DetectionSettings
    topic_id: UUID
    partition: int
    pairs: list[Pair] = field(default_factory=list)
    series_keys: list[tuple[int, int]] = field(default_factory=list)  # (pair, metric) of each series
    notes: dict[tuple[int, int, int, int], Note] = field(default_factory=dict)  # by Place, first offset
    instructions: Instructions = NO_INSTRUCTIONS  # in force; changed by anomalies.detection.obedience alone

    def __post_init__(self) -> None:
        self.is_calibrated = self.settings.mode == "calibrated"
        rows = 16 if self.is_calibrated else arrays.FEWEST_ROWS
        self.tables: Tables = arrays.allocate(16, 64, CHUNK + 64, self.settings.window, aggregates=rows)
        self.channels = channels.allocate(rows)
        self.watches = watches.allocate(rows)
        self.clock = watches.new_clock()
        self.novelties = novel.allocate(rows, self.settings.max_novelty_series if self.is_calibrated else 0)
        self.embeddings = Embeddings()
        self._signals = calibrated.signals()
        self._evidence = evidence.no_evidence()
        self._scores = np.zeros(len(DETECTORS))
        self.index: dict[Pair, int] = {}
        self.free_rows: set[int] = set()
        self.free_series: list[int] = []
        self.cleared: dict[int, list[int]] = {}  # rows given back since the state was encoded, and their series
        self.capped: dict[Pair, int] = {}  # events since the last drain of pairs beyond max_pairs, which share OTHER
        self.retired_rows: dict[int, int] = {}  # of retired pairs that are still heard of, and since when they are (ms)
        self.retired: dict[Pair, int] = {}  # all retired pairs
        self.policies = Policies(self.settings, self.instructions.overrides)
        obedience.give(self, self.instructions)
        self.touched: set[int] = set()  # pairs changed since the last drain
        self.found: Found = arrays.found(CHUNK)
        self._ended: list[Episode] = []
        self._minutes: list[Minute] = []
        self.rules = arrays.Rules(
            self.settings.cusum_drift,
            self.settings.min_samples,
            self.settings.refresh_ms,
            self.settings.quiet_ms,
            self.settings.lateness_ms,
            self.is_calibrated,
        )

    # Rows

    def pair_row(self, service: str, model: str) -> int:
        """The row of a pair, made when it is first seen; beyond `max_pairs` the shared row of OTHER."""
        pair = Pair(service, model)
        row = self.index.get(pair)
        if row is None:
            if len(self.index) >= self.settings.max_pairs and pair != OTHER:
                self.capped[pair] = self.capped.get(pair, 0) + 1
                return self.pair_row(*OTHER)
            row = self.add_pair(pair)
        return row

    def add_pair(self, pair: Pair) -> int:
        """A row for a pair: one that was given back, else a new one."""
        if self.free_rows:
            row = min(self.free_rows)
            self.free_rows.remove(row)
            self.pairs[row] = pair
        else:
            row = len(self.pairs)
            self.pairs.append(pair)
            self._make_row(row)
        self.index[pair] = row
        if self.is_calibrated:
            self.watches.absences[row]["is_exempt"] = pair == OTHER
        obedience.apply_policies(self, row)
        return row

    def _make_row(self, row: int) -> None:
        self.tables = arrays.grown(self.tables, pairs=row + 1)
        self.tables.pairs[row] = (LONG_AGO, LONG_AGO, NEVER, 0, 0)
        self.tables.series_of[row] = NO_ROW
        self.tables.open_minutes[row] = NO_ROW
        self.tables.open_episodes[row] = NO_ROW
        if self.is_calibrated:
            self.tables = arrays.grown(self.tables, aggregates=len(self.tables.pairs))
            self.channels = channels.grown(self.channels, len(self.tables.pairs))
            self.watches = watches.grown(self.watches, len(self.tables.pairs))
            self.novelties = novel.grown(self.novelties, len(self.tables.pairs))

    def clear(self, row: int) -> None:
        """Forget what a pair learned, and give back its row and its series. Nothing of it may be open."""
        del self.index[self.pairs[row]]
        self.pairs[row] = FREE
        self.free_rows.add(row)
        self.touched.add(row)
        self.retired_rows.pop(row, None)
        series = [place for place in self.tables.series_of[row].tolist() if place != NO_ROW]
        self.free_series += series
        self.cleared.setdefault(row, []).extend(series)
        arrays.clear(self.tables, row, series)
        self.tables.pairs[row] = (LONG_AGO, LONG_AGO, NEVER, 0, 0)
        for table in self.pair_states if self.is_calibrated else ():
            table[row] = np.zeros((), table.dtype)
        novel.leave(self.novelties, row)
        self.embeddings.pop(row, None)

    def add_series(self, pair: int, metric: int) -> int:
        """A series for a metric of a pair: one that was given back, else a new one."""
        if self.free_series:
            row = self.free_series.pop()
            self.series_keys[row] = (pair, metric)
        else:
            row = len(self.series_keys)
            self.tables = arrays.grown(self.tables, series=row + 1)
            self.series_keys.append((pair, metric))
        self.tables.series_of[pair, metric] = row
        return row

    def key(self, pair: int, metric: int) -> SeriesKey:
        """The name of a metric of the pair in a row."""
        return SeriesKey(*self.pairs[pair], METRICS[metric])

    def derive(self, series: int) -> None:
        """Make the derived columns of a series anew, after its state was loaded."""
        if self.tables.series[series]["samples"] > 0:
            policy = self.tables.policies[self.tables.policy_of[self.series_keys[series]]]
            bands.derive(self.tables.bands[series], self.tables.series[series], policy)

    # Scoring

    def score(
        self, columns: Columns, sample_of: Callable[[int], Sample] | None = None, vectors: Vectors | None = None
    ) -> list[Detection]:
        """Take a batch in the order of its offsets; returns one Detection per flagged sample.

        `columns.pair` holds rows given by `pair_row`; `sample_of` tells of an event by its place in the batch;
        `vectors` are the embeddings of events that are to be learned (`distributions.is_chosen`), by their places.
        NaN, infinity and what is beyond LARGEST are taken for missing. Raises IndexError for rows that do not exist.
        """
        self._check_rows(columns)
        if kernel.has_new_series(self.tables, columns):
            self._add_missing_series(columns)
        self.touched.update(columns.pair.tolist())
        detections: list[Detection] = []
        buckets = minutes.buckets_of(columns)
        comebacks = obedience.comebacks(self, columns)
        vectors = vectors if vectors and self.is_calibrated else {}
        more = (*comebacks, *(event + 1 for event in vectors))
        for first, end in pairwise(sorted({*range(0, len(columns.pair), CHUNK), *more, len(columns.pair)})):
            if first in comebacks:
                obedience.bring_back(self, comebacks[first])
            self._make_room(end - first)
            kernel.process(
                self.tables,
                self.rules,
                self._signals,
                self.channels,
                self._evidence,
                self.watches,
                self.clock[0],
                self.novelties,
                columns,
                buckets,
                first,
                end,
                self.found,
                self._scores,
            )
            self._note_opened()
            detections += self._detections()
            if sample_of:
                self._note_samples(sample_of)
            self.collect()
            if end - 1 in vectors:
                self._take_vector(columns, end - 1, vectors[end - 1])
        return detections

    def _take_vector(self, columns: Columns, event: int, vector: Vector) -> None:
        """Take the embedding of an event right after the event itself; few have one, so the kernel knows of none."""
        known = None if columns.failed[event] else self.embeddings.admit(int(columns.pair[event]), vector)
        if known is None:
            return
        self._make_room(1)
        tables, scores, found = self.tables, self._scores, self.found
        embeddings.observe(tables, known.state[0], known.sums, columns, event, vector, scores, found)
        self._note_opened()
        self.collect()

    def _check_rows(self, columns: Columns) -> None:
        # Compiled code would read and write beyond the tables.
        pair = columns.pair
        if len(pair) and not 0 <= pair.min() <= pair.max() < len(self.pairs):
            raise IndexError(f"rows of pairs lie in [0, {len(self.pairs)}), not in [{pair.min()}, {pair.max()}]")

    def _add_missing_series(self, columns: Columns) -> None:
        present = (np.abs(columns.values) <= LARGEST) & ~columns.failed[:, None]
        missing = present & (self.tables.series_of[columns.pair, : present.shape[1]] == NO_ROW)
        events, metrics = np.nonzero(missing)
        for pair, metric in sorted(set(zip(columns.pair[events].tolist(), metrics.tolist(), strict=True))):
            self.add_series(pair, metric)

    def _make_room(self, events: int) -> None:
        """Every event may open a minute and an episode of every metric; slots of minutes are freed after the chunk."""
        lacking = events - int(self.tables.free_count[0])
        if lacking > 0:
            self.tables = arrays.grown(self.tables, slots=len(self.tables.minutes) + lacking)
        self.tables = sketching.with_room(self.tables, events)
        lacking = min(events, len(self.pairs)) * MOST_EPISODES - int(self.tables.free_episode_count[0])
        if lacking > 0:
            self.tables = arrays.grown(self.tables, episodes=len(self.tables.episodes) + lacking)

    def _note_opened(self) -> None:
        """Begin the notes of the episodes that the kernel opened."""
        filled = int(self.found.counts[OPENED])
        for row, (_, pair, metric, direction, first) in enumerate(self.found.opened[:filled].tolist()):
            self.add_note(pair, metric, direction, first, self.found.backgrounds[row].copy())

    def add_note(self, pair: int, metric: int, direction: int, first_offset: int, background: np.void) -> Note:
        """Begin the note of an episode that was opened, or loaded."""
        key = self.key(pair, metric)
        identity = episode_id(self.topic_id, self.partition, first_offset, key, DIRECTIONS[direction])
        note = self.notes[pair, metric, direction, first_offset] = Note(identity, background)
        return note

    def _note_samples(self, sample_of: Callable[[int], Sample]) -> None:
        """Note of the deviating events what people may want to see of them."""
        filled = int(self.found.counts[DEVIANTS])
        for event, *place in self.found.deviants[:filled].tolist():
            self.notes[tuple(place)].add(sample_of(event))

    def _detections(self) -> Iterator[Detection]:
        filled = int(self.found.counts[DETECTIONS])
        if filled == 0:
            return
        rows, all_scores = self.found.detections[:filled].tolist(), self.found.detection_scores[:filled].tolist()
        for row, scores in zip(rows, all_scores, strict=True):
            fields = telling.fields_of_detection(row)
            yield telling.detection(fields, scores, *self._told_with(fields))

    def _told_with(self, fields: dict[str, Any]) -> tuple[Note, SeriesKey]:
        """The note of an open episode and the name of its series."""
        pair, metric = fields["pair"], fields["metric"]
        return self.notes[pair, metric, fields["direction"], fields["first_offset"]], self.key(pair, metric)

    # Time

    def earliest_due(self) -> int:
        """The record time (ms) before which `advance` would tell nothing; NEVER if it never would."""
        due = int(kernel.earliest_due(self.tables, len(self.pairs)))
        if not self.is_calibrated:
            return due
        return min(due, int(absence.earliest_due(self.clock[0], self.watches.absences, len(self.pairs))))

    def advance(self, now_ms: int, *, is_confirmed: bool = True) -> None:
        """Let idle time pass up to the record time `now_ms`: tells what no further event would tell.

        `is_confirmed` unless there may have been events that nobody could read (see `absence`).
        """
        if self.is_calibrated:
            absence.pass_time(self.clock[0], now_ms, is_confirmed)
        for first in range(0, len(self.pairs), CHUNK):
            end = min(first + CHUNK, len(self.pairs))
            self._make_room(end - first)
            kernel.advance(self.tables, self.rules, self.novelties, first, end, now_ms, self.found)
            if self.is_calibrated:
                told = absence.tell_due(
                    self.tables, self.clock[0], self.watches.absences, first, end, now_ms, self.found
                )
                self.touched.update(told.tolist())
            self._note_opened()
            self.collect()

    @property
    def pair_states(self) -> tuple[NDArray[np.void], ...]:
        """The tables of the calibrated mode that have one row per pair."""
        return (*self.channels, *self.watches, self.novelties.activities)

    # What came of it

    def collect(self) -> None:
        """Keep what ended for the next drain, and free the slots of closed minutes."""
        ended, closed = int(self.found.counts[ENDED]), int(self.found.counts[CLOSED])
        if ended:
            self._collect_episodes(ended)
        if closed:
            self._collect_minutes(self.found.closed_minutes[:closed])

    def _collect_episodes(self, count: int) -> None:
        records, all_scores = self.found.ended[:count], self.found.ended_scores[:count].tolist()
        self.touched.update(records["pair"].tolist())
        for record, scores in zip(records.tolist(), all_scores, strict=True):
            fields = telling.fields_of_episode(record)
            self._ended.append(self._episode(fields, scores, is_ended=True))
            del self.notes[fields["pair"], fields["metric"], fields["direction"], fields["first_offset"]]

    def _collect_minutes(self, slots: NDArray[np.int64]) -> None:
        tables = self.tables
        records, sketches = tables.minutes[slots].tolist(), sketching.encoded(tables, slots)
        for (pair, minute_ms, _due, *numbers), counts in zip(records, sketches, strict=True):
            self.touched.add(pair)
            self._minutes.append(Minute(self.pairs[pair], minute_ms, *(*numbers, counts)))
        tables.minutes[slots] = np.zeros((), arrays.MINUTE)
        sketching.clear(tables, slots)
        free = int(tables.free_count[0])
        tables.free_minutes[free : free + len(slots)] = slots
        tables.free_count[0] = free + len(slots)

    def take_minute(self) -> int:
        """A free slot for a minute that was loaded."""
        self._make_room(1)
        self.tables.free_count[0] -= 1
        return int(self.tables.free_minutes[self.tables.free_count[0]])

    def drain(self) -> Changes:
        """Everything that changed since the last drain, in absolute values, and which pairs were touched."""
        touched, self.touched = sorted(self.touched), set()
        episodes, self._ended = self._ended, []
        closed, self._minutes = self._minutes, []
        slots = kernel.take_changed(self.tables, np.array(touched, np.int64))
        records, all_scores = self.tables.episodes[slots].tolist(), self.tables.episode_scores[slots].tolist()
        for record, scores in zip(records, all_scores, strict=True):
            episodes.append(self._episode(telling.fields_of_episode(record), scores, is_ended=False))
        capped, self.capped = self.capped, {}
        return Changes(episodes, closed, touched, capped, self.embeddings.take_skipped())

    def take_episode(self, pair: int, metric: int, direction: int) -> int:
        """A slot for an open episode that was loaded."""
        self._make_room(1)
        tables = self.tables
        tables.free_episode_count[0] -= 1
        slot = int(tables.free_episodes[tables.free_episode_count[0]])
        tables.open_episodes[pair, metric, direction] = slot
        count_open(tables.pairs[pair], metric, 1)
        return slot

    def _episode(self, fields: dict[str, Any], scores: list[float], *, is_ended: bool) -> Episode:
        policy = self.tables.policies[self.tables.policy_of[fields["pair"], fields["metric"]]]
        return telling.episode(fields, scores, *self._told_with(fields), policy, is_ended)

    def open_episode_ids(self) -> list[UUID]:
        """The ids of all episodes that are open now."""
        return [note.id for note in self.notes.values()]
