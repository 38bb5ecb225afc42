"""Compiling every loop of the engine before the first event waits for it: `python -m anomalies.detection.warmup`.

On a machine that never ran this version that takes a minute or two, afterwards half a second (the compiled loops
are kept, see baselines.stats.compiled). The engine is driven as a consumer drives it: full windows, spikes in both
directions, closed minutes, state saved and read back.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import numpy as np

from anomalies.detection.arrays import Columns
from anomalies.detection.dimensions import DIMENSIONS
from anomalies.detection.engine import Engine
from anomalies.detection.loading import load
from anomalies.detection.saving import StateWriter
from anomalies.detection.settings import MODES, DetectionSettings
from baselines.stats.series import EVENT_METRICS, LATENCY

START_MS = 1_790_000_000_000
CALLS = 1500
A_DAY_MS = 86_400_000


def warm_up(settings: DetectionSettings | None = None) -> int:
    """Compile what `settings` need (by default both modes); returns how many samples the trial run flagged."""
    wanted = [settings] if settings else [DetectionSettings(mode=mode) for mode in MODES]
    return sum(_drive(each) for each in wanted)


def _drive(settings: DetectionSettings) -> int:
    settings = replace(settings, min_samples=10, window=max(settings.window, 10))
    engine = Engine(settings, UUID(int=1), 0)
    engine.pair_row("service", "model")
    detections = engine.score(_calls(), vectors={CALLS - 1: np.ones(2)})
    pieces = StateWriter(engine).encode(engine.drain().touched_pairs)
    again = Engine(settings, UUID(int=1), 0)
    writer = load(again, pieces)
    again.advance(again.earliest_due() + A_DAY_MS)
    writer.encode(again.drain().touched_pairs)
    return len(detections)


def _calls() -> Columns:
    """Fifteen minutes of one pair, a call now and then far too slow or fast, some failed."""
    random = np.random.default_rng(1)
    values = 500 * np.exp(random.standard_normal((CALLS, len(EVENT_METRICS))) * 0.1)
    values[600::97, LATENCY] *= 1e6
    values[601::97, LATENCY] /= 1e6
    event_ms = START_MS + np.arange(CALLS, dtype=np.int64) * 600
    return Columns(
        pair=np.zeros(CALLS, np.int64),
        offset=np.arange(CALLS, dtype=np.int64),
        event_ms=event_ms,
        record_ms=event_ms + 5,
        failed=random.random(CALLS) < 0.01,
        values=values,
        dimensions=random.integers(1, 20, (CALLS, len(DIMENSIONS)), np.uint32),
    )


if __name__ == "__main__":
    raise SystemExit(0 if warm_up() else "spikes, and nothing came of them: the engine does not work")
