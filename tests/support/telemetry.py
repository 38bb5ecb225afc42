"""Batches of events for the detection engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomalies.detection.arrays import Columns
from anomalies.detection.dimensions import DIMENSIONS, Sample, code
from anomalies.detection.engine import Engine
from anomalies.detection.settings import CLASSIC, DetectionSettings
from anomalies.detection.verdicts import Changes, Episode, Minute
from baselines.stats.series import EVENT_METRICS, LATENCY

TOPIC = UUID("0d5b3c4e-6a3c-4f0b-9a55-6f2f1a3d7c11")
NOON_MS = 1_790_000_040_000  # the start of a minute

_TEXTS = [f"value-{number}" for number in range(50)]
CODES = np.array([code(text) for text in _TEXTS], np.uint32)  # of values that `sampled` can tell
_TEXT_OF = dict(zip(CODES.tolist(), _TEXTS, strict=True))


def watching(*detectors: str, **parameters: Any) -> DetectionSettings:
    """Settings under which the given detectors, and no others, watch latency."""
    metrics = {name: ("latency_ms",) if name in detectors else () for name in CLASSIC}
    return DetectionSettings(metrics=metrics, **parameters)


def engine(settings: DetectionSettings | None = None, pairs: int = 1) -> Engine:
    """An engine with some pairs, rows 0 and up."""
    made = Engine(settings or DetectionSettings(), TOPIC, 3)
    for number in range(pairs):
        made.pair_row(f"service-{number}", "model")
    return made


def batch(events: int, **columns: Any) -> Columns:
    """A batch of one pair, one event a second, offsets from 0; columns given as scalars or arrays replace these."""
    event_ms = columns.get("event_ms", NOON_MS + 1000 * np.arange(events))
    event_ms = np.broadcast_to(np.asarray(event_ms, np.int64), events)
    values = np.full((events, len(EVENT_METRICS)), np.nan)
    for metric, name in enumerate(EVENT_METRICS):
        if name in columns:
            values[:, metric] = columns[name]

    def column(name: str, default: Any, dtype: Any) -> NDArray[Any]:
        return np.broadcast_to(np.asarray(columns.get(name, default), dtype), events).copy()

    return Columns(
        pair=column("pair", 0, np.int64),
        offset=column("offset", np.arange(events), np.int64),
        event_ms=event_ms.copy(),
        record_ms=column("record_ms", event_ms, np.int64),
        failed=column("failed", False, np.bool_),
        values=values,
        dimensions=np.broadcast_to(
            np.asarray(columns.get("dimensions", 0), np.uint32), (events, len(DIMENSIONS))
        ).copy(),
    )


def traced(traces: Sequence[str]) -> Callable[[int], Sample]:
    """Samples of events that have these trace ids and nothing else."""
    return lambda event: Sample(traces[event], ("",) * len(DIMENSIONS))


def sampled(columns: Columns) -> Callable[[int], Sample]:
    """Samples of events as their columns have them, traces by their offsets; what is none of CODES has no text."""
    rows, offsets = columns.dimensions.tolist(), columns.offset.tolist()
    return lambda event: Sample(f"trace-{offsets[event]}", tuple(_TEXT_OF.get(value, "") for value in rows[event]))


def latencies(values: Any, **columns: Any) -> Columns:
    """A batch of one event per latency."""
    return batch(len(values), latency_ms=values, **columns)


def part(columns: Columns, start: int, stop: int) -> Columns:
    """The events [start, stop)."""
    return Columns(*(column[start:stop] for column in columns))


def traffic(events: int, pairs: int, seed: int, spacing_ms: int = 400) -> Columns:
    """Heavy-tailed traffic of several pairs: all metrics, gaps, failures, late events, events from the future."""
    random = np.random.default_rng(seed)
    record_ms = NOON_MS + np.cumsum(random.exponential(spacing_ms, events)).astype(np.int64)
    shift = random.choice([0, 0, 0, 0, -90_000, -400_000, 200_000], events)
    values = np.exp(random.normal(5, 1, (events, len(EVENT_METRICS)))).round(3)
    values[random.random(values.shape) < 0.1] = np.nan
    values[random.random(values.shape) < 0.01] = np.inf
    values[:, LATENCY] *= np.where(random.random(events) < 0.05, 20, 1)
    return Columns(
        pair=random.integers(0, pairs, events),
        offset=np.arange(events, dtype=np.int64),
        event_ms=record_ms + shift,
        record_ms=record_ms,
        failed=random.random(events) < 0.05,
        values=values,
        dimensions=CODES[random.zipf(2.0, (events, len(DIMENSIONS))) % len(CODES)],
    )


class Told:
    """What several drains told, put together as the database does: episodes by id, minutes as rows."""

    def __init__(self) -> None:
        self.episodes: dict[UUID, Episode] = {}
        self.minutes: list[Minute] = []

    def add(self, changes: Changes) -> list[int]:
        self.episodes |= {episode.id: episode for episode in changes.episodes}
        self.minutes += changes.minutes
        return changes.touched_pairs

    def everything(self) -> tuple[dict[UUID, Any], list[Any]]:
        """In a form that can be compared."""
        rows = sorted((msgspec.to_builtins(minute) for minute in self.minutes), key=str)
        return {name: msgspec.to_builtins(episode) for name, episode in self.episodes.items()}, rows
