"""From rows to holds: the silences, maintenance windows, inhibitions and hours that keep alerts from being told now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache

import msgspec
import structlog

from alerting.facts import facts_of, providers_of, with_facts
from alerting.models import Alert, AlertRule, GroupMember, Inhibition, Silence
from alerting.rules.active_hours import ActiveHours, HoursError, parse_active_hours
from alerting.rules.group_by import GroupByError, parse_group_by
from alerting.rules.holds import Hold, Inhibitor, Lull, Ongoing, Quiet
from alerting.rules.matching import Matcher, MatcherError, parse_matchers
from anomalies.models import Anomaly

log = structlog.get_logger(__name__)

__all__ = ["Hold", "Quiet", "audience_of", "hours_of", "load_lulls", "load_quiet"]


def load_quiet(now: datetime) -> Quiet:
    """All that may hold alerts back at `now`: six queries, or two where no inhibition is enabled.

    `quiet.hold_of(facts, now, hours_of(rule), audience_of(rule))` says whether an alert of a rule is held; facts are
    those of `alerting.facts`. A row that was spoilt behind the back of its validation holds nothing, and is logged.
    """
    lulls = lulls_at(now)
    inhibitions = Inhibition.objects.filter(enabled=True).select_related("project").order_by("id")
    inhibitors = [inhibitor for inhibition in inhibitions if (inhibitor := inhibitor_of(inhibition))]
    return Quiet(lulls, inhibitors, ongoing(inhibitors) if inhibitors else ())


def load_lulls(now: datetime) -> Quiet:
    """The silences and maintenance windows alone, one query: for what was decided to be told and is on its way."""
    return Quiet(lulls_at(now))


def lulls_at(now: datetime) -> list[Lull]:
    silences = Silence.objects.current(now).select_related("project").order_by("id")
    return [lull for silence in silences if (lull := lull_of(silence))]


def audience_of(rule: AlertRule | None) -> Hashable:
    """Who hears of what a rule takes; None is the audience of the built-in rule."""
    return rule.pk if rule else None


def hours_of(rule: AlertRule | None) -> ActiveHours | None:
    """When a rule speaks; None = always, also where its hours cannot be understood."""
    if rule is None or rule.active_hours is None:
        return None
    try:
        return _hours(msgspec.json.encode(rule.active_hours))
    except HoursError as error:
        log.error("alert_rule_hours_unusable", rule=rule.name, reason=str(error))
        return None


@lru_cache(maxsize=1000)
def _hours(encoded: bytes) -> ActiveHours | None:
    return parse_active_hours(msgspec.json.decode(encoded))


@lru_cache(maxsize=1000)
def _matchers(encoded: bytes) -> tuple[Matcher, ...]:
    return parse_matchers(msgspec.json.decode(encoded))


def lull_of(silence: Silence) -> Lull | None:
    """What a row says; None where it cannot be understood."""
    name = f"{silence.kind} {silence.pk}"
    try:
        matchers = _matchers(msgspec.json.encode(silence.matchers))
        weekly = _hours(msgspec.json.encode(silence.weekly))
    except (MatcherError, HoursError) as error:
        log.error("silence_unusable", silence=silence.pk, reason=str(error))
        return None
    reason = f"{name}: {silence.comment}" if silence.comment else name
    return Lull(reason, matchers, silence.starts_at, silence.ends_at, weekly, _project(silence))


def inhibitor_of(inhibition: Inhibition) -> Inhibitor | None:
    """What a row says; None where it cannot be understood."""
    try:
        sources, targets = (
            _matchers(msgspec.json.encode(matchers))
            for matchers in (inhibition.source_matchers, inhibition.target_matchers)
        )
        equal = parse_group_by(inhibition.equal)
    except (MatcherError, GroupByError) as error:
        log.error("inhibition_unusable", inhibition=inhibition.name, reason=str(error))
        return None
    return Inhibitor(inhibition.name, sources, targets, equal, inhibition.min_services, _project(inhibition))


def _project(row: Silence | Inhibition) -> str | None:
    return row.project.name if row.project else None


def ongoing(inhibitors: Sequence[Inhibitor] | None = None) -> list[Ongoing]:
    """Every anomaly that fires in a group, with the audiences of its groups; those of types that may inhibit."""
    audiences: defaultdict[object, set[Hashable]] = defaultdict(set)
    severities: dict[object, str] = {}
    members = GroupMember.objects.filter(is_firing=True).order_by()
    if inhibitors is not None:
        types = members.values_list("anomaly__type", flat=True).distinct()
        members = members.filter(anomaly__type__in=[name for name in types if _may_inhibit(name, inhibitors)])
    for anomaly_id, severity, rule_id in members.values_list("anomaly_id", "severity", "group__rule_id"):
        audiences[anomaly_id].add(rule_id)
        severities[anomaly_id] = severity
    anomalies = list(with_facts(Anomaly.objects.filter(pk__in=members.values("anomaly"))).order_by())
    providers = providers_of(anomalies)
    return [
        Ongoing(
            facts_of(anomaly, severities.get(anomaly.pk, anomaly.severity), Alert.Type.OPENED, providers),
            anomaly.first_seen,
            frozenset(audiences[anomaly.pk]),
        )
        for anomaly in anomalies
    ]


def _may_inhibit(type_: str, inhibitors: Iterable[Inhibitor]) -> bool:
    return any(
        all(matcher.test(type_) for matcher in inhibitor.sources if matcher.field == "type") for inhibitor in inhibitors
    )
