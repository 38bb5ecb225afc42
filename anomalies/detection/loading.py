"""Filling an engine from the pieces of anomalies.detection.state, of this version or an older one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomalies.detection import novel_state, obedience, sketching
from anomalies.detection.absence import CLOCK
from anomalies.detection.arrays import DOWN, EPISODE, MINUTE, MINUTE_WINDOW, OPEN_MINUTES, PAIR, UP
from anomalies.detection.cusum import CUSUM_STATE
from anomalies.detection.dimensions import BACKGROUND
from anomalies.detection.embeddings import EMBEDDING_STATE, Embedded
from anomalies.detection.engine import Engine
from anomalies.detection.instructions import Instructions
from anomalies.detection.saving import StateWriter
from anomalies.detection.settings import DETECTORS
from anomalies.detection.state import (
    CLOCK_PIECE,
    FIRST_AGGREGATE,
    INSTRUCTIONS,
    WINDOWED,
    EpisodePiece,
    PairPiece,
    schema_of,
)
from baselines.stats import codec, sketch
from baselines.stats.codec import BaselinePiece, BrokenState
from baselines.stats.series import METRIC_INDEX, Pair
from baselines.stats.window import SERIES

_decoder = msgspec.msgpack.Decoder(PairPiece)


def load(engine: Engine, pieces: Mapping[str, bytes]) -> StateWriter:
    """Fill a fresh engine with a state; returns a writer that goes on from it.

    Raises BrokenState if the pieces do not make a whole. A state of another window size or an older layout is laid
    out anew, and written anew as a whole at the next flush.
    """
    schema = codec.read_schema(pieces)
    if INSTRUCTIONS in pieces:
        obedience.give(engine, _instructions(pieces[INSTRUCTIONS]))
    reader = _StateReader(engine, schema, pieces)
    for row in range(codec.pair_count(pieces)):
        reader.add_pair(row)
    reader.set_clock()
    reader.load_novelty()
    obedience.settle(engine)
    writer = StateWriter(engine)
    if json.loads(json.dumps(schema_of(engine))) == schema:
        writer.mark_written()
    else:
        engine.touched.update(range(len(engine.pairs)))
    return writer


def _instructions(data: bytes) -> Instructions:
    try:
        return Instructions.from_bytes(data)
    except msgspec.MsgspecError as error:
        raise BrokenState(f"what operators said cannot be read: {error}") from error


def seed(engine: Engine, pieces: Mapping[str, bytes], pairs: Iterable[Pair]) -> None:
    """Begin the given pairs with the baselines of another partition's state: what was normal there is normal here.

    Episodes, minutes and sums are not taken over: they belong to the events of the other partition. Pairs that the
    engine already has stay as they are. Raises BrokenState if the state is not whole or lacks a pair.
    """
    schema = codec.read_schema(pieces)
    reader = _StateReader(engine, schema, pieces)
    rows = codec.pairs_of(pieces)
    for pair in pairs:
        if pair not in engine.index:
            if pair not in rows:
                raise BrokenState(f"the state has no baselines of {pair}")
            reader.seed_pair(rows[pair])
            engine.touched.add(engine.index[pair])


class _StateReader:
    """Reads pieces laid out by `schema` into an engine of this version."""

    def __init__(self, engine: Engine, schema: Mapping[str, Any], pieces: Mapping[str, bytes]) -> None:
        self._engine = engine
        self._schema = schema
        self._pieces = pieces
        self._channel_layout = json.loads(json.dumps(schema_of(engine)))["channels"]
        self._detectors = [DETECTORS.index(name) if name in DETECTORS else None for name in schema["detectors"]]

    def add_pair(self, row: int) -> None:
        piece, detection = codec.baseline_piece(row, self._pieces), self._detection_piece(row)
        pair = self._engine.add_pair(Pair(piece.service, piece.model))
        self._engine.tables.pairs[pair] = self._record("pair", detection.record, PAIR)
        self._engine.tables.pairs[pair]["open_count"] = self._engine.tables.pairs[pair]["broad_count"] = 0
        self._engine.tables.backgrounds[pair] = self._background(detection.background)
        rows = self._add_baselines(row, pair, piece)
        self._add_sums(piece, detection, rows)
        for episode in detection.episodes:
            self._add_episode(pair, episode)
        for place, (record, counts) in enumerate(detection.minutes[:OPEN_MINUTES]):
            self._add_minute(pair, place, record, counts)
        self._add_channels(row, pair)
        self._add_embeddings(row, pair)

    def _add_channels(self, row: int, pair: int) -> None:
        """Channels and watches of another layout, or of a state in classic mode, begin anew.

        Channels are warm after 500 events.
        """
        if not self._engine.is_calibrated or self._schema.get("channels") != self._channel_layout:
            return
        data = self._pieces.get(f"c:{row}", b"")
        sizes = [table.dtype.itemsize * math.prod(table.shape[1:]) for table in self._engine.pair_states]
        if len(data) != sum(sizes):
            raise BrokenState(f"the channels of pair {row} have {len(data)} bytes of {sum(sizes)}")
        place = 0
        for table, size in zip(self._engine.pair_states, sizes, strict=True):
            table[pair] = np.frombuffer(data[place : place + size], table.dtype).reshape(table.shape[1:])
            place += size

    def _add_embeddings(self, row: int, pair: int) -> None:
        """Embeddings of another layout begin anew."""
        data = self._pieces.get(f"e:{row}")
        is_known = self._schema.get("embeddings") == str(EMBEDDING_STATE.descr)
        if data is None or not is_known or not self._engine.is_calibrated:
            return
        try:
            self._engine.embeddings[pair] = Embedded.from_bytes(data)
        except ValueError as error:
            raise BrokenState(f"the embeddings of pair {row} cannot be read: {error}") from error

    def set_clock(self) -> None:
        """A state of classic mode, or of an older version, has no clock."""
        data = self._pieces.get(CLOCK_PIECE)
        if data is not None and "clock" in self._schema["records"]:
            self._engine.clock[:] = self._record("clock", data, CLOCK)

    def load_novelty(self) -> None:
        """Novelty of another layout begins anew."""
        if self._engine.is_calibrated and self._schema.get("novelty") == novel_state.layout():
            novel_state.load(self._engine.novelties, self._pieces)

    def seed_pair(self, row: int) -> None:
        piece = codec.baseline_piece(row, self._pieces)
        pair = self._engine.add_pair(Pair(piece.service, piece.model))
        self._add_baselines(row, pair, piece)

    def _detection_piece(self, row: int) -> PairPiece:
        data = self._pieces.get(f"p:{row}")
        if data is None:
            raise BrokenState(f"the state lacks the detection of pair {row}")
        try:
            return _decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise BrokenState(f"the detection of pair {row} cannot be read: {error}") from error

    def _metric(self, stored: int) -> int | None:
        """The number that a metric of the stored state has in this version; None if it is gone."""
        return METRIC_INDEX.get(codec.metric_name(self._schema, stored))

    def _add_baselines(self, row: int, pair: int, piece: BaselinePiece) -> dict[int, int]:
        """Add the baselines of a pair; returns the rows of its series by the metric's number in the stored state."""
        rows = {}
        records = self._records("series", piece.records, SERIES, len(piece.metrics))
        for stored_metric, record in zip(piece.metrics, records, strict=True):
            metric = self._metric(stored_metric)
            if metric is None:
                continue
            if metric < FIRST_AGGREGATE:
                series = rows[stored_metric] = self._engine.add_series(pair, metric)
                self._engine.tables.series[series] = record
                self._fill_window(series, row, stored_metric)
                self._engine.derive(series)
            elif metric < WINDOWED and self._engine.is_calibrated:
                self._add_aggregate(pair, metric - FIRST_AGGREGATE, record, row, stored_metric)
        return rows

    def _add_aggregate(self, pair: int, place: int, record: np.void, row: int, stored_metric: int) -> None:
        window = int(self._schema.get("minute_window", self._schema["window"]))
        ring = codec.read_ring(row, stored_metric, int(record["learned"]), window, self._pieces)
        if window != MINUTE_WINDOW:
            ring, record = codec.lay_out(ring, record, window, MINUTE_WINDOW)
        self._engine.tables.aggregates[pair, place] = record
        self._engine.tables.aggregate_rings[pair, place, : len(ring)] = ring

    def _fill_window(self, series: int, row: int, stored_metric: int) -> None:
        tables, window, stored = self._engine.tables, self._engine.settings.window, int(self._schema["window"])
        record = tables.series[series]
        ring = codec.read_ring(row, stored_metric, int(record["learned"]), stored, self._pieces)
        if window != stored:
            ring, tables.series[series] = codec.lay_out(ring, record, stored, window)
        tables.rings[series, : len(ring)] = ring

    def _add_sums(self, piece: BaselinePiece, detection: PairPiece, rows: Mapping[int, int]) -> None:
        """CUSUM has sums of the metrics of events alone; an older version wrote some of the others too."""
        sums = self._records("cusum", detection.cusum, CUSUM_STATE, None)
        for stored_metric, state in zip(piece.metrics, sums, strict=False):
            if stored_metric in rows:
                self._engine.tables.cusum[rows[stored_metric]] = state

    def _add_episode(self, pair: int, piece: EpisodePiece) -> None:
        metric = self._metric(piece.metric)
        if piece.direction not in (UP, DOWN) or len(piece.scores) != len(self._detectors):
            raise BrokenState(f"an episode of direction {piece.direction} with {len(piece.scores)} scores is not one")
        if metric is None:
            return
        slot = self._engine.take_episode(pair, metric, piece.direction)
        tables = self._engine.tables
        tables.episodes[slot] = self._record("episode", piece.record, EPISODE)
        for name, value in (("pair", pair), ("metric", metric), ("direction", piece.direction)):
            tables.episodes[slot][name] = value
        tables.episode_scores[slot] = 0.0
        for detector, score in zip(self._detectors, piece.scores, strict=True):
            if detector is not None:
                tables.episode_scores[slot, detector] = score
        first_offset = int(tables.episodes[slot]["first_offset"])
        background = self._background(piece.background)
        note = self._engine.add_note(pair, metric, piece.direction, first_offset, background)
        note.trace_ids, note.tally = piece.trace_ids, piece.tally
        if tables.episodes[slot]["is_changed"]:
            self._engine.touched.add(pair)

    def _add_minute(self, pair: int, place: int, record: bytes, counts: bytes) -> None:
        slot = self._engine.take_minute()
        tables = self._engine.tables
        tables.minutes[slot] = self._record("minute", record, MINUTE)
        tables.minutes[slot]["pair"] = pair
        try:
            tables = self._engine.tables = sketching.fill(tables, slot, sketch.decode(counts))
        except ValueError as error:
            raise BrokenState(f"the sketches of an open minute cannot be read: {error}") from error
        tables.open_minutes[pair, place] = slot

    def _background(self, data: bytes) -> np.void:
        """What traffic was usual; of another layout, or of a state that lacks it, it is learned anew."""
        is_known = self._schema.get("background") == str(BACKGROUND.descr) and len(data) == BACKGROUND.itemsize
        record: np.void = (np.frombuffer(data, BACKGROUND) if is_known else np.zeros(1, BACKGROUND))[0]
        return record

    def _record(self, name: str, data: bytes, current: np.dtype[np.void]) -> np.void:
        record: np.void = self._records(name, data, current, 1)[0]
        return record

    def _records(self, name: str, data: bytes, current: np.dtype[np.void], count: int | None) -> NDArray[np.void]:
        return codec.read_records(self._schema, name, data, current, count)
