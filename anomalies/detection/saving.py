"""Encoding what changed of an engine into the pieces of anomalies.detection.state."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomalies.detection import sketching
from anomalies.detection.arrays import MINUTE_WINDOW, NO_ROW
from anomalies.detection.engine import Engine
from anomalies.detection.instructions import NO_INSTRUCTIONS, Instructions
from anomalies.detection.novel_state import NoveltyWriter
from anomalies.detection.state import (
    CLOCK_PIECE,
    FIRST_AGGREGATE,
    INSTRUCTIONS,
    WINDOWED,
    EpisodePiece,
    PairPiece,
    schema_of,
)
from baselines.stats import codec
from baselines.stats.codec import BaselinePiece
from baselines.stats.series import EVENT_METRICS, MINUTE_METRICS

ROWS_AT_ONCE = 1024  # pairs that are gathered before they are encoded: bounds the memory a flush takes

_encode = msgspec.msgpack.Encoder().encode


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
        self._embeddings_written: dict[int, int] = {}  # vectors taken when they were last encoded, by row

    def mark_written(self) -> None:
        """Take all that the engine holds for written: it was just loaded from the store."""
        tables = self._engine.tables
        self._written = tables.series["learned"][: len(self._engine.series_keys)].copy()
        if self._engine.is_calibrated:
            self._aggregates_written = tables.aggregates["learned"][: len(self._engine.pairs)].copy()
        self._novelty.mark_written(self._engine.novelties)
        self._embeddings_written = {row: known.taken for row, known in self._engine.embeddings.items()}
        self._pairs_written = len(self._engine.pairs)
        self._instructions_written = self._engine.instructions
        self._schema_written = True

    def encode(self, rows: Iterable[int]) -> dict[str, bytes]:
        """The pieces of the given pairs, and of new ones, that changed since they were last encoded.

        To be called right after `Engine.drain`, with its `touched_pairs`: what was not drained is not saved.
        """
        pieces: dict[str, bytes] = {}
        if not self._schema_written:
            pieces[codec.SCHEMA] = json.dumps(schema_of(self._engine)).encode()
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
            if self._embeddings_written.pop(row, None) is not None:
                self.outdated.add(f"e:{row}")
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
            self._add_embeddings(rows, pieces)
        self._add_windows(rows[places], metrics, series, pieces)

    def _add_embeddings(self, rows: NDArray[np.int64], pieces: dict[str, bytes]) -> None:
        known = self._engine.embeddings
        for row in rows.tolist() if known else ():
            if row in known and known[row].taken != self._embeddings_written.get(row):
                pieces[f"e:{row}"] = known[row].to_bytes()
                self._embeddings_written[row] = known[row].taken

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
