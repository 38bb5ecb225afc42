"""The product's engine, default settings, as a detector for bench.llm: an alert where an episode begins."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.arrays import Columns
from anomalies.detection.dimensions import DIMENSIONS
from anomalies.detection.engine import Engine
from anomalies.detection.settings import DetectionSettings
from baselines.stats.series import COMPLETION_TOKENS, COST, EVENT_METRICS, LATENCY, PROMPT_TOKENS, TOTAL_TOKENS
from ingestion.columns import cuts, let_time_pass

TOPIC = UUID("6f6a1b0e-3f57-4c35-8b5e-0b1f0c5d9a10")


def detect(stream: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
    """Events at which an episode began, by its metric: bool[events] each."""
    engine = Engine(DetectionSettings(mode="calibrated"), TOPIC, 0)
    pair = engine.pair_row("bench", "model")
    alerts: dict[str, NDArray[np.bool_]] = {}
    columns = _columns(stream, pair)
    clock_ms = int(columns.record_ms[0])
    for start, stop in cuts(columns.record_ms, clock_ms):
        part = Columns._make(column[start:stop] for column in columns)
        clock_ms = let_time_pass(engine, part.record_ms, clock_ms, is_recording=True)
        engine.score(part)
    events = len(stream["ts"])
    for episode in engine.drain().episodes:
        alerts.setdefault(episode.key.metric, np.zeros(events, np.bool_))[episode.first_offset] = True
    return alerts or {"none": np.zeros(events, np.bool_)}


def _columns(stream: dict[str, NDArray[Any]], pair: int) -> Columns:
    events = len(stream["ts"])
    values = np.full((events, len(EVENT_METRICS)), np.nan)
    names = {
        LATENCY: "latency_ms",
        PROMPT_TOKENS: "input_tokens",
        COMPLETION_TOKENS: "output_tokens",
        TOTAL_TOKENS: "total_tokens",
        COST: "cost_usd",
    }
    for metric, name in names.items():
        values[:, metric] = stream[name]
    event_ms = (stream["ts"] * 1000).astype(np.int64)
    return Columns(
        pair=np.full(events, pair, np.int64),
        offset=np.arange(events, dtype=np.int64),
        event_ms=event_ms,
        record_ms=event_ms,
        failed=stream["error"] > 0,
        values=values,
        dimensions=np.zeros((events, len(DIMENSIONS)), np.uint32),
    )
