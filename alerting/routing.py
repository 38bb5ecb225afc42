"""From the outbox to groups: which rules take an alert, and what it changes for those who tell of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

import structlog
from django.db import connection, transaction

from alerting import joining
from alerting.audience import may_hear
from alerting.config_channels import sync_config_channels
from alerting.facts import Providers, facts_of, providers_of
from alerting.models import Alert, AlertRule, Channel, SeverityChannel
from alerting.rules.matching import MatcherError
from alerting.rules.table import RuleTable, Terms
from alerting.terms import is_frequent, terms_of
from anomalies.models import Anomaly, Status

log = structlog.get_logger(__name__)

BATCH = 200
ROUTER_LOCK = 0x40E7E


@dataclass(frozen=True, slots=True)
class Route:
    """A rule and its channels; `rule` is None for the built-in last one.

    `special` are the channels that a rule names for a severity: they hear of it instead of the others.
    """

    rule: AlertRule | None
    channels: Sequence[Channel]
    special: Mapping[str, Sequence[Channel]] = field(default_factory=dict)

    def channels_for(self, severity: str) -> Sequence[Channel]:
        return self.special.get(severity) or self.channels


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """The usable rules in their order, and the configuration's channels for those whom no rule concerns yet.

    `table` has the places of `rules`.
    """

    rules: tuple[Route, ...]
    table: RuleTable
    ruled_projects: frozenset[int | None]
    builtin: Route

    def routes_of(self, alert: Alert, known: dict[str, str]) -> list[Route]:
        """The rules that take an alert: the first that matches, and those after it that it lets speak too.

        The built-in last rule serves a project until somebody writes a rule for it, or one for all.
        """
        if None not in self.ruled_projects and alert.anomaly.service.project_id not in self.ruled_projects:
            return [self.builtin]

        def admits(place: int) -> bool:
            rule = self.rules[place].rule
            return rule is None or is_frequent(rule, alert.anomaly)

        return [self.rules[place] for place in self.table.takers(known, admits)]


def load_routing_table() -> RoutingTable:
    """The rules as they are now: a change of one acts on the next alert. Five queries, however many rules."""
    builtin = Route(None, sync_config_channels())
    rules = list(AlertRule.objects.select_related("project"))
    usable = [(rule, terms) for rule in rules if rule.enabled and (terms := _terms(rule)) is not None]
    common, special = _channels()
    return RoutingTable(
        rules=tuple(Route(rule, common[rule.pk], special[rule.pk]) for rule, _ in usable),
        table=_compiled(tuple(terms for _, terms in usable)),
        ruled_projects=frozenset(rule.project_id for rule in rules),
        builtin=builtin,
    )


def _channels() -> tuple[Mapping[int, list[Channel]], Mapping[int, dict[str, list[Channel]]]]:
    """The channels of each rule, and those that it names for a severity; without their secrets."""
    known = {channel.pk: channel for channel in Channel.objects.defer("secret")}
    common: defaultdict[int, list[Channel]] = defaultdict(list)
    for rule, channel in AlertRule.channels.through.objects.values_list("alertrule_id", "channel_id"):
        common[rule] += _named(known, channel)
    special: defaultdict[int, dict[str, list[Channel]]] = defaultdict(dict)
    for rule, severity, channel in SeverityChannel.objects.order_by().values_list("rule_id", "severity", "channel_id"):
        special[rule].setdefault(severity, []).extend(_named(known, channel))
    return common, special


def _named(known: Mapping[int, Channel], channel: int) -> list[Channel]:
    """A channel that a rule names; none where it was made since the channels were read: the next batch knows it."""
    return [known[channel]] if channel in known else []


@lru_cache(maxsize=1)
def _compiled(terms: tuple[Terms, ...]) -> RuleTable:
    """Made anew only when the rules say something else: what it remembers of alerts stays with it."""
    return RuleTable(terms)


def _terms(rule: AlertRule) -> Terms | None:
    try:
        return terms_of(rule)
    except MatcherError as error:
        log.error("alert_rule_unusable", rule=rule.name, reason=str(error))
        return None


def route_pending(now: datetime, limit: int = BATCH) -> int:
    """Route the oldest pending alerts, `limit` or a few more, into groups, in one transaction; how many."""
    with transaction.atomic():
        _one_at_a_time()
        alerts = _pending(limit)
        if not alerts:
            return 0
        table = load_routing_table()
        providers = providers_of(alert.anomaly for alert in alerts)
        joins: list[joining.Join] = []
        ends: list[Alert] = []
        for alert in alerts:
            alert.routed_at = now
            if alert.type == Alert.Type.RESOLVED:
                ends.append(alert)
            else:
                joins += _joins(alert, table, providers)
        joining.join(joins, now)
        joining.end(ends, now)
        Alert.objects.bulk_update(alerts, ["outcome", "routed_at"])
    return len(alerts)


def muted(anomaly: Anomaly) -> bool:
    """Whether somebody has seen to the anomaly already; its end is told all the same."""
    return anomaly.status != Status.OPEN


def _one_at_a_time() -> None:
    """One router at a time, until the end of the transaction: the order of events counts, and it takes milliseconds."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ROUTER_LOCK])


def _pending(limit: int) -> list[Alert]:
    """The oldest pending alerts, whole anomalies at a time: an end goes where its beginning went."""
    pending = Alert.objects.filter(outcome=Alert.Outcome.PENDING)
    first = list(pending.order_by("created_at", "id").values_list("anomaly_id", flat=True)[:limit])
    found = pending.filter(anomaly__in=first).select_related("anomaly__service__project")
    return sorted(found, key=lambda alert: alert.position)


def _joins(alert: Alert, table: RoutingTable, providers: Providers) -> Sequence[joining.Join]:
    """The groups that an alert is to be told in; sets its outcome."""
    anomaly = alert.anomaly
    if anomaly.status == Status.RESOLVED:
        alert.outcome = Alert.Outcome.MUTED
        return []
    known = facts_of(anomaly, alert.severity, alert.type, providers)
    routes = [route for route in table.routes_of(alert, known) if _is_heard(route, alert)]
    if muted(anomaly):
        alert.outcome = Alert.Outcome.MUTED
    else:
        alert.outcome = Alert.Outcome.ROUTED if routes else Alert.Outcome.NO_CHANNEL
    return [joining.Join(alert, route.rule, known) for route in routes]


def _is_heard(route: Route, alert: Alert) -> bool:
    """Whether anybody hears of an alert by that rule."""
    project_id = alert.anomaly.service.project_id
    return any(may_hear(channel, project_id) for channel in route.channels_for(alert.severity))
