"""What the detection engine costs by itself: events per second, bytes per pair, time to encode its state.

python -m bench.engine                        # the whole table
python -m bench.engine --pairs 1000 --events 300000 --traffic quiet --mode calibrated --metrics 5

CPU time is measured, not the wall clock: a core is what the figures are per. Before the clock starts the windows are
full and the baselines due at different moments; batches have 500 events.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.arrays import Columns
from anomalies.detection.engine import Engine
from anomalies.detection.saving import StateWriter
from anomalies.detection.settings import MODES, DetectionSettings
from baselines.stats.series import EVENT_METRICS

BATCH = 500
WARM_EVENTS = 5_000
START_MS = 1_790_000_000_000
ARRAYS_OF_PAIRS = ("pairs", "series_of", "open_minutes", "open_episodes", "backgrounds")
COPIED = ("pairs", "backgrounds", "aggregates", "aggregate_rings")
# Events per second and pair, by the number of pairs.
RATES = {10: 50.0, 1_000: 10.0, 10_000: 2.0}
# Standard deviation of the logarithm of every metric: quiet is near normal, heavy flags as much as real LLM traffic.
SPREAD = {"quiet": 0.05, "heavy": 0.8}


class Case(NamedTuple):
    """What is measured: how many pairs, which traffic, in which mode, how many metrics an event has."""

    pairs: int
    traffic: str = "heavy"
    mode: str = "calibrated"
    metrics: int = len(EVENT_METRICS)


class Figures(NamedTuple):
    """What was measured of one case."""

    flagged: float
    events_per_s: float
    drain_ms: float
    encode_us: float
    flushed_bytes: float
    bytes_per_pair: float


def rate_of(pairs: int) -> float:
    """Events per second and pair: that of the nearest number of pairs."""
    return RATES[min(RATES, key=lambda known: abs(known - pairs))]


def traffic(case: Case, events: int, span_ms: float, seed: int = 1) -> Columns:
    """Events of all pairs in a span of time from START_MS on, in the order of their time."""
    random = np.random.default_rng(seed)
    event_ms = START_MS + np.sort(random.uniform(0, span_ms, events)).astype(np.int64)
    typical = np.array([800.0, 600.0, 250.0, 850.0, 0.01, 250.0, 0.9])
    noise = random.standard_normal((min(events, 50_000), len(EVENT_METRICS))) * SPREAD[case.traffic]
    values = np.resize(typical * np.exp(noise), (events, len(EVENT_METRICS)))
    values[:, case.metrics :] = np.nan
    # Two hundred users, three regions, two prompt versions, two reasons to finish.
    dimensions = np.column_stack([1 + random.integers(0, most, events) for most in (200, 3, 2, 2)]).astype(np.uint32)
    return Columns(
        pair=random.integers(0, case.pairs, events),
        offset=np.arange(events, dtype=np.int64),
        event_ms=event_ms,
        record_ms=event_ms + 5,
        failed=random.random(events) < 0.01,
        values=values,
        dimensions=dimensions,
    )


def part(columns: Columns, start: int, stop: int) -> Columns:
    """Some of the events."""
    return Columns(*(column[start:stop] for column in columns))  # type: ignore[arg-type]


def warm(case: Case) -> Engine:
    """An engine whose windows are full, with every pair in the state that 5 000 events left the first one in."""
    engine = Engine(DetectionSettings(mode=case.mode), UUID(int=1), 0)
    rows = np.array([engine.pair_row(f"service-{row // 4}", f"model-{row % 4}") for row in range(case.pairs)])
    span_ms = WARM_EVENTS / rate_of(case.pairs) * 1000
    events = traffic(case._replace(pairs=1), WARM_EVENTS, span_ms, seed=2)
    events = events._replace(event_ms=events.event_ms - int(span_ms), record_ms=events.record_ms - int(span_ms))
    once = Columns._make(np.repeat(column[:1], case.pairs, axis=0) for column in events)
    engine.score(once._replace(pair=rows, failed=np.zeros(case.pairs, np.bool_)))
    engine.score(events)
    engine.advance(int(engine.tables.pairs["last_record"][0]) + 1)
    _copy_first_pair(engine, case)
    engine.drain()
    return engine


def _copy_first_pair(engine: Engine, case: Case) -> None:
    """Give all pairs the state of the first, except for what has slots; baselines are due at different moments."""
    tables, pairs = engine.tables, case.pairs
    for name in COPIED if engine.is_calibrated else COPIED[:1]:
        table = getattr(tables, name)
        table[1:pairs] = table[0]
    tables.pairs["open_count"][1:pairs] = 0
    for states in (engine.channels, engine.watches) if engine.is_calibrated else ():
        for table in states:
            table[1:pairs] = table[0]
    count = pairs * case.metrics
    refreshed: NDArray[np.int64] = START_MS - np.random.default_rng(3).integers(0, 60_000, count)
    for table in (tables.series, tables.rings, tables.bands, tables.cusum):
        filled = table[:count].reshape(pairs, case.metrics, *table.shape[1:])
        filled[1:] = filled[0]
    tables.series["refreshed_at"][:count] = refreshed


def bytes_per_pair(engine: Engine) -> float:
    """Of the rows in use; tables grow by doubling, and what is not used yet takes no memory."""
    tables = engine.tables
    of_pair: list[NDArray[Any]] = [getattr(tables, name) for name in ARRAYS_OF_PAIRS]
    if engine.is_calibrated:
        of_pair += (tables.aggregates, tables.aggregate_rings, *engine.channels, *engine.watches)
    taken = len(tables.episodes) - int(tables.free_episode_count[0])
    used: tuple[tuple[int, Sequence[NDArray[Any]]], ...] = (
        (len(engine.pairs), of_pair),
        (len(engine.series_keys), (tables.series, tables.rings, tables.bands, tables.cusum)),
        (taken, (tables.episodes, tables.episode_scores)),
        (len(tables.minutes) - int(tables.free_count[0]), (tables.minutes, tables.sketches)),
    )
    carried = int(tables.carry_count[0]) * tables.carries.itemsize
    rows = sum(table.nbytes / len(table) * rows for rows, group in used for table in group)
    return (rows + carried) / len(engine.pairs)


def measure(case: Case, events: int) -> Figures:
    """Score all events, then drain and encode every pair once; returns the figures."""
    engine, pairs = warm(case), case.pairs
    columns = traffic(case, events, events / (rate_of(pairs) * pairs) * 1000)
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
    pieces = writer.encode(touched)
    encode = (time.process_time() - encode_began) / len(touched)
    size = sum(map(len, pieces.values())) / len(touched)
    return Figures(flagged / events, events / took, drained * 1e3, encode * 1e6, size, bytes_per_pair(engine))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="*", default=list(RATES))
    parser.add_argument("--events", type=int, default=1_200_000)
    parser.add_argument("--traffic", choices=list(SPREAD), nargs="*", default=list(SPREAD))
    parser.add_argument("--mode", choices=MODES, nargs="*", default=list(MODES))
    parser.add_argument("--metrics", type=int, nargs="*", default=[5, len(EVENT_METRICS)])
    chosen = parser.parse_args()
    for mode in chosen.mode:
        measure(Case(10, mode=mode), 2_000)  # compiles
    print("      mode metrics  pairs  traffic  flagged   events/s  drain ms  encode us/pair  flush kB/pair  kB/pair")
    for mode, metrics, pairs, kind in product(chosen.mode, chosen.metrics, chosen.pairs, chosen.traffic):
        found = measure(Case(pairs, kind, mode, metrics), chosen.events)
        print(
            f"{mode:>10} {metrics:>7} {pairs:>6} {kind:>8} {found.flagged:>8.1%} {found.events_per_s:>10,.0f} "
            f"{found.drain_ms:>9.1f} {found.encode_us:>15.1f} {found.flushed_bytes / 1000:>14.1f} "
            f"{found.bytes_per_pair / 1000:>8.1f}"
        )


if __name__ == "__main__":
    main()
