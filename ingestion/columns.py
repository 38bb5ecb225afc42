"""From events to what the engine takes: its columns, without repetitions, cut where idle time has to pass.

Whoever scores events, live or from a recording, comes this way.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.arrays import Columns
from anomalies.detection.dimensions import DIMENSIONS, Sample, code
from anomalies.detection.distributions import is_chosen
from anomalies.detection.embeddings import Vector
from anomalies.detection.engine import Engine
from ingestion.formats.embeddings import vector
from ingestion.formats.event import Event
from ingestion.recent import RecentIds, identity

# Within a stream, idle pairs are looked at each time the record time enters a new slot of this length.
SLOT_MS = 10_000

_packed = struct.Struct(f"={len(DIMENSIONS)}I").pack


def columns_of(
    events: Sequence[Event], offsets: Sequence[int], records: Sequence[int], row: Callable[[str, str], int]
) -> Columns:
    """Events at their offsets and record times (ms) as columns; `row` gives the row of a (service, model)."""
    values = [
        (
            event.latency_ms,
            event.prompt_tokens,
            event.completion_tokens,
            event.total_tokens,
            event.cost_usd,
            event.ttft_ms,
            event.quality_score,
        )
        for event in events
    ]
    codes = bytearray().join([_codes(*values_of(event)) for event in events])
    return Columns(
        pair=np.array([row(event.service, event.model) for event in events], np.int64),
        offset=np.array(offsets, np.int64),
        event_ms=np.array([event.timestamp_ns for event in events], np.int64) // 1_000_000,
        record_ms=np.array(records, np.int64),
        failed=np.array([event.error for event in events], np.bool_),
        values=np.array(values, np.float64),
        dimensions=np.frombuffer(codes, np.uint32).reshape(len(events), len(DIMENSIONS)),
    )


@lru_cache(maxsize=32_768)
def _codes(*values: str) -> bytes:
    """The codes of an event's dimensions as an array holds them: few combinations recur."""
    return _packed(*map(code, values))


def values_of(event: Event) -> tuple[str, ...]:
    """An event's value of each of DIMENSIONS, "" where it has none."""
    metadata = event.metadata
    return event.user_id, metadata.get("region", ""), metadata.get("prompt_version", ""), event.finish_reason


def samples_of(events: Sequence[Event]) -> Callable[[int], Sample]:
    """What an anomaly may show of these events, by their place: few of them are asked for."""
    return lambda place: Sample(events[place].trace_id, values_of(events[place]))


def vectors_of(events: Sequence[Event], offsets: NDArray[np.int64]) -> dict[int, Vector]:
    """The embeddings of these events that are to be learned, by their place."""
    given = [place for place, event in enumerate(events) if event.embedding]
    return {place: vector(events[place].embedding) for place in given if is_chosen(offsets[place])}


def fresh_places(events: Sequence[Event], offsets: Sequence[int], recent: RecentIds) -> list[int]:
    """The places of the events that were not seen lately."""
    repeated = recent.is_repeated
    return [
        place
        for place, event in enumerate(events)
        if event.event_id is None or not repeated(identity(event.service, event.event_id), offsets[place])
    ]


def cuts(record_ms: NDArray[np.int64], clock_ms: int, more: Iterable[int] = ()) -> list[tuple[int, int]]:
    """[start, stop) of the parts of a batch before which time has to pass: at a new slot, and at `more` places.

    `clock_ms` is the newest record time before the batch.
    """
    newest = np.maximum.accumulate(np.append(clock_ms, record_ms))
    bounds = {0, *np.flatnonzero(np.diff(newest // SLOT_MS)).tolist(), *more, len(record_ms)}
    return list(pairwise(sorted(bounds)))


def let_time_pass(engine: Engine, record_ms: NDArray[np.int64], clock_ms: int, *, is_recording: bool = False) -> int:
    """Let idle time pass before a part of a batch that `cuts` made; returns the newest record time after it.

    A recording says what there was; from a broker that was down nobody knows what there would have been.
    """
    first = int(record_ms[0])
    if first // SLOT_MS > clock_ms // SLOT_MS:
        engine.advance(first, is_confirmed=is_recording)
    return max(clock_ms, int(record_ms.max()))
