"""Finding the bad rows of a refused batch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.telemetry_store import StoreUnavailable, WriteRefused
from ingestion.telemetry_store.salvage import BatchRefused, write_salvaging


class Shelf:
    """Takes rows, refuses a batch that holds a negative one, and names suspects as it is told."""

    def __init__(self, hints: bool | str = True) -> None:
        self.kept: set[int] = set()
        self.writes = 0
        self._hints = hints

    def write(self, rows: Sequence[int]) -> None:
        self.writes += 1
        bad = [position for position, row in enumerate(rows) if row < 0]
        if bad:
            suspects = {True: bad[:1], False: [], "wrong": [len(rows) - 1, 10_000, -3]}[self._hints]
            raise BatchRefused("negative", suspects)
        self.kept |= set(rows)


@given(st.lists(st.integers(-20, 1000), max_size=60, unique=True), st.sampled_from([True, False, "wrong"]))
def test_all_good_rows_are_kept_and_all_bad_ones_named(rows: list[int], hints: bool | str) -> None:
    shelf = Shelf(hints)
    refused = write_salvaging(rows, shelf.write)
    assert refused == [WriteRefused(index, "negative") for index, row in enumerate(rows) if row < 0]
    assert shelf.kept == {row for row in rows if row >= 0}


@pytest.mark.parametrize(("hints", "at_most"), [(True, 4), (False, 40)])
def test_one_bad_row_among_thousands_costs_few_writes(hints: bool, at_most: int) -> None:
    rows = list(range(5000))
    rows[3333] = -1
    shelf = Shelf(hints)
    write_salvaging(rows, shelf.write)
    assert shelf.writes <= at_most


def test_a_store_that_refuses_everything_without_naming_rows_is_not_believed() -> None:
    def refuse(rows: Sequence[int]) -> None:
        raise BatchRefused("no such thing", blames_rows=False)

    with pytest.raises(StoreUnavailable, match="no such thing"):
        write_salvaging([1, 2, 3], refuse)


def test_an_outage_in_the_middle_is_passed_on() -> None:
    def fail(rows: Sequence[int]) -> None:
        if len(rows) > 1:
            raise BatchRefused("bad")
        raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable, match="gone"):
        write_salvaging([1, 2], fail)
