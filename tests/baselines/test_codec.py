"""The layout of baselines as pieces of bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.stats import codec
from baselines.stats.codec import SLOTS, BrokenState
from baselines.stats.window import SERIES


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 450), st.integers(0, 2000), st.integers(0, 1200))
def test_changed_pieces_are_those_of_the_slots_written_since(window: int, written: int, fresh: int) -> None:
    learned = np.array([7, written + fresh])
    changed = codec.changed_pieces(learned, np.array([7, written]), window)
    expected = {slot % window // SLOTS for slot in range(written, written + fresh)}
    assert set(changed[:, 0]) <= {1}
    assert set(changed[:, 1]) == expected


def test_a_piece_at_the_end_of_a_window_is_padded_and_read_back() -> None:
    rings = np.arange(500, dtype=np.float32).reshape(2, 250)
    cut = codec.cut(rings, np.array([1]), np.array([[0, 0], [0, 1], [0, 2]]))
    pieces = {codec.window_piece(0, 0, number): row.tobytes() for number, row in enumerate(cut)}
    np.testing.assert_array_equal(codec.read_ring(0, 0, 9999, 250, pieces), rings[1])


def ring_of(learned: int, window: int) -> tuple[np.ndarray, np.void]:
    ring = np.zeros(window, np.float32)
    for number in range(learned):
        ring[number % window] = number
    series = np.zeros(1, SERIES)[0]
    series["learned"] = series["refreshed_learned"] = learned
    return ring, series


@pytest.mark.parametrize("learned", [5, 100, 137])
@pytest.mark.parametrize("new_window", [3, 60, 100, 250])
def test_a_window_of_another_size_keeps_the_newest_samples_in_order(learned: int, new_window: int) -> None:
    kept, series = codec.lay_out(*ring_of(learned, 100), 100, new_window)
    np.testing.assert_array_equal(kept, np.arange(learned)[-min(100, new_window) :])
    assert series["learned"] == series["refreshed_learned"] == len(kept)


def test_records_of_an_older_layout_are_read_by_name() -> None:
    old = np.dtype([("dropped", "<i4"), ("mean", "<f4"), ("learned", "<i8")])
    schema = {"records": {"series": [[name, old[name].str] for name in old.names or ()]}}
    record = codec.read_records(schema, "series", np.array([(1, 2.5, 3)], old).tobytes(), SERIES, 1)[0]
    assert (record["mean"], record["learned"], record["stddev"]) == (2.5, 3, 0.0)


def test_records_that_are_cut_off_are_refused() -> None:
    schema = codec.describe(1000, {})
    with pytest.raises(BrokenState, match="series"):
        codec.read_records(schema, "series", b"\0" * (SERIES.itemsize - 1), SERIES, 1)


@pytest.mark.parametrize("schema", [b"", b"nonsense", b"[]", b"{}", json.dumps({"version": 99}).encode()])
def test_a_schema_that_cannot_be_read_is_refused(schema: bytes) -> None:
    with pytest.raises(BrokenState):
        codec.read_schema({"schema": schema})
