"""The product's engine, default settings, as detectors for bench.llm: alerts where episodes begin, or flags lie."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.arrays import Columns
from anomalies.detection.dimensions import DIMENSIONS
from anomalies.detection.engine import Engine
from anomalies.detection.settings import CLASSIC, DetectionSettings
from anomalies.detection.verdicts import Detection, Episode
from baselines.stats.series import COMPLETION_TOKENS, COST, EVENT_METRICS, LATENCY, PROMPT_TOKENS, TOTAL_TOKENS
from ingestion.columns import cuts, let_time_pass

Stream = dict[str, NDArray[Any]]
Alerts = dict[str, NDArray[np.bool_]]

TOPIC = UUID("6f6a1b0e-3f57-4c35-8b5e-0b1f0c5d9a10")


def detect(stream: Stream) -> Alerts:
    """Events at which an episode began, by its metric: bool[events] each."""
    return _begun(_run(DetectionSettings(mode="calibrated"), stream)[0], stream)


def classic(stream: Stream) -> Alerts:
    """The same of the classic mode."""
    return _begun(_run(DetectionSettings(mode="classic"), stream)[0], stream)


def classic_flags(stream: Stream) -> Alerts:
    """Events that detectors of the classic mode flag in any of their metrics, by detector: bool[events] each."""
    flagged = {name: np.zeros(len(stream["ts"]), np.bool_) for name in CLASSIC}
    for detection in _run(DetectionSettings(mode="classic"), stream)[1]:
        for name in detection.detectors:
            flagged[name][detection.offset] = True
    return flagged


def _run(settings: DetectionSettings, stream: Stream) -> tuple[list[Episode], list[Detection]]:
    """What the engine tells of one stream."""
    engine = Engine(settings, TOPIC, 0)
    columns = _columns(stream, engine.pair_row("bench", "model"))
    clock_ms, detections = int(columns.record_ms[0]), list[Detection]()
    for start, stop in cuts(columns.record_ms, clock_ms):
        part = Columns._make(column[start:stop] for column in columns)
        clock_ms = let_time_pass(engine, part.record_ms, clock_ms, is_recording=True)
        detections += engine.score(part)
    return engine.drain().episodes, detections


def _begun(episodes: list[Episode], stream: Stream) -> Alerts:
    events, alerts = len(stream["ts"]), dict[str, NDArray[np.bool_]]()
    for episode in episodes:
        alerts.setdefault(episode.key.metric, np.zeros(events, np.bool_))[episode.first_offset] = True
    return alerts or {"none": np.zeros(events, np.bool_)}


def _columns(stream: Stream, pair: int) -> Columns:
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
