"""From the outbox to deliveries: which channels hear of an alert."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection, transaction

from alerting import metrics
from alerting.config_channels import sync_config_channels
from alerting.messages import facts
from alerting.models import Alert, AlertRule, Channel, Delivery
from alerting.rules.dedup import dedup_key, is_duplicate
from alerting.rules.matching import Matcher, MatcherError, all_hold, parse_matchers
from anomalies.models import SEVERITY_RANK, Anomaly, Severity, Status

log = structlog.get_logger(__name__)

BATCH = 200
QUEUED_FOR = timedelta(seconds=30)
"""How long a task may be on its way before the sweep sends another one."""


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
        return strong and rule.project_id in (None, project_id) and all_hold(self.matchers, known)


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

    def channels_for(self, alert: Alert) -> dict[Channel, AlertRule | None]:
        """The channels that are to hear of an alert, each with the first rule that says so."""
        project_id = alert.anomaly.service.project_id
        known = facts(alert)
        found: dict[Channel, AlertRule | None] = {}
        for route in self.routes_for(project_id):
            if not route.takes(alert, project_id, known):
                continue
            for channel in route.channels:
                if may_hear(channel, project_id):
                    found.setdefault(channel, route.rule)
            if route.rule is not None and not route.rule.continue_matching:
                break
        return found


def load_routing_table() -> RoutingTable:
    """The rules as they are now: a change of one acts on the next alert."""
    builtin = Route(None, (), tuple(sync_config_channels()))
    rules = list(AlertRule.objects.prefetch_related("channels"))
    compiled = [_compiled(rule) for rule in rules if rule.enabled]
    return RoutingTable(
        rules=tuple(route for route in compiled if route is not None),
        ruled_projects=frozenset(rule.project_id for rule in rules),
        builtin=builtin,
    )


def may_hear(channel: Channel, project_id: int) -> bool:
    """A channel of a project hears of that project only; a disabled one of nothing."""
    return channel.enabled and channel.project_id in (None, project_id)


def route_pending(now: datetime, limit: int = BATCH) -> tuple[int, list[uuid.UUID]]:
    """Route up to `limit` pending alerts, in one transaction; how many, and the deliveries to be tried."""
    with transaction.atomic():
        alerts = _claim(limit)
        if not alerts:
            return 0, []
        table = load_routing_table()
        heard = _announced_to(alerts)
        deliveries: list[Delivery] = []
        for alert in alerts:
            made = _route(alert, table, heard, now)
            heard.setdefault(alert.anomaly_id, {}).update({d.channel: d.rule for d in made if _counts(d)})
            deliveries += made
        Delivery.objects.bulk_create(deliveries, ignore_conflicts=True)
        Alert.objects.bulk_update(alerts, ["outcome", "routed_at"])
    return len(alerts), [d.id for d in deliveries if d.status == Delivery.Status.PENDING]


def muted(alert: Alert, anomaly: Anomaly) -> bool:
    """Whether somebody has seen to the anomaly already; its end is told all the same."""
    return alert.type != Alert.Type.RESOLVED and anomaly.status != Status.OPEN


def hears_again(alert: Alert, key: str, now: datetime) -> bool:
    """Whether the channel heard the same within the window."""
    deduplication = settings.SENTINEL.alerting.deduplication
    if not deduplication.enabled:
        return False
    window = timedelta(seconds=deduplication.window_secs)
    return is_duplicate(alert.type, Delivery.objects.last_delivered_at(key), now, window)


def delivery_id(alert_id: uuid.UUID, channel_id: int) -> uuid.UUID:
    """One alert to one channel has one id, however often it is routed."""
    return uuid.uuid5(alert_id, str(channel_id))


def _compiled(rule: AlertRule) -> Route | None:
    try:
        return Route(rule, parse_matchers(rule.matchers), tuple(rule.channels.all()))
    except MatcherError as error:
        log.error("alert_rule_unusable", rule=rule.name, reason=str(error))
        return None


def _claim(limit: int) -> list[Alert]:
    """Pending alerts that nobody else is routing, in the order of events."""
    alerts = Alert.objects.filter(outcome=Alert.Outcome.PENDING).order_by("created_at", "id")
    if connection.features.has_select_for_update_skip_locked:
        alerts = alerts.select_for_update(skip_locked=True, of=("self",))
    claimed = list(alerts.select_related("anomaly__service__project")[:limit])
    return sorted(_without_overtakers(claimed), key=lambda alert: alert.position)


def _without_overtakers(claimed: list[Alert]) -> list[Alert]:
    """Leave alone what comes after an event of the same anomaly that another worker is routing just now.

    The end of an anomaly goes where its opening went, so the opening must have been routed.
    """
    mine = {alert.id for alert in claimed}
    others = Alert.objects.filter(
        anomaly__in={alert.anomaly_id for alert in claimed}, outcome=Alert.Outcome.PENDING
    ).exclude(id__in=mine)
    first: dict[uuid.UUID, Alert] = {}
    for other in others:
        known = first.setdefault(other.anomaly_id, other)
        first[other.anomaly_id] = min(known, other, key=lambda alert: alert.position)
    return [a for a in claimed if a.anomaly_id not in first or a.position < first[a.anomaly_id].position]


def _announced_to(alerts: Sequence[Alert]) -> dict[uuid.UUID, dict[Channel, AlertRule | None]]:
    """Per anomaly that ends, the channels that were told of it or will be."""
    ended = {alert.anomaly_id for alert in alerts if alert.type == Alert.Type.RESOLVED}
    found: dict[uuid.UUID, dict[Channel, AlertRule | None]] = {}
    for delivery in Delivery.objects.filter(alert__anomaly__in=ended).select_related("alert", "channel", "rule"):
        if _counts(delivery):
            found.setdefault(delivery.alert.anomaly_id, {})[delivery.channel] = delivery.rule
    return found


def _counts(delivery: Delivery) -> bool:
    return delivery.status not in (Delivery.Status.DEDUPLICATED, Delivery.Status.MUTED)


def _route(
    alert: Alert,
    table: RoutingTable,
    heard: dict[uuid.UUID, dict[Channel, AlertRule | None]],
    now: datetime,
) -> list[Delivery]:
    alert.routed_at = now
    if muted(alert, alert.anomaly):
        alert.outcome = Alert.Outcome.MUTED
        return []
    if alert.type == Alert.Type.RESOLVED:
        channels = {c: rule for c, rule in heard.get(alert.anomaly_id, {}).items() if c.enabled}
    else:
        channels = table.channels_for(alert)
    deliveries = [_delivery(alert, channel, rule, now) for channel, rule in channels.items()]
    alert.outcome = _outcome(deliveries)
    return deliveries


def _delivery(alert: Alert, channel: Channel, rule: AlertRule | None, now: datetime) -> Delivery:
    anomaly = alert.anomaly
    key = dedup_key(channel.id, anomaly.service.name, anomaly.model, anomaly.type, alert.severity)
    delivery = Delivery(
        id=delivery_id(alert.id, channel.id),
        alert=alert,
        channel=channel,
        rule=rule,
        dedup_key=key,
        next_attempt_at=now,
        created_at=now,
        queued_until=now + QUEUED_FOR,
    )
    if hears_again(alert, key, now):
        delivery.status = Delivery.Status.DEDUPLICATED
        metrics.ALERTS_DEDUPLICATED.inc()
    return delivery


def _outcome(deliveries: Iterable[Delivery]) -> str:
    statuses = {delivery.status for delivery in deliveries}
    if not statuses:
        return Alert.Outcome.NO_CHANNEL
    return Alert.Outcome.ROUTED if Delivery.Status.PENDING in statuses else Alert.Outcome.DEDUPLICATED
