"""A rule tried against the past: how many alerts it would have made, and of what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import QuerySet

from alerting.facts import facts_of, providers_of, with_facts
from alerting.models import Alert, AlertRule
from alerting.quiet import hours_of
from alerting.rules.grouping import Pace, group_key, labels_of
from alerting.rules.simulation import Episode, Life, lives
from alerting.rules.table import RuleTable
from alerting.terms import frequency_window, is_frequent_among, terms_of
from anomalies.models import SEVERITY_RANK, Anomaly, Severity, State

MOST_ANOMALIES = 20_000
MOST_ALERTS = 10_000
GROUPS_SHOWN = 100


class TooMuch(ValueError):
    """A rule that cannot be played through over such a time; the text says why."""


@dataclass(frozen=True, slots=True)
class ToldGroup:
    title: str
    first_seen: datetime
    count: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """`alerts` counts every message to each channel, repeats included, messages that it is over not."""

    alerts: int
    groups: list[ToldGroup]


def preview(rule: AlertRule, visible: QuerySet[Anomaly], hours: int, now: datetime) -> Outcome:
    """What `rule` alone, which need not be saved, would have told in the last `hours`.

    As if nobody had acknowledged or silenced anything, by the severity that anomalies reached in the end. Raises
    `TooMuch`, `MatcherError`, and `TooManyTellings`.
    """
    start = now - timedelta(hours=hours)
    began = visible.filter(first_seen__gt=start - frequency_window(rule), first_seen__lte=now)
    rows = list(with_facts(began).order_by("first_seen", "id")[: MOST_ANOMALIES + 1])
    if len(rows) > MOST_ANOMALIES:
        raise TooMuch(f"more than {MOST_ANOMALIES} anomalies began in that time; ask for fewer hours")
    by_group = _grouped(rule, rows, start)
    known = {row.pk: row for row in rows}
    told = [life for taken in by_group for life in _lives(rule, taken, now)]
    groups = sorted((_group(life, known) for life in told), key=lambda group: group.first_seen, reverse=True)
    return Outcome(sum(life.tellings for life in told), groups[:GROUPS_SHOWN])


def _grouped(rule: AlertRule, rows: Sequence[Anomaly], start: datetime) -> list[list[Anomaly]]:
    """The anomalies since `start` that the rule takes, those that it tells together together."""
    table, providers = RuleTable([terms_of(rule)]), providers_of(rows)
    begun: defaultdict[tuple[object, ...], list[datetime]] = defaultdict(list)
    for row in rows:
        begun[_series(row)].append(row.first_seen)
    found: defaultdict[str, list[Anomaly]] = defaultdict(list)
    for row in rows:
        facts = facts_of(row, row.severity, Alert.Type.OPENED, providers)
        is_taken = row.first_seen > start and 0 in table.takers(facts)
        if is_taken and is_frequent_among(begun[_series(row)], row.first_seen, rule):
            found[group_key(rule.pk, row.service.project_id, labels_of(rule.group_by, facts))].append(row)
    return list(found.values())


def _series(row: Anomaly) -> tuple[object, ...]:
    return row.service_id, row.model, row.metric, row.direction


def _lives(rule: AlertRule, taken: Sequence[Anomaly], now: datetime) -> list[Life]:
    pace = Pace(
        group_wait=timedelta(seconds=rule.group_wait),
        group_interval=timedelta(seconds=rule.group_interval),
        repeat_interval=timedelta(seconds=rule.repeat_interval),
    )
    duration = timedelta(seconds=rule.min_duration)
    episodes = [_episode(row) for row in taken]
    return lives(episodes, pace, now, min_duration=duration, hours=hours_of(rule), most=MOST_ALERTS)


def _episode(row: Anomaly) -> Episode:
    ended_at = None if row.state == State.ACTIVE else row.last_seen
    return Episode(row.pk, SEVERITY_RANK[Severity(row.severity)], row.first_seen, ended_at)


def _group(life: Life, known: dict[UUID, Anomaly]) -> ToldGroup:
    strongest = max(life.episodes, key=lambda episode: episode.rank)
    count = len(life.episodes)
    title = known[strongest.id].title + (f" and {count - 1} more" if count > 1 else "")
    return ToldGroup(title, min(episode.began_at for episode in life.episodes), count)
