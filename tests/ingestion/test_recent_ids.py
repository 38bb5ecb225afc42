"""The set of recent identities against a plain one, and across a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingestion.recent import SPAN, RecentIds

gaps = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3) | st.integers(1, 2 * SPAN)), max_size=60)


def sightings(steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Identities at growing offsets."""
    found, offset = [], 0
    for identity, gap in steps:
        offset += gap
        found.append((identity, offset))
    return found


def plainly(seen: list[tuple[int, int]], window: int) -> list[bool]:
    """Whether each identity stood within the last `window` offsets before it."""
    return [
        any(other == identity and offset - window <= at for other, at in seen[:place])
        for place, (identity, offset) in enumerate(seen)
    ]


@given(steps=gaps, window=st.sampled_from([0, 1, 5, 100, SPAN, 3 * SPAN]))
def test_a_repetition_is_one_within_the_window(steps: list[tuple[int, int]], window: int) -> None:
    recent, seen = RecentIds(window), sightings(steps)
    assert [recent.is_repeated(*sighting) for sighting in seen] == plainly(seen, window)


@given(steps=gaps, window=st.sampled_from([1, 5, 100, SPAN, 3 * SPAN]), data=st.data())
def test_a_restart_at_any_place_changes_no_answer(
    steps: list[tuple[int, int]], window: int, data: st.DataObject
) -> None:
    seen = sightings(steps)
    cuts = data.draw(st.lists(st.integers(0, len(seen)), max_size=4).map(sorted))
    recent, pieces, answers = RecentIds(window), {}, []
    for place, (identity, offset) in enumerate(seen):
        if place in cuts:
            pieces |= recent.encode()
            recent = RecentIds(window)
            recent.load(pieces)
            for name in recent.outdated(set(pieces), offset):
                del pieces[name]
        answers.append(recent.is_repeated(identity, offset))
    assert answers == plainly(seen, window)


def test_only_what_changed_is_encoded_and_all_of_it_on_demand() -> None:
    recent = RecentIds(10 * SPAN)
    for span in range(3):
        recent.is_repeated(span, span * SPAN)
    assert set(recent.encode()) == {"i:0", "i:1", "i:2"}
    recent.is_repeated(9, 2 * SPAN + 1)
    assert set(recent.encode()) == {"i:2"}
    assert recent.encode() == {}
    recent.mark_changed()
    assert set(recent.encode()) == {"i:0", "i:1", "i:2"}
