"""The set of recent identities is a function of the last offsets alone, however it was come by."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingestion.recent import SPAN, RecentIds, identity

STREAM = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 3000)), max_size=60)


def offsets(stream: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(identity, offset) with growing offsets."""
    at, placed = 0, []
    for name, step in stream:
        at += step
        placed.append((name, at))
    return placed


@given(STREAM, st.integers(0, 60), st.sampled_from([1, 50, 5000, 2 * SPAN]))
def test_whoever_rereads_the_last_window_answers_the_same(stream: list[tuple[int, int]], cut: int, window: int) -> None:
    placed = offsets(stream)
    original = RecentIds(window)
    answers = [original.is_repeated(name, at) for name, at in placed]
    rest = placed[cut:]
    if not rest:
        return
    reread = RecentIds(window)
    for name, at in placed[:cut]:
        if at >= rest[0][1] - window:
            reread.is_repeated(name, at)
    assert [reread.is_repeated(name, at) for name, at in rest] == answers[cut:]


@given(STREAM, st.sets(st.integers(0, 60)), st.sampled_from([1, 50, 5000, 2 * SPAN]))
def test_whoever_loads_the_pieces_answers_the_same(
    stream: list[tuple[int, int]], flushes: set[int], window: int
) -> None:
    placed = offsets(stream)
    original, stored = RecentIds(window), {}
    current = RecentIds(window)
    for place, (name, at) in enumerate(placed):
        assert current.is_repeated(name, at) == original.is_repeated(name, at)
        if place in flushes:
            gone = current.outdated(set(stored), at + 1)
            stored = {key: piece for key, piece in (stored | current.encode()).items() if key not in gone}
            current = RecentIds(window)
            current.load(stored)


def test_a_sighting_counts_up_to_the_last_offset_of_the_window() -> None:
    recent = RecentIds(10)
    assert [recent.is_repeated(1, at) for at in (0, 10, 21)] == [False, True, False]


def test_the_same_id_of_two_services_is_two_events() -> None:
    assert identity("a", "1") != identity("b", "1")
    assert identity("a", "b1") != identity("ab", "1")
