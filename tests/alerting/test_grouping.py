"""What of a group is told when: decisions alone, without rows."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.rules.grouping import (
    FLAPPING,
    Group,
    Member,
    Pace,
    Plan,
    Why,
    group_key,
    labels_of,
    plan,
    reopenings,
)

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
PACE = Pace(steps=(timedelta(minutes=5), timedelta(minutes=10)))
HORIZON = timedelta(days=2)
seconds = st.integers(0, 20_000).map(lambda n: timedelta(seconds=n))
members_of_groups = st.lists(
    st.builds(
        Member,
        id=st.uuids(version=4),
        rank=st.integers(1, 3),
        ready_at=seconds.map(lambda after: T0 + after),
        ended_at=st.none() | seconds.map(lambda after: T0 + after),
        held_until=st.none() | seconds.map(lambda after: T0 + after),
        is_attended=st.booleans(),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda member: member.id,
)
paces = st.builds(
    Pace,
    group_wait=seconds,
    group_interval=seconds,
    repeat_interval=st.integers(60, 20_000).map(lambda n: timedelta(seconds=n)),
    steps=st.lists(seconds, max_size=2).map(tuple),
    batch_size=st.integers(1, 5),
)


def at(after: float) -> datetime:
    return T0 + timedelta(seconds=after)


def a_member(**changes: object) -> Member:
    return replace(Member(id=uuid.uuid4(), rank=2, ready_at=T0), **changes)  # type: ignore[arg-type]


def whys(found: Plan) -> list[Why]:
    return [telling.why for telling in found.tellings]


def live(group: Group, members: tuple[Member, ...], until: datetime) -> list[tuple[datetime, Plan]]:
    """Look at a group whenever it asks for it; holds end when they said they would."""
    looks: list[tuple[datetime, Plan]] = []
    now = T0
    while now <= until:
        free = tuple(replace(m, held_until=None) if m.held_until and m.held_until <= now else m for m in members)
        found = plan(group, free, now)
        looks.append((now, found))
        group, members = found.group, found.members
        if found.due_at is None or found.is_over:
            break
        assert found.due_at > now, "what was due is done"
        now = found.due_at
    return looks


@settings(max_examples=60, deadline=None)
@given(pace=paces, members=members_of_groups)
def test_what_fires_and_is_free_is_told_and_nothing_is_told_that_is_not(pace: Pace, members: list[Member]) -> None:
    looks = live(Group(pace, T0), tuple(members), T0 + HORIZON)
    told = {m.id for _, found in looks for telling in found.tellings for m in telling.members}
    expected = {m.id for m in members if m.is_firing and not m.is_attended}
    attended = {m.id for m in members if m.is_attended}
    assert expected <= told
    assert not attended & told
    for now, found in looks:
        for telling in found.tellings:
            assert telling.at <= now
            for member in telling.members:
                assert member.held_until is None, "held means silent"
                assert member.ready_at <= now, "nothing is told that has not lasted long enough"


@settings(max_examples=40, deadline=None)
@given(pace=paces, members=members_of_groups)
def test_nothing_is_new_twice_and_what_ended_is_settled_once(pace: Pace, members: list[Member]) -> None:
    ended = tuple(replace(m, ended_at=m.ended_at or T0 + timedelta(hours=1)) for m in members)
    looks = live(Group(pace, T0), ended, T0 + HORIZON)
    tellings = [telling for _, found in looks for telling in found.tellings]
    for why in (Why.NEW, Why.END):
        ids = [m.id for telling in tellings if telling.why is why for m in telling.members]
        assert len(ids) == len(set(ids)), why
    begun = {m.id for telling in tellings if telling.why is not Why.END for m in telling.members}
    assert {m.id for telling in tellings if telling.why is Why.END for m in telling.members} <= begun


@settings(max_examples=40, deadline=None)
@given(pace=paces, members=members_of_groups, later=seconds)
def test_looking_again_at_the_same_moment_tells_nothing(pace: Pace, members: list[Member], later: timedelta) -> None:
    first = plan(Group(pace, T0), members, T0 + later)
    again = plan(first.group, first.members, T0 + later)
    assert again.tellings == ()
    assert (again.group, again.members, again.due_at) == (first.group, first.members, first.due_at)


def test_a_group_waits_then_its_interval_then_repeats() -> None:
    group = Group(PACE, T0)
    first, second = a_member(), a_member(ready_at=at(31))
    found = plan(group, [first], at(29.9))
    assert (whys(found), found.due_at) == ([], at(30))
    found = plan(group, [first], at(30))
    assert (whys(found), found.due_at) == ([Why.NEW], at(330))  # the first step of the escalation
    found = plan(found.group, [*found.members, second], at(31))
    assert (whys(found), found.due_at) == ([], at(330))
    found = plan(found.group, found.members, at(330))
    assert [(t.why, t.step, len(t.members)) for t in found.tellings] == [(Why.NEW, None, 1), (Why.STEP, 0, 2)]
    assert found.group.retold_at == at(30), "repeats count from when all of it was told"


def test_what_gets_worse_is_told_at_once_with_what_is_new_and_as_bad() -> None:
    told = Group(PACE, T0, told_rank=2, last_told_at=at(0), retold_at=at(0))
    known, new, quiet = a_member(told_rank=2, rank=3), a_member(rank=3), a_member(rank=1)
    found = plan(told, [known, new, quiet], at(1))
    assert [(t.why, set(t.ids)) for t in found.tellings] == [(Why.WORSE, {known.id, new.id})]
    assert found.group.told_rank == 3
    assert found.due_at == at(301), "the interval counts from the last message"


def test_a_full_batch_and_what_is_over_wait_for_no_more() -> None:
    full = replace(PACE, batch_size=2)
    assert whys(plan(Group(full, T0), [a_member(), a_member()], T0)) == [Why.NEW]
    told = Group(PACE, T0, told_rank=2, last_told_at=T0, retold_at=T0)
    over = a_member(told_rank=2, ended_at=at(5))
    late = a_member(ended_at=at(6))
    found = plan(told, [over, late], at(10))
    assert whys(found) == [Why.NEW, Why.END]
    assert found.is_over


def test_what_was_over_before_it_could_be_told_is_told_to_nobody() -> None:
    for member in (
        a_member(ended_at=at(5), ready_at=at(10)),
        a_member(ended_at=at(5), was_held=True),
        a_member(ended_at=at(5), is_attended=True),
    ):
        found = plan(Group(PACE, T0), [member], at(60))
        assert (found.tellings, found.is_over) == ((), True)


def test_somebody_who_sees_to_it_stops_repeats_and_steps() -> None:
    group = Group(PACE, T0, told_rank=2, last_told_at=T0, retold_at=T0, step_due_at=at(300))
    found = plan(group, [a_member(told_rank=2, is_attended=True)], at(100_000))
    assert (found.tellings, found.due_at, found.is_attended) == ((), None, True)


@given(reopened=st.integers(0, 5000), pace=paces)
def test_a_wait_grows_with_each_reopening_and_never_beyond_a_repeat(reopened: int, pace: Pace) -> None:
    wait, following = pace.wait(reopened), pace.wait(reopened + 1)
    assert pace.group_wait <= wait <= following <= max(pace.group_wait, pace.repeat_interval)


def test_reopenings_count_while_it_flaps_and_begin_anew_after_a_calm_hour() -> None:
    assert reopenings(3, T0, None, T0 + FLAPPING) == 4
    assert reopenings(3, T0, T0 + timedelta(minutes=5), T0 + FLAPPING + timedelta(minutes=5)) == 4
    assert reopenings(3, T0, T0, T0 + FLAPPING + timedelta(seconds=1)) == 1
    assert reopenings(3, None, None, T0) == 1


@given(st.dictionaries(st.sampled_from(["service", "model", "labels.team"]), st.text(max_size=5), min_size=1))
def test_keys_are_equal_for_equal_values_only(labels: dict[str, str]) -> None:
    key = group_key(1, 1, labels)
    assert group_key(1, 1, dict(reversed(labels.items()))) == key
    assert key not in {group_key(None, 1, labels), group_key(2, 1, labels), group_key(1, 2, labels)}
    name = next(iter(labels))
    assert group_key(1, 1, labels | {name: labels[name] + "x"}) != key
    assert labels_of([name, "absent"], labels) == {name: labels[name], "absent": ""}
