"""Tables whose rows lie side by side."""

from __future__ import annotations

import numpy as np

from baselines.stats.rows import bytes_of, extended, side_by_side

ODD = np.dtype([("mean", "<f8"), ("flag", "|i1")])
INNER = {"odd": (ODD, ()), "pairs": (np.dtype(np.int64), (3,)), "rings": (np.dtype(np.float32), (2, 5))}


def test_row_after_row_the_tables_lie_side_by_side() -> None:
    tables = side_by_side(4, INNER)
    first = tables["odd"].ctypes.data
    assert tables["pairs"].ctypes.data - first == 16
    assert tables["rings"].ctypes.data - first == bytes_of([tables["odd"], tables["pairs"]]) == 16 + 24
    assert {table.strides[0] for table in tables.values()} == {128}


def test_every_table_has_its_own_numbers_and_is_aligned() -> None:
    tables = side_by_side(3, INNER)
    tables["pairs"][:] = np.arange(9).reshape(3, 3)
    tables["rings"][1] = 7.0
    tables["odd"]["mean"] = 2.5
    assert tables["pairs"].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert tables["rings"].sum() == 70.0
    assert tables["odd"]["flag"].tolist() == [0, 0, 0]
    assert tables["pairs"].flags.aligned
    assert tables["rings"].flags.aligned


def test_longer_tables_begin_with_what_was_used() -> None:
    tables = side_by_side(2, INNER)
    tables["pairs"][:] = 5
    longer = extended(tables, 4, 1)
    assert longer["pairs"].tolist() == [[5, 5, 5], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert {name: (table.dtype, table.shape[1:]) for name, table in longer.items()} == INNER
    longer["pairs"][0] = 6
    assert tables["pairs"][0].tolist() == [5, 5, 5]
