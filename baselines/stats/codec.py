"""Baselines as named pieces of bytes: the layout they share with the rest of a partition's state.

    schema               the layout of the records (JSON), so that a later version can read what an older one wrote
    pairs                how many pairs there are (decimal): a state that lost some of them is not taken for whole
    b:<row>              one pair: service, model, watermark, its metrics and their SERIES records (msgpack)
    w:<row>:<metric>:<k> slots [k*SLOTS, (k+1)*SLOTS) of the window of one series (float32; zero beyond its end)

Windows are cut up because most of a window is as it was at the last flush.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from baselines.stats.compiled import compiled
from baselines.stats.series import FREE, METRICS, Pair, SeriesKey
from baselines.stats.window import SERIES

SLOTS = 100
SCHEMA = "schema"
PAIRS = "pairs"
VERSION = 1


class BrokenState(ValueError):
    """The pieces do not make a whole state, or were written by a version that this one cannot read."""


class BaselinePiece(msgspec.Struct, array_like=True):
    """The baselines of one pair. `watermark_ms` is its event time; `records` holds one SERIES for each of `metrics`."""

    service: str
    model: str
    watermark_ms: int
    metrics: list[int]
    records: bytes


class Baseline(NamedTuple):
    """One series as stored: the statistics of the last refresh are in `record` (SERIES)."""

    key: SeriesKey
    watermark_ms: int
    record: np.void


_decoder = msgspec.msgpack.Decoder(BaselinePiece)
encode_piece = msgspec.msgpack.Encoder().encode


def decode_piece(row: int, data: bytes) -> BaselinePiece:
    """The inverse of `encode_piece`. Raises BrokenState."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise BrokenState(f"the baselines of pair {row} cannot be read: {error}") from error


def describe(window: int, records: Mapping[str, np.dtype[np.void]]) -> dict[str, Any]:
    """The schema of what this version writes; `records` are the dtypes beside SERIES."""
    all_records = {"series": SERIES, **records}
    layouts = {name: [[field, dtype[field].str] for field in dtype.names or ()] for name, dtype in all_records.items()}
    return {"version": VERSION, "window": window, "metrics": METRICS, "records": layouts}


def read_schema(pieces: Mapping[str, bytes]) -> dict[str, Any]:
    """The schema of a state. Raises BrokenState if it has none or one of another version."""
    if SCHEMA not in pieces:
        raise BrokenState("the state has no schema")
    try:
        schema: dict[str, Any] = json.loads(pieces[SCHEMA])
        version = schema["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenState(f"the schema of the state cannot be read: {error!r}") from error
    if version != VERSION:
        raise BrokenState(f"the state is of version {version!r}; this version reads {VERSION}")
    return schema


def read_records(
    schema: Mapping[str, Any], name: str, data: bytes, current: np.dtype[np.void], count: int | None
) -> NDArray[np.void]:
    """`count` records written under `schema` as records of this version: matched by name, new fields are zero.

    Raises BrokenState if there are more or fewer; without a count, if there is part of one.
    """
    written = np.dtype([(field, kind) for field, kind in schema["records"][name]])
    if count is None:
        count = len(data) // written.itemsize
    if len(data) != count * written.itemsize:
        raise BrokenState(f"{len(data)} bytes are not {count} {name} records of {written.itemsize}")
    old = np.frombuffer(data, written)
    if written == current:
        return old
    converted = np.zeros(count, current)
    for field in set(written.names or ()) & set(current.names or ()):
        converted[field] = old[field]
    return converted


def pair_count(pieces: Mapping[str, bytes]) -> int:
    """How many pairs a state holds; their rows are 0 to this, less one. Raises BrokenState if it does not say."""
    try:
        return int(pieces[PAIRS])
    except (KeyError, ValueError) as error:
        raise BrokenState(f"the state does not say how many pairs it has: {error!r}") from error


def baseline_piece(row: int, pieces: Mapping[str, bytes]) -> BaselinePiece:
    """The baselines of one pair. Raises BrokenState if they are missing."""
    data = pieces.get(f"b:{row}")
    if data is None:
        raise BrokenState(f"the state lacks pair {row}")
    return decode_piece(row, data)


def metric_name(schema: Mapping[str, Any], metric: int) -> str:
    """The name of a metric by its number in a state. Raises BrokenState for a number that the schema does not have."""
    names: list[str] = schema["metrics"]
    if not 0 <= metric < len(names):
        raise BrokenState(f"the state has a metric {metric}, but its schema names {len(names)}")
    return names[metric]


def read_baselines(pieces: Mapping[str, bytes]) -> Iterator[Baseline]:
    """Every series of a state that has a baseline. Raises BrokenState."""
    schema = read_schema(pieces)
    for row in range(pair_count(pieces)):
        piece = baseline_piece(row, pieces)
        records = read_records(schema, "series", piece.records, SERIES, len(piece.metrics))
        for metric, record in zip(piece.metrics, records, strict=True):
            if record["samples"] > 0:
                key = SeriesKey(piece.service, piece.model, metric_name(schema, metric))
                yield Baseline(key, piece.watermark_ms, record)


def pairs_of(pieces: Mapping[str, bytes]) -> dict[Pair, int]:
    """The pairs a state holds, with their rows."""
    found = {}
    for row in range(pair_count(pieces)):
        piece = baseline_piece(row, pieces)
        found[Pair(piece.service, piece.model)] = row
    found.pop(FREE, None)
    return found


@compiled
def changed_pieces(learned: NDArray[np.int64], written: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """The pieces of windows that changed between two counts of learned samples of each series.

    Returns int64[pieces, 2]: a place in the two arrays, and a piece of that window.
    """
    most = -(-window // SLOTS) + 1  # a walk once around ends in the piece it began in
    changed = np.empty((len(learned) * most, 2), np.int64)
    found = 0
    for place in range(len(learned)):
        slot = max(written[place], learned[place] - window)  # older slots were overwritten meanwhile
        while slot < learned[place]:
            in_ring = slot % window
            piece = in_ring // SLOTS
            changed[found, 0], changed[found, 1] = place, piece
            found += 1
            slot += min((piece + 1) * SLOTS, window) - in_ring
    return changed[:found]


@compiled
def cut(rings: NDArray[np.float32], series: NDArray[np.int64], changed: NDArray[np.int64]) -> NDArray[np.float32]:
    """The slots of changed pieces of the windows of `series`: float32[pieces, SLOTS], zero beyond the window's end."""
    slots = np.zeros((len(changed), SLOTS), np.float32)
    for row in range(len(changed)):
        first = changed[row, 1] * SLOTS
        ring = rings[series[changed[row, 0]]]
        for slot in range(first, min(first + SLOTS, len(ring))):
            slots[row, slot - first] = ring[slot]
    return slots


def window_piece(row: int, metric: int, piece: int) -> str:
    """The name of one piece of a window."""
    return f"w:{row}:{metric}:{piece}"


def read_ring(row: int, metric: int, learned: int, window: int, pieces: Mapping[str, bytes]) -> NDArray[np.float32]:
    """The filled slots of a window, in the order of the ring. Raises BrokenState if a piece is missing or short."""
    filled = min(learned, window)
    parts = []
    for piece in range(-(-filled // SLOTS)):
        data = pieces.get(window_piece(row, metric, piece))
        if data is None:
            raise BrokenState(f"the state lacks {window_piece(row, metric, piece)}")
        if len(data) != SLOTS * np.dtype(np.float32).itemsize:
            raise BrokenState(f"{window_piece(row, metric, piece)} has {len(data)} bytes, not those of {SLOTS} samples")
        parts.append(np.frombuffer(data, np.float32))
    ring = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return ring[:window]


def lay_out(
    ring: NDArray[np.float32], series: np.void, old_window: int, new_window: int
) -> tuple[NDArray[np.float32], np.void]:
    """A ring and its SERIES record, laid out anew for a window of another size: the newest samples are kept."""
    learned = int(series["learned"])
    in_order = ring[:learned] if learned <= old_window else np.roll(ring[:old_window], -(learned % old_window))
    kept = in_order[-new_window:]
    record = series.copy()
    # Counted from what is kept: a window that grew is not full before it has learned that much more.
    record["learned"] = len(kept)
    record["refreshed_learned"] = min(int(series["refreshed_learned"]), len(kept))
    return kept, record
