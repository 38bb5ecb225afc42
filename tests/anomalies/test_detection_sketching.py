"""Counts of open minutes in 8 bits: carries keep them exact."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from anomalies.detection import arrays, loading, saving, sketching
from anomalies.detection.arrays import Tables
from anomalies.detection.engine import Engine
from anomalies.detection.settings import DetectionSettings
from baselines.stats import sketch
from tests.support.telemetry import NOON_MS, TOPIC, batch, engine


def tables() -> Tables:
    return arrays.allocate(pairs=1, series=1, slots=3, window=10)


def counts(**cells: int) -> NDArray[np.uint32]:
    """Counts whose cells, named r<row>b<bucket>, are given."""
    made = sketch.empty()
    for name, count in cells.items():
        row, bucket = name[1:].split("b")
        made[int(row), int(bucket)] = count
    return made


def read(made: Tables, slot: int) -> NDArray[np.uint32]:
    return sketch.decode(sketching.encoded(made, np.array([slot]))[0])


@pytest.mark.parametrize("count", [254, 255, 256, 200_000])
def test_counts_beyond_eight_bits_are_exact(count: int) -> None:
    made = sketching.with_room(sketching.fill(tables(), 1, counts(r2b7=count)), 3)
    for _ in range(3):
        sketching.add(made, 1, 2, 7)
    np.testing.assert_array_equal(read(made, 1), counts(r2b7=count + 3))


def test_slots_do_not_share_what_was_carried() -> None:
    made = tables()
    wanted = {0: counts(r0b0=70_000), 1: counts(r5b255=140_000, r0b0=1), 2: counts(r0b0=65_536)}
    for slot, each in wanted.items():
        made = sketching.fill(made, slot, each)
    sketching.clear(made, np.array([0]))
    np.testing.assert_array_equal(read(made, 0), sketch.empty())
    for slot in (1, 2):
        np.testing.assert_array_equal(read(made, slot), wanted[slot])


def test_a_minute_of_very_many_calls_is_told_and_saved_exactly() -> None:
    calls = 70_000
    columns = batch(calls, latency_ms=100.0, event_ms=NOON_MS + np.arange(calls) // 2)
    made = engine()
    made.score(columns)
    again = Engine(DetectionSettings(), TOPIC, 3)
    loading.load(again, saving.StateWriter(made).encode(made.drain().touched_pairs))
    for each in (made, again):
        each.advance(each.earliest_due())
        (minute,) = each.drain().minutes
        assert minute.count == sketch.decode(minute.sketches)[0].sum() == calls
