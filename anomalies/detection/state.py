"""The engine's state as named pieces of bytes, and back: what is flushed, persisted and loaded.

Beside the baselines (baselines.stats.codec) there is one piece per pair:

    p:<row>              the pair's record, the sums of CUSUM, its open episodes and open minutes (msgpack)
    c:<row>              its channels and watches, in calibrated mode: the records of those tables, one after another

and of the partition:

    o                    what operators said that is in force: anomalies.detection.instructions (JSON)
    clock                how far its record time has passed, in calibrated mode
    n:...                the novelty of its busiest pairs, in calibrated mode: anomalies.detection.novel_state
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomalies.detection import novel_state, obedience, sketching
from anomalies.detection.absence import CLOCK
from anomalies.detection.arrays import DOWN, EPISODE, MINUTE, MINUTE_WINDOW, NO_ROW, OPEN_MINUTES, PAIR, UP
from anomalies.detection.cusum import CUSUM_STATE
from anomalies.detection.dimensions import BACKGROUND
from anomalies.detection.engine import Engine
from anomalies.detection.excess import Tally
from anomalies.detection.instructions import NO_INSTRUCTIONS, Instructions
from anomalies.detection.novel_state import NoveltyWriter
from anomalies.detection.settings import DETECTORS
from baselines.stats import codec, sketch
from baselines.stats.codec import BaselinePiece, BrokenState
from baselines.stats.series import EVENT_METRICS, METRIC_INDEX, MINUTE_METRICS, Pair
from baselines.stats.window import SERIES

RECORDS = {"pair": PAIR, "cusum": CUSUM_STATE, "episode": EPISODE, "minute": MINUTE, "clock": CLOCK}
FIRST_AGGREGATE = len(EVENT_METRICS)
WINDOWED = len(EVENT_METRICS + MINUTE_METRICS)
CLOCK_PIECE = "clock"
INSTRUCTIONS = "o"
ROWS_AT_ONCE = 1024  # pairs that are gathered before they are encoded: bounds the memory a flush takes


class EpisodePiece(msgspec.Struct, array_like=True):
    """An open episode of one metric and direction: EPISODE, the best score of each detector, and its Note."""

    metric: int
    direction: int
    record: bytes
    scores: list[float]
    trace_ids: list[str]
    background: bytes = b""
    tally: Tally = msgspec.field(default_factory=Tally)


class PairPiece(msgspec.Struct, array_like=True):
    """What detection knows of one pair: PAIR, CUSUM_STATE of each event metric of its BaselinePiece, what is open.

    A minute is a MINUTE record and its sketches; `background` is the BACKGROUND of the pair.
    """

    record: bytes
    cusum: bytes
    episodes: list[EpisodePiece]
    minutes: list[tuple[bytes, bytes]]
    background: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(PairPiece)


def _schema(engine: Engine) -> dict[str, Any]:
    schema = codec.describe(engine.settings.window, RECORDS)
    schema |= {"minute_window": MINUTE_WINDOW, "detectors": DETECTORS, "channels": []}
    schema |= {"novelty": novel_state.layout()}
    schema["background"] = str(BACKGROUND.descr)
    if engine.is_calibrated:
        schema["channels"] = [[str(table.dtype.descr), table.shape[1:]] for table in engine.pair_states]
    return schema


class StateWriter:
    """Encodes what changed of one engine; remembers how far each window was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._schema_written = False
        self._novelty = NoveltyWriter(engine.novelties)
        self._pairs_written = -1  # an empty state says that it has no pairs
        self._instructions_written: Instructions = NO_INSTRUCTIONS
        self.outdated: set[str] = set()  # names of pieces that the last `encode` left without meaning
        # Samples learned when the window was last encoded, per series and per pair and aggregate.
        self._written = np.zeros(0, np.int64)
        self._aggregates_written = np.zeros((0, len(MINUTE_METRICS)), np.int64)

    def mark_written(self) -> None:
        """Take all that the engine holds for written: it was just loaded from the store."""
        tables = self._engine.tables
        self._written = tables.series["learned"][: len(self._engine.series_keys)].copy()
        if self._engine.is_calibrated:
            self._aggregates_written = tables.aggregates["learned"][: len(self._engine.pairs)].copy()
        self._novelty.mark_written(self._engine.novelties)
        self._pairs_written = len(self._engine.pairs)
        self._instructions_written = self._engine.instructions
        self._schema_written = True

    def encode(self, rows: Iterable[int]) -> dict[str, bytes]:
        """The pieces of the given pairs, and of new ones, that changed since they were last encoded.

        To be called right after `Engine.drain`, with its `touched_pairs`: what was not drained is not saved.
        """
        pieces: dict[str, bytes] = {}
        if not self._schema_written:
            pieces[codec.SCHEMA] = json.dumps(_schema(self._engine)).encode()
            self._schema_written = True
        if self._engine.instructions is not self._instructions_written:
            self._instructions_written = self._engine.instructions
            pieces[INSTRUCTIONS] = self._engine.instructions.to_bytes()
        # A pair that was given a row but has had no event yet counts too: a state has no holes.
        added = np.arange(max(0, self._pairs_written), len(self._engine.pairs))
        if self._pairs_written != len(self._engine.pairs):
            self._pairs_written = len(self._engine.pairs)
            pieces[codec.PAIRS] = str(self._pairs_written).encode()
        self._written = _padded(self._written, len(self._engine.series_keys))
        self._aggregates_written = _padded(self._aggregates_written, len(self._engine.pairs))
        self._forget_cleared()
        chosen = np.union1d(np.fromiter(rows, np.int64), added)
        for first in range(0, len(chosen), ROWS_AT_ONCE):
            self._encode_rows(chosen[first : first + ROWS_AT_ONCE], pieces)
        if self._engine.is_calibrated and len(chosen):
            pieces[CLOCK_PIECE] = self._engine.clock.tobytes()
            pieces |= self._novelty.encode(self._engine.novelties)
        self.outdated -= pieces.keys()
        return pieces

    def _forget_cleared(self) -> None:
        """Rows that were given back have no windows any more; whoever has them next is written anew."""
        self.outdated, cleared = set(), self._engine.cleared
        self._engine.cleared = {}
        sizes = [self._engine.settings.window] * len(EVENT_METRICS) + [MINUTE_WINDOW] * len(MINUTE_METRICS)
        for row, series in cleared.items():
            self._written[series] = 0
            self._aggregates_written[row] = 0
            for metric, size in enumerate(sizes):
                pieces = range(-(-size // codec.SLOTS))
                self.outdated.update(codec.window_piece(row, metric, piece) for piece in pieces)

    def _encode_rows(self, rows: NDArray[np.int64], pieces: dict[str, bytes]) -> None:
        tables = self._engine.tables
        places, metrics = np.nonzero(tables.series_of[rows] != NO_ROW)
        series = tables.series_of[rows[places], metrics]
        ends = _ends(places, len(rows))
        all_metrics = metrics.tolist()
        metrics_of = [all_metrics[first:end] for first, end in pairwise(ends)]
        self._add_baselines(rows, series, ends, metrics_of, pieces)
        self._add_detection(rows, series, ends, pieces)
        if self._engine.is_calibrated:
            cuts = [_cut(table[rows], range(len(rows) + 1)) for table in self._engine.pair_states]
            for row, parts in zip(rows.tolist(), zip(*cuts, strict=True), strict=True):
                pieces[f"c:{row}"] = b"".join(parts)
            self._add_aggregate_windows(rows, pieces)
        self._add_windows(rows[places], metrics, series, pieces)

    def _add_baselines(
        self,
        rows: NDArray[np.int64],
        series: NDArray[np.int64],
        ends: list[int],
        metrics_of: list[list[int]],
        pieces: dict[str, bytes],
    ) -> None:
        tables, names = self._engine.tables, self._engine.pairs
        watermarks = tables.pairs["watermark"][rows].tolist()
        records = _cut(tables.series[series], ends)
        more, aggregates = [], [b""] * len(rows)
        if self._engine.is_calibrated:
            more = list(range(FIRST_AGGREGATE, WINDOWED))
            aggregates = _cut(tables.aggregates[rows], range(len(rows) + 1))
        for row, watermark, metrics, *record in zip(
            rows.tolist(), watermarks, metrics_of, records, aggregates, strict=True
        ):
            service, model = names[row]
            piece = BaselinePiece(service, model, watermark, metrics + more, b"".join(record))
            pieces[f"b:{row}"] = codec.encode_piece(piece)

    def _add_detection(
        self, rows: NDArray[np.int64], series: NDArray[np.int64], ends: list[int], pieces: dict[str, bytes]
    ) -> None:
        tables = self._engine.tables
        records = _cut(tables.pairs[rows], range(len(rows) + 1))
        sums = _cut(tables.cusum[series], ends)
        episodes, minutes = self._open_episodes(rows), self._open_minutes(rows)
        usual = _cut(tables.backgrounds[rows], range(len(rows) + 1))
        for row, record, cusum, background in zip(rows.tolist(), records, sums, usual, strict=True):
            piece = PairPiece(record, cusum, episodes.get(row, []), minutes.get(row, []), background)
            pieces[f"p:{row}"] = _encode(piece)

    def _open_episodes(self, rows: NDArray[np.int64]) -> dict[int, list[EpisodePiece]]:
        """The open episodes of these pairs, by the row of their pair."""
        engine, tables = self._engine, self._engine.tables
        slots = tables.open_episodes[rows]
        found: dict[int, list[EpisodePiece]] = {}
        for place in np.argwhere(slots != NO_ROW).tolist():
            slot = int(slots[tuple(place)])
            pair, metric, direction = int(rows[place[0]]), place[1], place[2]
            record, scores = tables.episodes[slot], tables.episode_scores[slot].tolist()
            note = engine.notes[pair, metric, direction, int(record["first_offset"])]
            seen = note.trace_ids, note.background.tobytes(), note.tally
            piece = EpisodePiece(metric, direction, record.tobytes(), scores, *seen)
            found.setdefault(pair, []).append(piece)
        return found

    def _open_minutes(self, rows: NDArray[np.int64]) -> dict[int, list[tuple[bytes, bytes]]]:
        """The open minutes of these pairs, by the row of their pair."""
        tables = self._engine.tables
        places = tables.open_minutes[rows]
        slots = places[places != NO_ROW]
        records = _cut(tables.minutes[slots], range(len(slots) + 1))
        sketches = sketching.encoded(tables, slots)
        found: dict[int, list[tuple[bytes, bytes]]] = {}
        for pair, record, counts in zip(tables.minutes["pair"][slots].tolist(), records, sketches, strict=True):
            found.setdefault(pair, []).append((record, counts))
        return found

    def _add_windows(
        self,
        rows: NDArray[np.int64],
        metrics: NDArray[np.int64],
        series: NDArray[np.int64],
        pieces: dict[str, bytes],
    ) -> None:
        """Add the changed pieces of the windows of `series`, whose pairs and metrics are `rows` and `metrics`."""
        tables = self._engine.tables
        learned = tables.series["learned"][series]
        changed = codec.changed_pieces(learned, self._written[series], self._engine.settings.window)
        _add_pieces(pieces, codec.cut(tables.rings, series, changed), changed, rows, metrics)
        self._written[series] = learned

    def _add_aggregate_windows(self, rows: NDArray[np.int64], pieces: dict[str, bytes]) -> None:
        """Add the changed pieces of the windows of the aggregates of these pairs."""
        tables, count = self._engine.tables, len(MINUTE_METRICS)
        learned = tables.aggregates["learned"][rows]
        changed = codec.changed_pieces(learned.ravel(), self._aggregates_written[rows].ravel(), MINUTE_WINDOW)
        pairs, metrics = np.repeat(rows, count), np.tile(np.arange(FIRST_AGGREGATE, WINDOWED), len(rows))
        rings = tables.aggregate_rings.reshape(-1, MINUTE_WINDOW)
        flat = pairs * count + metrics - FIRST_AGGREGATE
        _add_pieces(pieces, codec.cut(rings, flat, changed), changed, pairs, metrics)
        self._aggregates_written[rows] = learned


def _padded(counts: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    longer = np.zeros((rows, *counts.shape[1:]), np.int64)
    longer[: len(counts)] = counts
    return longer


def _add_pieces(
    pieces: dict[str, bytes],
    slots: NDArray[np.float32],
    changed: NDArray[np.int64],
    rows: NDArray[np.int64],
    metrics: NDArray[np.int64],
) -> None:
    """Name the slots of changed pieces of windows, whose pairs and metrics are at `changed[:, 0]` in the two arrays."""
    places = changed[:, 0]
    names = zip(rows[places].tolist(), metrics[places].tolist(), changed[:, 1].tolist(), strict=True)
    for (row, metric, piece), data in zip(names, _cut(slots, range(len(changed) + 1)), strict=True):
        pieces[codec.window_piece(row, metric, piece)] = data


def _ends(places: NDArray[np.int64], count: int) -> list[int]:
    """Where the run of each of `count` places begins and ends in sorted `places`."""
    ends: list[int] = np.searchsorted(places, np.arange(count + 1)).tolist()
    return ends


def _cut(table: NDArray[Any], ends: Iterable[int]) -> list[bytes]:
    """The bytes of runs of rows; once copied as a whole, because small copies cost as much as large ones."""
    data, size = table.tobytes(), table.itemsize * int(np.prod(table.shape[1:]))
    return [data[first * size : end * size] for first, end in pairwise(ends)]


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
    if json.loads(json.dumps(_schema(engine))) == schema:
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
        self._channel_layout = json.loads(json.dumps(_schema(engine)))["channels"]
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
