"""What the detection engine costs by itself: events per second, bytes per pair, time to encode its state.

python -m bench.engine                        # the whole table
python -m bench.engine --pairs 1000 --events 300000 --traffic quiet

CPU time is measured, not the wall clock: a core is what the figures are per. Before the clock starts the windows are
full and the baselines due at different moments; batches have 500 events.
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.arrays import Columns
from anomalies.detection.engine import Engine
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.state import StateWriter
from baselines.stats.series import EVENT_METRICS

BATCH = 500
START_MS = 1_790_000_000_000
# Events per second and pair, by the number of pairs.
RATES = {10: 50.0, 1_000: 10.0, 10_000: 2.0}
# Standard deviation of the logarithm of every metric: quiet is near normal, heavy flags as much as real LLM traffic.
SPREAD = {"quiet": 0.05, "heavy": 0.8}


class Figures(NamedTuple):
    """What was measured of one number of pairs."""

    pairs: int
    traffic: str
    flagged: float
    events_per_s: float
    drain_ms: float
    encode_us: float
    bytes_per_pair: float


def traffic(pairs: int, events: int, spread: float, seed: int = 1) -> Columns:
    """Events of all pairs at the rate of RATES (the nearest number of pairs), in the order of their time."""
    random = np.random.default_rng(seed)
    rate = RATES[min(RATES, key=lambda known: abs(known - pairs))]
    event_ms = START_MS + np.sort(random.uniform(0, events / (rate * pairs) * 1000, events)).astype(np.int64)
    typical = np.array([800.0, 600.0, 250.0, 850.0, 0.01, 250.0, 0.9])
    noise = random.standard_normal((min(events, 50_000), len(EVENT_METRICS))) * spread
    # Two hundred users, three regions, two prompt versions, two reasons to finish.
    dimensions = np.column_stack([1 + random.integers(0, most, events) for most in (200, 3, 2, 2)]).astype(np.uint32)
    return Columns(
        pair=random.integers(0, pairs, events),
        offset=np.arange(events, dtype=np.int64),
        event_ms=event_ms,
        record_ms=event_ms + 5,
        failed=random.random(events) < 0.01,
        values=np.resize(typical * np.exp(noise), (events, len(EVENT_METRICS))),
        dimensions=dimensions,
    )


def part(columns: Columns, start: int, stop: int) -> Columns:
    """Some of the events."""
    return Columns(*(column[start:stop] for column in columns))  # type: ignore[arg-type]


def warm(pairs: int, spread: float) -> Engine:
    """An engine whose windows are full."""
    engine = Engine(DetectionSettings(), UUID(int=1), 0)
    rows = np.array([engine.pair_row(f"service-{pair // 4}", f"model-{pair % 4}") for pair in range(pairs)])
    events = traffic(1, 3_000, spread, seed=2)
    events = events._replace(event_ms=events.event_ms * 0 + START_MS - 60_000, record_ms=events.event_ms * 0 + START_MS)
    first = part(events, 0, 1)
    once = Columns(*(np.repeat(column, pairs, axis=0) for column in first))
    engine.score(once._replace(pair=rows, failed=np.zeros(pairs, np.bool_)))
    engine.score(events)
    tables = engine.tables
    metrics = len(EVENT_METRICS)
    refreshed: NDArray[np.int64] = START_MS - np.random.default_rng(3).integers(0, 60_000, pairs * metrics)
    for table in (tables.series, tables.rings, tables.bands, tables.cusum):
        filled = table[: pairs * metrics].reshape(pairs, metrics, *table.shape[1:])
        filled[1:] = filled[0]
    tables.series["refreshed_at"][: pairs * metrics] = refreshed
    engine.drain()
    return engine


def bytes_per_pair(engine: Engine) -> float:
    """Of the rows in use; tables grow by doubling, and what is not used yet takes no memory."""
    tables = engine.tables
    of_pair = (tables.pairs, tables.series_of, tables.open_minutes, tables.open_episodes)
    if engine.is_calibrated:
        of_pair += (tables.aggregates, tables.aggregate_rings, *engine.channels)
    taken = len(tables.episodes) - int(tables.free_episode_count[0])
    used = (
        (len(engine.pairs), of_pair),
        (len(engine.series_keys), (tables.series, tables.rings, tables.bands, tables.cusum)),
        (taken, (tables.episodes, tables.episode_scores)),
        (len(tables.minutes) - int(tables.free_count[0]), (tables.minutes, tables.sketches)),
    )
    return sum(table.nbytes / len(table) * rows for rows, group in used for table in group) / len(engine.pairs)


def measure(pairs: int, events: int, kind: str) -> Figures:
    """Score all events, then drain and encode every pair once; returns the figures."""
    engine = warm(pairs, SPREAD[kind])
    columns = traffic(pairs, events, SPREAD[kind])
    writer = StateWriter(engine)
    writer.encode(range(pairs))
    flagged, drained, began = 0, 0.0, time.process_time()
    for start in range(0, events, BATCH):
        detections = engine.score(part(columns, start, start + BATCH))
        flagged += len({detection.event for detection in detections})
        if start % (40 * BATCH) == 0:
            drain_began = time.process_time()
            engine.drain()
            drained = max(drained, time.process_time() - drain_began)
    took = time.process_time() - began
    engine.drain()
    # Afterwards one second's worth of changes per pair, not the whole windows.
    writer.encode(range(pairs))
    engine.score(part(columns, 0, min(events, 8 * pairs)))
    touched = engine.drain().touched_pairs
    encode_began = time.process_time()
    writer.encode(touched)
    encode = (time.process_time() - encode_began) / len(touched)
    return Figures(pairs, kind, flagged / events, events / took, drained * 1e3, encode * 1e6, bytes_per_pair(engine))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="*", default=list(RATES))
    parser.add_argument("--events", type=int, default=1_200_000)
    parser.add_argument("--traffic", choices=list(SPREAD), nargs="*", default=list(SPREAD))
    chosen = parser.parse_args()
    measure(10, 2_000, "heavy")  # compiles
    print("  pairs  traffic  flagged   events/s  drain ms  encode us/pair  kB/pair")
    for pairs in chosen.pairs:
        for kind in chosen.traffic:
            found = measure(pairs, chosen.events, kind)
            print(
                f"{found.pairs:>7} {found.traffic:>8} {found.flagged:>8.1%} {found.events_per_s:>10,.0f} "
                f"{found.drain_ms:>9.1f} {found.encode_us:>15.1f} {found.bytes_per_pair / 1000:>8.1f}"
            )


if __name__ == "__main__":
    main()
