"""The engine's state as named pieces of bytes, and back: what is flushed, persisted and loaded.

Beside the baselines (baselines.stats.codec) there is one piece per pair:

    p:<row>              the pair's record, its open episodes with the sums of CUSUM, its open minutes (msgpack)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from anomalies.detection.arrays import EPISODE, MINUTE, NO_ROW, OPEN_MINUTES, PAIR
from anomalies.detection.cusum import CUSUM_STATE
from anomalies.detection.engine import Engine
from anomalies.detection.settings import DETECTORS
from baselines.stats import codec, sketch
from baselines.stats.codec import BaselinePiece, BrokenState
from baselines.stats.series import METRIC_INDEX, Pair
from baselines.stats.window import SERIES

RECORDS = {"pair": PAIR, "cusum": CUSUM_STATE, "episode": EPISODE, "minute": MINUTE}


class SeriesPiece(msgspec.Struct, array_like=True):
    """What detection knows of one series: CUSUM_STATE, EPISODE and scores per direction, trace ids per direction."""

    metric: int
    cusum: bytes
    episodes: bytes
    scores: bytes
    traces: tuple[list[str], list[str]]


class PairPiece(msgspec.Struct, array_like=True):
    """What detection knows of one pair: PAIR, its series, its open minutes (MINUTE, sketches)."""

    record: bytes
    series: list[SeriesPiece]
    minutes: list[tuple[bytes, bytes]]


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(PairPiece)


class StateWriter:
    """Encodes what changed of one engine; remembers how far each window was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._schema_written = False
        self._written: list[int] = []  # per series: samples learned when its window was last encoded

    def mark_written(self) -> None:
        """Take all that the engine holds for written: it was just loaded from the store."""
        learned = self._engine.tables.series["learned"][: len(self._engine.series_keys)]
        self._written = learned.tolist()
        self._schema_written = True

    def encode(self, rows: Iterable[int]) -> dict[str, bytes]:
        """The pieces of the given pairs that changed since they were last encoded."""
        pieces: dict[str, bytes] = {}
        if not self._schema_written:
            schema = codec.describe(self._engine.settings.window, RECORDS) | {"detectors": DETECTORS}
            pieces[codec.SCHEMA] = json.dumps(schema).encode()
            self._schema_written = True
        self._written += [0] * (len(self._engine.series_keys) - len(self._written))
        for row in rows:
            metrics = [(m, s) for m, s in enumerate(self._engine.tables.series_of[row].tolist()) if s != NO_ROW]
            pieces[f"b:{row}"] = self._baselines(row, metrics)
            pieces[f"p:{row}"] = self._pair(row, metrics)
            for metric, series in metrics:
                self._add_window(row, metric, series, pieces)
        return pieces

    def _baselines(self, row: int, metrics: list[tuple[int, int]]) -> bytes:
        tables, pair = self._engine.tables, self._engine.pairs[row]
        records = [(metric, tables.series[series].tobytes()) for metric, series in metrics]
        watermark = int(tables.pairs[row]["watermark"])
        return codec.encode_piece(BaselinePiece(pair.service, pair.model, watermark, records))

    def _pair(self, row: int, metrics: list[tuple[int, int]]) -> bytes:
        tables = self._engine.tables
        slots = [slot for slot in tables.open_minutes[row].tolist() if slot != NO_ROW]
        minutes = [(tables.minutes[slot].tobytes(), sketch.encode(tables.sketches[slot])) for slot in slots]
        return _encode(PairPiece(tables.pairs[row].tobytes(), [self._series(m, s) for m, s in metrics], minutes))

    def _series(self, metric: int, series: int) -> SeriesPiece:
        tables, traces = self._engine.tables, self._engine.traces
        return SeriesPiece(
            metric,
            tables.cusum[series].tobytes(),
            tables.episodes[series].tobytes(),
            tables.episode_scores[series].tobytes(),
            (traces.get((series, 0), []), traces.get((series, 1), [])),
        )

    def _add_window(self, row: int, metric: int, series: int, pieces: dict[str, bytes]) -> None:
        tables, window = self._engine.tables, self._engine.settings.window
        learned, written = int(tables.series[series]["learned"]), self._written[series]
        if learned == written:
            return
        for piece in codec.changed_slots(learned, written, window):
            ring = tables.rings[series, piece * codec.SLOTS : (piece + 1) * codec.SLOTS]
            pieces[codec.window_piece(row, metric, piece)] = ring.tobytes()
        self._written[series] = learned


def load(engine: Engine, pieces: Mapping[str, bytes]) -> StateWriter:
    """Fill a fresh engine with a state; returns a writer that goes on from it.

    Raises BrokenState if the pieces do not make a whole. A state of another window size or an older layout is laid
    out anew, and written anew as a whole at the next flush.
    """
    schema = codec.read_schema(pieces)
    reader = _StateReader(engine, schema, pieces)
    for row in range(codec.pair_count(pieces)):
        reader.add_pair(row)
    writer = StateWriter(engine)
    current = codec.describe(engine.settings.window, RECORDS) | {"detectors": DETECTORS}
    if json.loads(json.dumps(current)) == schema:
        writer.mark_written()
    else:
        engine.touched.update(range(len(engine.pairs)))
    return writer


def seed(engine: Engine, pieces: Mapping[str, bytes], pairs: Iterable[Pair]) -> None:
    """Begin the given pairs with the baselines of another partition's state: what was normal there is normal here.

    Episodes, minutes and sums are not taken over: they belong to the events of the other partition.
    """
    schema = codec.read_schema(pieces)
    reader = _StateReader(engine, schema, pieces)
    rows = codec.pairs_of(pieces)
    for pair in pairs:
        if pair not in engine.index:
            reader.seed_pair(rows[pair])
            engine.touched.add(engine.index[pair])


class _StateReader:
    """Reads pieces laid out by `schema` into an engine of this version."""

    def __init__(self, engine: Engine, schema: Mapping[str, Any], pieces: Mapping[str, bytes]) -> None:
        self._engine = engine
        self._schema = schema
        self._pieces = pieces
        self._detectors = [DETECTORS.index(name) if name in DETECTORS else None for name in schema["detectors"]]

    def add_pair(self, row: int) -> None:
        piece, detection = codec.baseline_piece(row, self._pieces), self._detection_piece(row)
        pair = self._engine.add_pair(Pair(piece.service, piece.model))
        self._engine.tables.pairs[pair] = self._records("pair", detection.record, PAIR)[0]
        rows = self._add_baselines(row, pair, piece)
        for series in detection.series:
            if series.metric in rows:
                self._add_detection(rows[series.metric], series)
        for place, (record, counts) in enumerate(detection.minutes[:OPEN_MINUTES]):
            self._add_minute(pair, place, record, counts)

    def seed_pair(self, row: int) -> None:
        piece = codec.baseline_piece(row, self._pieces)
        self._add_baselines(row, self._engine.add_pair(Pair(piece.service, piece.model)), piece)

    def _detection_piece(self, row: int) -> PairPiece:
        data = self._pieces.get(f"p:{row}")
        if data is None:
            raise BrokenState(f"the state lacks the detection of pair {row}")
        try:
            return _decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise BrokenState(f"the detection of pair {row} cannot be read: {error}") from error

    def _add_baselines(self, row: int, pair: int, piece: BaselinePiece) -> dict[int, int]:
        """Add the series of a pair; returns their rows by the metric's number in the stored state."""
        rows, tables = {}, self._engine.tables
        for stored_metric, record in piece.series:
            metric = METRIC_INDEX.get(self._schema["metrics"][stored_metric])
            if metric is None:
                continue
            series = rows[stored_metric] = self._engine.add_series(pair, metric)
            tables = self._engine.tables
            tables.series[series] = self._records("series", record, SERIES)[0]
            self._fill_window(series, row, stored_metric)
            self._engine.derive(series)
        return rows

    def _fill_window(self, series: int, row: int, stored_metric: int) -> None:
        tables, window, stored = self._engine.tables, self._engine.settings.window, int(self._schema["window"])
        record = tables.series[series]
        ring = codec.read_ring(row, stored_metric, int(record["learned"]), stored, self._pieces)
        if window != stored:
            ring, tables.series[series] = codec.lay_out(ring, record, stored, window)
        tables.rings[series, : len(ring)] = ring

    def _add_detection(self, series: int, piece: SeriesPiece) -> None:
        tables = self._engine.tables
        tables.cusum[series] = self._records("cusum", piece.cusum, CUSUM_STATE)[0]
        tables.episodes[series] = self._records("episode", piece.episodes, EPISODE)
        scores = np.frombuffer(piece.scores).reshape(2, len(self._detectors))
        for stored, detector in enumerate(self._detectors):
            if detector is not None:
                tables.episode_scores[series, :, detector] = scores[:, stored]
        for direction in range(2):
            if tables.episodes[series, direction]["is_open"]:
                self._engine.traces[series, direction] = list(piece.traces[direction])

    def _add_minute(self, pair: int, place: int, record: bytes, counts: bytes) -> None:
        slot = self._engine.take_minute()
        tables = self._engine.tables
        tables.minutes[slot] = self._records("minute", record, MINUTE)[0]
        tables.minutes[slot]["pair"] = pair
        tables.sketches[slot] = sketch.decode(counts)
        tables.open_minutes[pair, place] = slot

    def _records(self, name: str, data: bytes, current: np.dtype[np.void]) -> Any:
        return codec.read_records(self._schema, name, data, current)
