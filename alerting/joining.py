"""Anomalies join groups and leave them; whatever happens to a group makes it due to be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from alerting.models import Alert, AlertGroup, AlertRule, GroupMember
from alerting.pace import group_by_of
from alerting.rules.grouping import group_key, labels_of, reopenings
from anomalies.models import SEVERITY_RANK, Severity, State, Status

INCIDENT = "incident"


@dataclass(frozen=True, slots=True)
class Join:
    """An alert that is to be told by a rule (None: the built-in one), with the facts it is grouped by."""

    alert: Alert
    rule: AlertRule | None
    facts: dict[str, str]

    @property
    def project_id(self) -> int:
        return int(self.alert.anomaly.service.project_id)

    @property
    def labels(self) -> dict[str, str]:
        return labels_of(group_by_of(self.rule), self.facts)

    @property
    def key(self) -> str:
        return group_key(self.rule.pk if self.rule else None, self.project_id, self.labels)


def join(joins: Sequence[Join], now: datetime) -> None:
    """Put the anomalies of alerts into their groups, within the caller's transaction.

    A group that was over a moment ago is reopened, with its id, rather than opened anew. An anomaly that rises is
    noted in every group that has it, whatever rules match today.
    """
    if not joins:
        return
    wanted = {each.key: each for each in joins}
    groups = {group.key: group for group in _lock(Q(key__in=wanted))}
    missing = sorted(set(wanted) - set(groups))
    if missing:
        groups |= _open([wanted[key] for key in missing], now)
    pairs = {(groups[each.key].pk, each.alert.anomaly_id): each.alert for each in joins}
    _note_members(pairs, {each.alert.anomaly_id: each.alert for each in joins}, _min_durations(joins, groups), now)
    _make_due([group.pk for group in groups.values()], now)


def end(alerts: Sequence[Alert], now: datetime) -> None:
    """The anomalies of these alerts are over; sets the outcome of each."""
    firing = GroupMember.objects.filter(is_firing=True, anomaly__in=[alert.anomaly_id for alert in alerts])
    concerned = set(firing.values_list("anomaly_id", flat=True))
    for alert in alerts:
        alert.outcome = Alert.Outcome.ROUTED if alert.anomaly_id in concerned else Alert.Outcome.NO_CHANNEL
    list(_lock(Q(members__in=firing)))
    _end(firing, {alert.anomaly_id: alert for alert in alerts}, now)


def end_silently_ended(now: datetime) -> int:
    """End the members whose anomaly is over without an alert that says so; how many.

    By hand, in a backlog too old to be told, or because the state that knew of it was lost.
    """
    over = Q(anomaly__status=Status.RESOLVED) | ~Q(anomaly__state=State.ACTIVE)
    pending = Alert.objects.filter(outcome=Alert.Outcome.PENDING).values("anomaly")
    with transaction.atomic():
        found = GroupMember.objects.filter(over, is_firing=True).exclude(anomaly__in=pending)
        ids = list(found.values_list("pk", flat=True))
        if not ids:
            return 0
        list(_lock(Q(members__in=ids)))
        _end(GroupMember.objects.filter(pk__in=ids, is_firing=True), {}, now)
    return len(ids)


def revive_unattended(now: datetime) -> int:
    """Look again at groups that somebody saw to until an acknowledgement ran out; what was told is told again."""
    unattended = GroupMember.objects.filter(is_firing=True, anomaly__status=Status.OPEN)
    attended = AlertGroup.objects.live().exclude(acknowledged_at=None)
    with transaction.atomic():
        groups = attended.filter(pk__in=unattended.values("group")).order_by("key")
        found = [group.pk for group in groups.select_for_update(of=("self",))]
        told = unattended.filter(group__in=found).exclude(told_severity="").values("group")
        AlertGroup.objects.filter(pk__in=list(told.values_list("group", flat=True))).update(retold_at=None)
        return AlertGroup.objects.filter(pk__in=found).update(acknowledged_at=None, due_at=now)


def _lock(which: Q) -> list[AlertGroup]:
    """Live groups, locked in the order of their keys."""
    ids = AlertGroup.objects.live().filter(which).values_list("pk", flat=True)
    groups = AlertGroup.objects.live().filter(pk__in=list(ids)).order_by("key")
    return list(groups.select_for_update(of=("self",)))


def _open(joins: Sequence[Join], now: datetime) -> dict[str, AlertGroup]:
    """The groups of alerts that no live group waits for: reopened ones where there are, else new ones."""
    found: dict[str, AlertGroup] = {}
    for each in joins:
        group = _reopen(each, now)
        if group is not None:
            found[each.key] = group
    new = [_new_group(each, now) for each in joins if each.key not in found]
    AlertGroup.objects.bulk_create(new)
    return found | {group.key: group for group in new}


def _new_group(each: Join, now: datetime) -> AlertGroup:
    return AlertGroup(
        rule=each.rule,
        rule_name=each.rule.name if each.rule else "",
        project_id=each.project_id,
        key=each.key,
        labels=each.labels,
        created_at=now,
        opened_at=now,
        due_at=now,
    )


def _reopen(each: Join, now: datetime) -> AlertGroup | None:
    since = now - timedelta(seconds=settings.SENTINEL.alerting.reopen_grace)
    recent = AlertGroup.objects.filter(phase=AlertGroup.Phase.RESOLVED, resolved_at__gt=since)
    same = recent.filter(key=each.key)
    if INCIDENT in each.labels:
        # Each flap is an incident of its own; people should hear of one thing that comes back.
        same = recent.filter(Q(key=each.key) | Q(pk__in=_of_the_series(each, recent)))
    group = same.order_by("-resolved_at").select_for_update(of=("self",)).first()
    if group is None:
        return None
    group.reopened_count = reopenings(group.reopened_count, group.resolved_at, group.last_told_at, now)
    group.phase, group.key, group.labels = AlertGroup.Phase.WAITING, each.key, each.labels
    group.opened_at = group.due_at = now
    group.resolved_at = group.acknowledged_at = group.retold_at = group.owed_at = group.escalation_due_at = None
    group.told_severity, group.escalation_step = "", 0
    try:
        with transaction.atomic():
            group.save()
    except IntegrityError:
        return None  # somebody opened another one under that key
    return group


def _of_the_series(each: Join, recent: QuerySet[AlertGroup]) -> QuerySet[AlertGroup]:
    """Groups of the rule that told of the same series, and agree in all else they are grouped by."""
    anomaly = each.alert.anomaly
    series = {
        "members__anomaly__service": anomaly.service_id,
        "members__anomaly__model": anomaly.model,
        "members__anomaly__metric": anomaly.metric,
        "members__anomaly__direction": anomaly.direction,
    }
    found = recent.filter(rule=each.rule, rule_name=each.rule.name if each.rule else "", **series)
    rest = {name: value for name, value in each.labels.items() if name != INCIDENT}
    ids = [
        group.pk
        for group in found.distinct()
        if {name: value for name, value in group.labels.items() if name != INCIDENT} == rest
    ]
    return AlertGroup.objects.filter(pk__in=ids)


def _min_durations(joins: Iterable[Join], groups: dict[str, AlertGroup]) -> dict[UUID, timedelta]:
    return {groups[each.key].pk: timedelta(seconds=each.rule.min_duration if each.rule else 0) for each in joins}


def _note_members(
    pairs: dict[tuple[UUID, UUID], Alert],
    alerts: dict[UUID, Alert],
    min_durations: dict[UUID, timedelta],
    now: datetime,
) -> None:
    here = Q(group__in=[group for group, _ in pairs])
    known = GroupMember.objects.filter(here | Q(is_firing=True), anomaly__in=list(alerts))
    rows = {(row.group_id, row.anomaly_id): row for row in known}
    for (_, anomaly), row in rows.items():
        _note(row, alerts[anomaly], now)
    changed = ["severity", "occurred_at", "is_firing", "is_settled", "told_severity", "held", "joined_at", "ended_at"]
    GroupMember.objects.bulk_update(rows.values(), changed, batch_size=500)
    unknown = {pair: alert for pair, alert in pairs.items() if pair not in rows}
    new = [_new_member(group, alert, min_durations[group], now) for (group, _), alert in unknown.items()]
    GroupMember.objects.bulk_create(new, batch_size=500)
    _make_due({group for group, _ in rows}, now)


def _note(row: GroupMember, alert: Alert, now: datetime) -> None:
    if not row.is_firing:  # it was taken for over and is not: it joins anew
        row.is_firing, row.is_settled, row.told_severity, row.held = True, False, "", ""
        row.joined_at, row.ended_at, row.severity = now, None, alert.severity
    _raise_to(row, alert.severity)
    row.occurred_at = max(row.occurred_at, alert.occurred_at)


def _new_member(group: UUID, alert: Alert, min_duration: timedelta, now: datetime) -> GroupMember:
    return GroupMember(
        group_id=group,
        anomaly_id=alert.anomaly_id,
        severity=alert.severity,
        occurred_at=alert.occurred_at,
        ready_at=alert.anomaly.first_seen + min_duration,
        joined_at=now,
    )


def _end(members: QuerySet[GroupMember], alerts: dict[UUID, Alert], now: datetime) -> None:
    rows = list(members.select_related("anomaly"))
    for row in rows:
        alert = alerts.get(row.anomaly_id)
        by_hand = row.anomaly.status == Status.RESOLVED and row.anomaly.state == State.ACTIVE
        row.is_firing = False
        row.ended_at = now if by_hand else max(row.anomaly.last_seen, row.anomaly.first_seen)
        if alert is not None:
            row.occurred_at = max(row.occurred_at, alert.occurred_at)
            _raise_to(row, alert.severity)
    GroupMember.objects.bulk_update(rows, ["is_firing", "ended_at", "occurred_at", "severity"], batch_size=500)
    _make_due({row.group_id for row in rows}, now)


def _raise_to(row: GroupMember, severity: str) -> None:
    if SEVERITY_RANK[Severity(severity)] > SEVERITY_RANK[Severity(row.severity)]:
        row.severity = severity


def _make_due(groups: Iterable[UUID], now: datetime) -> None:
    """Have somebody look at the groups; what is due earlier stays so."""
    live = AlertGroup.objects.live().filter(pk__in=list(groups))
    live.filter(Q(due_at=None) | Q(due_at__gt=now)).update(due_at=now)
