"""What keeps an alert from being told for now: silences, maintenance, an outage that is told already, the hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from alerting.rules.active_hours import ActiveHours
from alerting.rules.matching import Matcher, all_hold

MAX_REASON = 200

Facts = Mapping[str, str]


class Hold(NamedTuple):
    """Why something is not told, and when to ask again; None where nobody can tell when it is over."""

    reason: str
    until: datetime | None = None

    def outlasts(self, other: Hold) -> bool:
        return other.until is not None and (self.until is None or self.until > other.until)


@dataclass(frozen=True, slots=True)
class Lull:
    """A silence or maintenance window. Of a recurring one, `weekly` says when it is open within its time."""

    reason: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    weekly: ActiveHours | None = None
    project: str | None = None
    """The only one it concerns; None = all."""

    def covers(self, facts: Facts) -> bool:
        return self.project in (None, facts.get("project")) and all_hold(self.matchers, facts)

    def end(self, now: datetime) -> datetime | None:
        """When it is over; None where it is not in force at `now`."""
        if not self.starts_at <= now < self.ends_at:
            return None
        if self.weekly is None:
            return self.ends_at
        if not self.weekly.is_active(now):
            return None
        return min(self.weekly.next_end(now) or self.ends_at, self.ends_at)


@dataclass(frozen=True, slots=True)
class Inhibitor:
    """While things that match `sources` go on in `min_services` services, what matches `targets` is held.

    Both must have the same value in each fact of `equal`, and have one.
    """

    reason: str
    sources: tuple[Matcher, ...]
    targets: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()
    min_services: int = 1
    project: str | None = None

    def key_of(self, facts: Facts) -> tuple[str, ...] | None:
        """The values in which source and target must agree; None where one is missing."""
        values = tuple(facts.get(name, "") for name in self.equal)
        return values if all(values) and self.project in (None, facts.get("project")) else None


@dataclass(frozen=True, slots=True)
class Ongoing:
    """Something that goes on and may inhibit: its facts ("incident" and "service" among them), since when, who hears.

    `audiences` are those that it is told to: for each of them somebody must be left to tell of an outage.
    """

    facts: Facts
    since: datetime
    audiences: frozenset[Hashable] = frozenset()


class _Outage(NamedTuple):
    """The sources of one inhibitor that agree: in how many services, and by audience, the oldest first."""

    services: int
    heard_by: Mapping[Hashable, Sequence[Ongoing]]


@dataclass(frozen=True, slots=True)
class Quiet:
    """All that holds alerts back, as it is at one moment."""

    lulls: Sequence[Lull] = ()
    inhibitors: Sequence[Inhibitor] = ()
    ongoing: Iterable[Ongoing] = ()
    _outages: list[dict[tuple[str, ...], _Outage]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known = sorted(self.ongoing, key=lambda one: (one.since, one.facts.get("incident", "")))
        object.__setattr__(self, "_outages", [_outages_of(inhibitor, known) for inhibitor in self.inhibitors])

    def hold_of(
        self, facts: Facts, now: datetime, hours: ActiveHours | None = None, audience: Hashable = None
    ) -> Hold | None:
        """What holds an alert back from an audience at `now`; of several holds the one that lasts longest.

        `hours` are those in which its rule speaks, None for always. Facts are those of matchers with "incident".
        """
        holds = [*self._lulls_over(facts, now), *self._inhibitions_of(facts, now, audience), *_off(hours, now)]
        longest = None
        for hold in holds:
            if longest is None or hold.outlasts(longest):
                longest = hold
        return longest

    def is_silenced(self, facts: Facts, now: datetime) -> bool:
        """Whether a silence or maintenance window covers it, whatever else does."""
        return bool(self._lulls_over(facts, now))

    def _lulls_over(self, facts: Facts, now: datetime) -> list[Hold]:
        ends = ((lull, lull.end(now)) for lull in self.lulls)
        return [Hold(lull.reason[:MAX_REASON], end) for lull, end in ends if end is not None and lull.covers(facts)]

    def _inhibitions_of(self, facts: Facts, now: datetime, audience: Hashable) -> list[Hold]:
        pairs = zip(self.inhibitors, self._outages, strict=True)
        return [Hold(i.reason[:MAX_REASON]) for i, outages in pairs if self._inhibits(i, outages, facts, now, audience)]

    def _inhibits(
        self,
        inhibitor: Inhibitor,
        outages: Mapping[tuple[str, ...], _Outage],
        facts: Facts,
        now: datetime,
        audience: Hashable,
    ) -> bool:
        key = inhibitor.key_of(facts)
        outage = outages.get(key) if key is not None else None
        if outage is None or outage.services < inhibitor.min_services or not all_hold(inhibitor.targets, facts):
            return False
        if not all_hold(inhibitor.sources, facts):
            return True
        # One that is a source itself is told where it is the oldest that this audience can hear of: somebody must be.
        heard = (one for one in outage.heard_by.get(audience, ()) if not self.is_silenced(one.facts, now))
        speaker = next(heard, None)
        return speaker is not None and speaker.facts.get("incident") != facts.get("incident")


def _outages_of(inhibitor: Inhibitor, ongoing: Iterable[Ongoing]) -> dict[tuple[str, ...], _Outage]:
    found: defaultdict[tuple[str, ...], list[Ongoing]] = defaultdict(list)
    for one in ongoing:
        key = inhibitor.key_of(one.facts)
        if key is not None and all_hold(inhibitor.sources, one.facts):
            found[key].append(one)
    return {key: _outage_of(sources) for key, sources in found.items()}


def _outage_of(sources: Sequence[Ongoing]) -> _Outage:
    heard_by: defaultdict[Hashable, list[Ongoing]] = defaultdict(list)
    for source in sources:
        for audience in source.audiences:
            heard_by[audience].append(source)
    return _Outage(len({source.facts.get("service") for source in sources}), heard_by)


def _off(hours: ActiveHours | None, now: datetime) -> list[Hold]:
    if hours is None or hours.is_active(now):
        return []
    start = hours.next_start(now)
    return [Hold("outside the rule's hours", start.astimezone(UTC) if start else None)]
