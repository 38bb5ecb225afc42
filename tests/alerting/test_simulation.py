"""What a rule would have told: the decisions that tell, played through over what is past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.rules.active_hours import parse_active_hours
from alerting.rules.grouping import Pace
from alerting.rules.simulation import Episode, Life, TooManyTellings, lives

NOON = datetime(2026, 3, 6, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATER = NOON + timedelta(hours=10)
PACE = Pace(group_wait=MINUTE, group_interval=5 * MINUTE, repeat_interval=timedelta(hours=4))


def episode(number: int, begin: float, end: float | None = None, rank: int = 2) -> Episode:
    """One that begins and ends so many minutes after noon."""
    return Episode(UUID(int=number), rank, NOON + begin * MINUTE, None if end is None else NOON + end * MINUTE)


def told(*episodes: Episode, **options: Any) -> list[tuple[int, int]]:
    """Of each life, how many episodes were told and how often."""
    found: list[Life] = lives(episodes, PACE, LATER, **options)
    return [(len(life.episodes), life.tellings) for life in found]


def test_what_begins_within_the_wait_is_told_at_once_together() -> None:
    assert told(episode(1, 0, 20), episode(2, 0.5, 20), episode(3, 0.9, 20)) == [(3, 1)]


def test_what_joins_a_told_group_is_told_once_per_interval() -> None:
    assert told(episode(1, 0, 60), episode(2, 2, 60), episode(3, 3, 60), episode(4, 30, 60)) == [(4, 3)]


def test_what_lasts_is_repeated_and_what_is_over_is_not() -> None:
    assert told(episode(1, 0)) == [(1, 3)]  # after one minute, four hours and eight hours
    assert told(episode(1, 0, 60)) == [(1, 1)]


def test_a_group_that_is_over_begins_a_new_life() -> None:
    assert told(episode(1, 0, 10), episode(2, 60, 70), episode(3, 300, 310)) == [(1, 1)] * 3


def test_what_does_not_last_long_enough_is_told_to_nobody() -> None:
    assert told(episode(1, 0, 5), episode(2, 100, 130), min_duration=10 * MINUTE) == [(1, 1)]


def test_outside_the_hours_it_waits_and_is_told_only_if_it_lasts() -> None:
    evening = parse_active_hours({"timezone": "UTC", "start": "18:00", "end": "23:00"})
    assert told(episode(1, 0, 60), hours=evening) == []
    assert told(episode(1, 0, 400), hours=evening) == [(1, 1)]


def test_what_gets_told_too_often_is_refused() -> None:
    hasty = Pace(group_wait=MINUTE, repeat_interval=timedelta(seconds=1))
    with pytest.raises(TooManyTellings, match="more than 50 times"):
        lives([episode(1, 0)], hasty, LATER, most=50)


EPISODES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300) | st.none(), st.integers(1, 3)), max_size=8)


@settings(max_examples=200)
@given(EPISODES)
def test_nothing_that_fires_past_the_wait_goes_unheard_and_nothing_is_in_two_lives(
    drawn: list[tuple[int, int | None, int]],
) -> None:
    episodes = [
        episode(number, begin, None if length is None else begin + length, rank)
        for number, (begin, length, rank) in enumerate(drawn)
    ]
    found = lives(episodes, PACE, LATER)
    heard = [each.id for life in found for each in life.episodes]
    assert len(heard) == len(set(heard))
    assert set(heard) == {each.id for each in episodes}, "all of them wait no longer than ten hours"
    assert all(life.tellings >= 1 for life in found)
