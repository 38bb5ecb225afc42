"""From the outbox to groups: which rules take an alert, and what it changes for those who tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import connection, transaction

from alerting import joining
from alerting.audience import may_hear
from alerting.config_channels import sync_config_channels
from alerting.facts import Providers, facts_of, providers_of
from alerting.models import Alert, AlertRule, Channel
from alerting.rules.matching import Matcher, MatcherError, all_hold, parse_matchers
from anomalies.models import SEVERITY_RANK, Anomaly, Severity, Status

log = structlog.get_logger(__name__)

BATCH = 200
ROUTER_LOCK = 0x40E7E
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Route:
    """A rule with its matchers compiled; `rule` is None for the built-in last one."""

    rule: AlertRule | None
    matchers: tuple[Matcher, ...]
    channels: tuple[Channel, ...]

    def takes(self, alert: Alert, project_id: int, known: dict[str, str]) -> bool:
        rule = self.rule
        if rule is None:
            return True
        strong = SEVERITY_RANK[Severity(alert.severity)] >= SEVERITY_RANK[Severity(rule.min_severity)]
        return (
            strong
            and rule.project_id in (None, project_id)
            and all_hold(self.matchers, known)
            and has_recurred(alert, rule)
        )


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """The rules in their order, and the configuration's channels for those whom no rule concerns yet."""

    rules: tuple[Route, ...]
    ruled_projects: frozenset[int | None]
    builtin: Route

    def routes_for(self, project_id: int) -> tuple[Route, ...]:
        """The built-in last rule serves a project until somebody writes a rule for it, or one for all."""
        ruled = None in self.ruled_projects or project_id in self.ruled_projects
        return self.rules if ruled else (self.builtin,)

    def routes_of(self, alert: Alert, known: dict[str, str]) -> list[Route]:
        """The rules that take an alert: the first that matches, and those after it that it lets speak too."""
        project_id = alert.anomaly.service.project_id
        found: list[Route] = []
        for route in self.routes_for(project_id):
            if not route.takes(alert, project_id, known):
                continue
            found.append(route)
            if route.rule is not None and not route.rule.continue_matching:
                break
        return found


def has_recurred(alert: Alert, rule: AlertRule) -> bool:
    """Whether the series had as many episodes within the time as the rule wants before anybody hears: n of m."""
    if rule.min_occurrences <= 1:
        return True
    anomaly = alert.anomaly
    within = DAY if rule.occurrences_within is None else timedelta(seconds=rule.occurrences_within)
    episodes = Anomaly.objects.filter(
        service=anomaly.service_id,
        model=anomaly.model,
        metric=anomaly.metric,
        direction=anomaly.direction,
        first_seen__gt=anomaly.first_seen - within,
        first_seen__lte=anomaly.first_seen,
    )
    return episodes.count() >= rule.min_occurrences


def load_routing_table() -> RoutingTable:
    """The rules as they are now: a change of one acts on the next alert."""
    builtin = Route(None, (), tuple(sync_config_channels()))
    rules = list(AlertRule.objects.prefetch_related("channels", "severity_channels__channel"))
    compiled = [_compiled(rule) for rule in rules if rule.enabled]
    return RoutingTable(
        rules=tuple(route for route in compiled if route is not None),
        ruled_projects=frozenset(rule.project_id for rule in rules),
        builtin=builtin,
    )


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
    special = []
    if route.rule is not None:
        special = [s.channel for s in route.rule.severity_channels.all() if s.severity == alert.severity]
    return any(may_hear(channel, project_id) for channel in special or route.channels)


def _compiled(rule: AlertRule) -> Route | None:
    try:
        return Route(rule, parse_matchers(rule.matchers), tuple(rule.channels.all()))
    except MatcherError as error:
        log.error("alert_rule_unusable", rule=rule.name, reason=str(error))
        return None
