"""Baselines as named pieces of bytes: the layout they share with the rest of a partition's state.

    schema               the layout of the records (JSON), so that a later version can read what an older one wrote
    b:<row>              one pair: service, model, watermark, the SERIES record of each of its metrics (msgpack)
    w:<row>:<metric>:<k> slots [k*SLOTS, (k+1)*SLOTS) of the window of one series (float32)

Windows are cut up because most of a window is as it was at the last flush.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from baselines.stats.series import METRICS, Pair, SeriesKey
from baselines.stats.window import SERIES

SLOTS = 100
SCHEMA = "schema"
VERSION = 1


class BrokenState(ValueError):
    """The pieces do not make a whole state, or were written by a version that this one cannot read."""


class BaselinePiece(msgspec.Struct, array_like=True):
    """The baselines of one pair. `watermark_ms` is its event time; `series` holds (metric, SERIES record)."""

    service: str
    model: str
    watermark_ms: int
    series: list[tuple[int, bytes]]


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
    descr = {name: [[field, kind] for field, kind in dtype.descr] for name, dtype in all_records.items()}
    return {"version": VERSION, "window": window, "metrics": METRICS, "records": descr}


def read_schema(pieces: Mapping[str, bytes]) -> dict[str, Any]:
    """The schema of a state. Raises BrokenState if it has none or one of another version."""
    if SCHEMA not in pieces:
        raise BrokenState("the state has no schema")
    schema: dict[str, Any] = json.loads(pieces[SCHEMA])
    if schema.get("version") != VERSION:
        raise BrokenState(f"the state is of version {schema.get('version')!r}; this version reads {VERSION}")
    return schema


def read_records(schema: Mapping[str, Any], name: str, data: bytes, current: np.dtype[np.void]) -> NDArray[np.void]:
    """Records written under `schema` as records of this version: fields are matched by name, new ones are zero."""
    written = np.dtype([(field, kind) for field, kind in schema["records"][name]])
    old = np.frombuffer(data, written)
    if written == current:
        return old
    converted = np.zeros(len(old), current)
    for field in set(written.names or ()) & set(current.names or ()):
        converted[field] = old[field]
    return converted


def pair_count(pieces: Mapping[str, bytes]) -> int:
    """How many pairs a state holds; their rows are 0 to this, less one."""
    return sum(name.startswith("b:") for name in pieces)


def baseline_piece(row: int, pieces: Mapping[str, bytes]) -> BaselinePiece:
    """The baselines of one pair. Raises BrokenState if they are missing."""
    data = pieces.get(f"b:{row}")
    if data is None:
        raise BrokenState(f"the state lacks pair {row}")
    return decode_piece(row, data)


def read_baselines(pieces: Mapping[str, bytes]) -> Iterator[Baseline]:
    """Every series of a state that has a baseline. Raises BrokenState."""
    schema = read_schema(pieces)
    for row in range(pair_count(pieces)):
        piece = baseline_piece(row, pieces)
        for metric, record in piece.series:
            series = read_records(schema, "series", record, SERIES)[0]
            if series["samples"] > 0:
                key = SeriesKey(piece.service, piece.model, schema["metrics"][metric])
                yield Baseline(key, piece.watermark_ms, series)


def pairs_of(pieces: Mapping[str, bytes]) -> dict[Pair, int]:
    """The pairs a state holds, with their rows."""
    found = {}
    for row in range(pair_count(pieces)):
        piece = baseline_piece(row, pieces)
        found[Pair(piece.service, piece.model)] = row
    return found


def changed_slots(learned: int, written: int, window: int) -> Iterable[int]:
    """Which pieces of a window changed between two counts of learned samples."""
    first = max(written, learned - window)  # older slots were overwritten meanwhile
    return {slot % window // SLOTS for slot in [*range(first, learned, SLOTS), learned - 1]}


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
        parts.append(np.frombuffer(data, np.float32))
    ring = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if len(ring) < filled:
        raise BrokenState(f"the window of pair {row}, metric {metric} has {len(ring)} of {filled} samples")
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
