"""When a group of anomalies is told, what of it, and when to look at it again. Pure: rows are in alerting.telling.

A group waits for more of the same, is told, grows, gets worse, is told again while it lasts, and is told when it is
over. `plan` says what is due at a moment and what the group is like afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from uuid import UUID

MAX_TELLINGS = 10
"""In one look at a group: more would mean that telling does not bring it further."""
FLAPPING = timedelta(hours=1)
"""Reopenings further apart than this are not flapping."""


class Why(Enum):
    """What makes a telling due, the most urgent first."""

    WORSE = auto()
    """Something in a told group reached a severity above all that was told."""
    NEW = auto()
    """Anomalies that nobody was told of yet."""
    STEP = auto()
    """Nobody answered: the next step of the escalation."""
    OWED = auto()
    """A channel had heard the same within the window, and now the window is over."""
    REPEAT = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a rule is."""

    group_wait: timedelta = timedelta(seconds=30)
    group_interval: timedelta = timedelta(seconds=300)
    repeat_interval: timedelta = timedelta(hours=4)
    steps: tuple[timedelta, ...] = ()
    """The waits of its escalation, each from the step before."""
    batch_size: int = 100
    """So many new anomalies wait for no more."""

    def wait(self, reopened: int) -> timedelta:
        """How long a group waits for more of the same: twice as long per reopening, at most as long as a repeat."""
        try:
            return max(self.group_wait, min(self.group_wait * (1 << reopened), self.repeat_interval))
        except OverflowError:
            return max(self.group_wait, self.repeat_interval)


@dataclass(frozen=True, slots=True)
class Member:
    """An anomaly in a group, as far as it decides what is told.

    Ranks are those of severities, 0 = nothing told yet. `held_until`: not before then; None = free. `is_attended`:
    somebody sees to it. `is_settled`: nothing more is to be told of it. `repeats`: it is told again while it lasts.
    """

    id: UUID
    rank: int
    ready_at: datetime
    told_rank: int = 0
    ended_at: datetime | None = None
    held_until: datetime | None = None
    was_held: bool = False
    is_attended: bool = False
    is_settled: bool = False
    repeats: bool = True

    @property
    def is_firing(self) -> bool:
        return self.ended_at is None

    @property
    def is_free(self) -> bool:
        return self.held_until is None and not self.is_attended

    @property
    def is_passed_over(self) -> bool:
        """It was over before anybody could be told: while it was held, seen to, or not lasting long enough."""
        if self.ended_at is None or self.told_rank:
            return False
        return self.was_held or not self.is_free or self.ended_at < self.ready_at


@dataclass(frozen=True, slots=True)
class Group:
    """A group between two looks at it. `told_rank` 0 = it waits to be told for the first time."""

    pace: Pace
    opened_at: datetime
    reopened: int = 0
    told_rank: int = 0
    last_told_at: datetime | None = None
    """When something was last told that was not known, which the interval counts from."""
    retold_at: datetime | None = None
    """When all of it was last told, which repeats count from; None in a told group = a repeat is due."""
    owed_at: datetime | None = None
    step: int = 0
    step_due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Telling:
    """One thing to tell: why, from when, of which members; `step` is the number of the escalation's step, or None."""

    why: Why
    at: datetime
    members: tuple[Member, ...]
    step: int | None = None

    @property
    def ids(self) -> tuple[UUID, ...]:
        return tuple(member.id for member in self.members)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is due, and what the group and its members are like once it is told.

    `due_at`: when to look again; None = when something happens. `is_over`: nothing is left to tell.
    """

    tellings: tuple[Telling, ...]
    group: Group
    members: tuple[Member, ...]
    due_at: datetime | None
    is_over: bool
    is_attended: bool = field(default=False)


def plan(group: Group, members: Iterable[Member], now: datetime) -> Plan:
    """Everything that is due at `now`, in order. Never two tellings of the same for the same reason."""
    known = tuple(replace(m, is_settled=True) if m.is_passed_over else m for m in members)
    told: list[Telling] = []
    while len(told) < MAX_TELLINGS:
        telling = next((each for each in candidates(group, known, now) if each.at <= now), None)
        if telling is None:
            break
        told.append(telling)
        group, known = after(telling, group, known, now)
    left = [member for member in known if not member.is_settled]
    due = [telling.at for telling in candidates(group, known, now)]
    firing = [member for member in left if member.is_firing]
    attended = bool(firing) and all(member.is_attended for member in firing)
    return Plan(tuple(told), group, known, min(due, default=None), not left, attended)


def candidates(group: Group, members: Sequence[Member], now: datetime) -> list[Telling]:
    """What is to be told sooner or later if nothing happens meanwhile, in the order of urgency."""
    left = [member for member in members if not member.is_settled]
    found = [
        _worse(group, left, now),
        _new(group, left, now),
        _next_step(group, left),
        _owed(group, left),
        _repeat(group, left, now),
        _end(left, now),
    ]
    return [telling for telling in found if telling is not None]


def after(telling: Telling, group: Group, members: Sequence[Member], now: datetime) -> tuple[Group, tuple[Member, ...]]:
    """Group and members once `telling` was told at `now`."""
    chosen = set(telling.ids)
    if telling.why is Why.END:
        return group, tuple(replace(m, is_settled=True) if m.id in chosen else m for m in members)
    told = tuple(replace(m, told_rank=m.rank) if m.id in chosen else m for m in members)
    group = _told(telling, group, now)
    # What never repeats set no clock for those that do.
    if any(not m.repeats for m in members) and not any(m.repeats for m in _firing_and_told(members)):
        group = replace(group, retold_at=now)
    return group, told


def _told(telling: Telling, group: Group, now: datetime) -> Group:
    if telling.why is Why.STEP:
        return _stepped(replace(group, step=group.step + 1), now)
    if telling.why is Why.OWED:
        return replace(group, owed_at=None)
    is_first = group.told_rank == 0
    rank = max(group.told_rank, *(member.rank for member in telling.members))
    group = replace(group, told_rank=rank)
    if telling.why is not Why.REPEAT:  # repeats more frequent than the interval would put off what is new for ever
        group = replace(group, last_told_at=now)
    if is_first or telling.why is Why.REPEAT:
        group = replace(group, retold_at=now)
    if is_first or (group.step_due_at is None and telling.why is Why.REPEAT):
        group = _stepped(group, now)
    return group


def _stepped(group: Group, now: datetime) -> Group:
    steps = group.pace.steps
    return replace(group, step_due_at=now + steps[group.step] if group.step < len(steps) else None)


def _worse(group: Group, members: Sequence[Member], now: datetime) -> Telling | None:
    if not group.told_rank:
        return None
    risen = [m for m in members if m.told_rank and m.is_firing and not m.is_attended and m.rank > group.told_rank]
    if not risen:
        return None
    free = [m for m in risen if m.held_until is None]
    if not free:
        return Telling(Why.WORSE, min(_free_at(m, now) for m in risen), tuple(risen))
    loud = [m for m in members if not m.told_rank and m.is_firing and m.is_free and m.rank > group.told_rank]
    return Telling(Why.WORSE, now, (*free, *(m for m in loud if m.ready_at <= now)))


def _new(group: Group, members: Sequence[Member], now: datetime) -> Telling | None:
    """New anomalies wait: the first ones for more of the same, later ones for the interval between two messages."""
    new = [m for m in members if not m.told_rank and not m.is_attended]
    if not new:
        return None
    if group.told_rank and not any(m.is_firing for m in members):
        base = now  # it is over: nothing is left to wait for
    elif group.told_rank and group.last_told_at is not None:
        base = group.last_told_at + group.pace.group_interval
    else:
        base = group.opened_at + group.pace.wait(group.reopened)
    loud = [m for m in new if group.told_rank and m.rank > group.told_rank and m.is_firing]
    if sum(m.is_free and m.ready_at <= now for m in new) >= group.pace.batch_size:
        base = now
    at = min([max(base, _free_at(m, m.ready_at)) for m in new] + [_free_at(m, m.ready_at) for m in loud])
    ready = tuple(m for m in new if m.held_until is None and m.ready_at <= now)
    return Telling(Why.NEW, at, ready or tuple(new))


def _next_step(group: Group, members: Sequence[Member]) -> Telling | None:
    told = _firing_and_told(members)
    if not told or group.step_due_at is None or group.step >= len(group.pace.steps):
        return None
    return _when_free(Why.STEP, group.step_due_at, told, group.step)


def _owed(group: Group, members: Sequence[Member]) -> Telling | None:
    told = _firing_and_told(members)
    return _when_free(Why.OWED, group.owed_at, told) if told and group.owed_at is not None else None


def _repeat(group: Group, members: Sequence[Member], now: datetime) -> Telling | None:
    told = [member for member in _firing_and_told(members) if member.repeats]
    if not told or not group.told_rank:
        return None
    return _when_free(
        Why.REPEAT, now if group.retold_at is None else group.retold_at + group.pace.repeat_interval, told
    )


def _end(members: Sequence[Member], now: datetime) -> Telling | None:
    """The end of the last that fires is the end of all; what is held hears of it when it no longer is."""
    if not members or any(member.is_firing for member in members):
        return None
    told = [member for member in members if member.told_rank]
    free = tuple(member for member in told if member.held_until is None)
    if free:
        return Telling(Why.END, now, free)
    return Telling(Why.END, min(_free_at(m, now) for m in told), tuple(told)) if told else None


def _firing_and_told(members: Sequence[Member]) -> list[Member]:
    return [m for m in members if m.is_firing and m.told_rank and not m.is_attended]


def _when_free(why: Why, at: datetime, members: Sequence[Member], step: int | None = None) -> Telling:
    free = tuple(member for member in members if member.held_until is None)
    if free:
        return Telling(why, at, free, step)
    return Telling(why, max(at, min(_free_at(m, at) for m in members)), tuple(members), step)


def _free_at(member: Member, otherwise: datetime) -> datetime:
    return otherwise if member.held_until is None else max(member.held_until, otherwise)


def reopenings(count: int, resolved_at: datetime | None, last_told_at: datetime | None, now: datetime) -> int:
    """How often a group that opens once more has flapped, this time included; calm for an hour begins anew."""
    last = max((at for at in (resolved_at, last_told_at) if at is not None), default=None)
    return count + 1 if last is not None and now - last <= FLAPPING else 1


def labels_of(group_by: Iterable[str], facts: Mapping[str, str]) -> dict[str, str]:
    """The values by which an alert is grouped; a fact that is absent counts as empty text."""
    return {name: facts.get(name, "") for name in group_by}


def group_key(rule: int | None, project: int, labels: Mapping[str, str]) -> str:
    """64 hexadecimal digits, equal for alerts that one rule tells together. Groups never span projects."""
    parts = [str(rule or ""), str(project), *(f"{name}\x01{value}" for name, value in sorted(labels.items()))]
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
