"""What counts as the same, and for how long."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from alerting.rules.dedup import dedup_key, is_duplicate

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = timedelta(minutes=5)
names = st.text(alphabet=st.characters(exclude_characters="\x00"), max_size=20)
parts = st.tuples(st.integers(1, 99), names, names, names, names)


@given(parts, parts)
def test_two_keys_are_equal_only_where_every_part_is(first: tuple, second: tuple) -> None:  # type: ignore[type-arg]
    assert (dedup_key(*first) == dedup_key(*second)) == (first == second)


def test_a_key_fits_its_column_whatever_the_names_hold() -> None:
    assert len(dedup_key(1, "\ud800" * 128, "m", "latency_spike", "critical")) == 64


@given(st.timedeltas(timedelta(0), timedelta(minutes=10)))
def test_an_opening_is_held_back_within_the_window_after_the_last_delivered_one(ago: timedelta) -> None:
    assert is_duplicate("anomaly.opened", NOW - ago, NOW, WINDOW) == (ago < WINDOW)


def test_what_was_never_delivered_holds_nothing_back() -> None:
    assert not is_duplicate("anomaly.opened", None, NOW, WINDOW)


def test_getting_worse_and_being_over_always_pass() -> None:
    assert not is_duplicate("anomaly.escalated", NOW, NOW, WINDOW)
    assert not is_duplicate("anomaly.resolved", NOW, NOW, WINDOW)


def test_a_clock_that_was_set_back_silences_for_one_window_at_most() -> None:
    assert not is_duplicate("anomaly.opened", NOW + timedelta(days=1), NOW, WINDOW)
