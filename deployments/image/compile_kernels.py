"""Compile every kernel of the engine into NUMBA_CACHE_DIR, so that a container scores its first batch at once.

The engine is driven as a consumer drives it: full windows, spikes in both directions, closed minutes, state saved and
read back. A kernel that is not met here is compiled by the first container that needs it.
"""

from __future__ import annotations

import sys
from uuid import UUID

import numpy as np

from anomalies.detection.arrays import Columns
from anomalies.detection.engine import Engine
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.state import StateWriter, load
from baselines.stats.series import METRICS

START_MS = 1_790_000_000_000
CALLS = 1500


def calls() -> Columns:
    """Fifteen minutes of one pair, a call now and then a hundred times too high or low, some failed."""
    random = np.random.default_rng(1)
    values = 500 * np.exp(random.standard_normal((CALLS, len(METRICS))) * 0.1)
    values[500::97] *= 100
    values[501::97] /= 100
    event_ms = START_MS + np.arange(CALLS, dtype=np.int64) * 600
    return Columns(
        pair=np.zeros(CALLS, np.int64),
        offset=np.arange(CALLS, dtype=np.int64),
        event_ms=event_ms,
        record_ms=event_ms + 5,
        failed=random.random(CALLS) < 0.01,
        values=values,
    )


def drive() -> None:
    """What a consumer does with a partition: score, save, start again from what was saved, go on until it is idle."""
    engine = fresh()
    engine.pair_row("service", "model")
    detections = engine.score(calls())
    pieces = StateWriter(engine).encode(engine.drain().touched_pairs)
    again = fresh()
    writer = load(again, pieces)
    again.advance(again.earliest_due() + 86_400_000)
    changes = again.drain()
    writer.encode(changes.touched_pairs)
    if not (detections and changes.episodes and changes.minutes):
        sys.exit("spikes, and nothing came of them: the engine does not work")


def fresh() -> Engine:
    return Engine(DetectionSettings(), UUID(int=1), 0)


if __name__ == "__main__":
    drive()
