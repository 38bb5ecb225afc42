"""What would have been told: the decisions of `alerting.rules.grouping` played through over what is past."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from alerting.rules.active_hours import ActiveHours
from alerting.rules.grouping import Group, Member, Pace, Why, plan


class TooManyTellings(ValueError):
    """Playing it through would tell more often than anybody could want to know."""


@dataclass(frozen=True, slots=True)
class Episode:
    """An anomaly that a rule takes; `ended_at` is None while it lasts."""

    id: UUID
    rank: int
    began_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Life:
    """A group from its first anomaly to its end: those it told of, and how often it was told."""

    episodes: tuple[Episode, ...]
    tellings: int


def lives(
    episodes: Iterable[Episode],
    pace: Pace,
    until: datetime,
    *,
    min_duration: timedelta = timedelta(0),
    hours: ActiveHours | None = None,
    most: int = 10_000,
) -> list[Life]:
    """The lives of one group up to `until`, as if nobody had acknowledged or silenced anything.

    A group that nothing was told of has no life. Messages that it is over are not counted. Raises `TooManyTellings`
    where there would be more than `most` tellings.
    """
    waiting = sorted(episodes, key=lambda episode: (episode.began_at, episode.id.int))
    found: list[Life] = []
    while waiting and waiting[0].began_at <= until:
        life, waiting = _live(waiting, pace, until, min_duration, hours, most)
        if life.tellings:
            found.append(life)
        most -= life.tellings
    return found


def _live(
    waiting: list[Episode],
    pace: Pace,
    until: datetime,
    min_duration: timedelta,
    hours: ActiveHours | None,
    most: int,
) -> tuple[Life, list[Episode]]:
    """The first life of what is `waiting` to begin, and what begins after it."""
    now, group = waiting[0].began_at, Group(pace, opened_at=waiting[0].began_at)
    known: dict[UUID, tuple[Episode, Member]] = {}
    told: dict[UUID, Episode] = {}
    tellings = 0
    while True:
        while waiting and waiting[0].began_at <= now:
            episode = waiting.pop(0)
            known[episode.id] = episode, Member(episode.id, episode.rank, episode.began_at + min_duration)
        planned = plan(group, [_at(episode, member, now, hours) for episode, member in known.values()], now)
        group = planned.group
        known = {member.id: (known[member.id][0], member) for member in planned.members}
        for telling in planned.tellings:
            if telling.why is not Why.END:
                tellings += 1
                told |= {member: known[member][0] for member in telling.ids}
        if tellings > most:
            raise TooManyTellings(f"it would be told more than {most} times")
        following = _next(now, planned.due_at, waiting, [episode for episode, _ in known.values()])
        if planned.is_over or following is None or following > until:
            return Life(tuple(told.values()), tellings), [] if not planned.is_over else waiting
        now = following


def _at(episode: Episode, member: Member, now: datetime, hours: ActiveHours | None) -> Member:
    """The member as it is at `now`."""
    ended = episode.ended_at if episode.ended_at is not None and episode.ended_at <= now else None
    held = hours.next_start(now) if hours is not None and not hours.is_active(now) else None
    return replace(member, ended_at=ended, held_until=held, was_held=member.was_held or held is not None)


def _next(
    now: datetime, due_at: datetime | None, waiting: Sequence[Episode], known: Iterable[Episode]
) -> datetime | None:
    """When something happens after `now`: a telling is due, an anomaly begins or ends."""
    moments = [due_at, waiting[0].began_at if waiting else None, *(episode.ended_at for episode in known)]
    return min((moment for moment in moments if moment is not None and moment > now), default=None)
