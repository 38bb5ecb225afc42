"""From groups that are due to notifications and deliveries: the rows around `alerting.rules.grouping.plan`."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import prefetch_related_objects

from alerting import metrics
from alerting.audience import Audience, Window
from alerting.holding import holds_of
from alerting.models import AlertGroup, Channel, Delivery, GroupMember, Notification
from alerting.pace import pace_of
from alerting.quiet import Quiet
from alerting.rules import grouping
from alerting.rules.grouping import Plan, Telling, Why
from anomalies.models import BUDGET, SEVERITY_RANK, Severity, Status

BATCH = 50
QUEUED_FOR = timedelta(seconds=30)
"""How long a task may be on its way before the sweep sends another one."""
TYPES = {
    Why.NEW: Notification.Type.OPENED,
    Why.OWED: Notification.Type.OPENED,
    Why.WORSE: Notification.Type.ESCALATED,
    Why.STEP: Notification.Type.ESCALATED,
    Why.REPEAT: Notification.Type.REPEATED,
    Why.END: Notification.Type.RESOLVED,
}
_NAMES = {rank: str(severity) for severity, rank in SEVERITY_RANK.items()}
_GROUP_FIELDS = ["phase", "due_at", "last_told_at", "retold_at", "owed_at", "told_severity", "sequence"]
_GROUP_FIELDS += ["acknowledged_at", "escalation_step", "escalation_due_at", "resolved_at"]
_MEMBER_FIELDS = ["told_severity", "is_settled", "held"]


@dataclass
class Told:
    """What a look at some groups makes."""

    notifications: list[Notification] = field(default_factory=list)
    links: list[object] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    groups: list[AlertGroup] = field(default_factory=list)
    members: list[GroupMember] = field(default_factory=list)

    def write(self) -> None:
        Notification.objects.bulk_create(self.notifications)
        Notification.anomalies.through.objects.bulk_create(self.links, batch_size=500)  # type: ignore[arg-type]
        Delivery.objects.bulk_create(self.deliveries)
        AlertGroup.objects.bulk_update(self.groups, _GROUP_FIELDS)
        GroupMember.objects.bulk_update(self.members, _MEMBER_FIELDS, batch_size=500)


def tell_due(now: datetime, quiet: Quiet, limit: int = BATCH) -> tuple[int, list[uuid.UUID]]:
    """Look at up to `limit` groups that are due, in one transaction; how many, and the deliveries to be tried."""
    with transaction.atomic():
        groups = _claim(now, limit)
        if not groups:
            return 0, []
        members = _members(groups)
        holds = holds_of([m for rows in members.values() for m in rows], {g.pk: g for g in groups}, quiet, now)
        audience = Audience(groups)
        told = Told()
        for group in groups:
            Look(group, members[group.pk], holds, audience, now).take(told)
        told.write()
    waiting = [d.id for d in told.deliveries if d.status == Delivery.Status.PENDING]
    metrics.ALERTS_DEDUPLICATED.inc(len(told.deliveries) - len(waiting))
    return len(groups), waiting


def notification_id(group: uuid.UUID, sequence: int) -> uuid.UUID:
    """The n-th telling of a group has one id."""
    return uuid.uuid5(group, str(sequence))


def delivery_id(notification: uuid.UUID, channel: int) -> uuid.UUID:
    """One notification to one channel has one id."""
    return uuid.uuid5(notification, str(channel))


def _claim(now: datetime, limit: int) -> list[AlertGroup]:
    """Groups that are due and that nobody else looks at just now."""
    due = AlertGroup.objects.live().due(now)
    if connection.features.has_select_for_update_skip_locked:
        due = due.select_for_update(skip_locked=True, of=("self",))
    groups = list(due.select_related("rule", "project")[:limit])
    rules = [group.rule for group in groups if group.rule is not None]
    prefetch_related_objects(rules, "channels", "severity_channels__channel")
    return groups


def _members(groups: Sequence[AlertGroup]) -> dict[uuid.UUID, list[GroupMember]]:
    found: defaultdict[uuid.UUID, list[GroupMember]] = defaultdict(list)
    rows = GroupMember.objects.filter(group__in=groups, is_settled=False).order_by("joined_at", "id")
    for member in rows.select_related("anomaly__service__project"):
        found[member.group_id].append(member)
    return found


class Look:
    """One look at one group that is due."""

    def __init__(
        self,
        group: AlertGroup,
        members: Sequence[GroupMember],
        holds: dict[int, tuple[str, datetime]],
        audience: Audience,
        now: datetime,
    ) -> None:
        self.group = group
        self.rows = {member.anomaly_id: member for member in members}
        self.holds = holds
        self.audience = audience
        self.now = now

    def take(self, told: Told) -> None:
        """Tell what is due, and write down when to look again."""
        plan = grouping.plan(self._state(), [self._as_member(row) for row in self.rows.values()], self.now)
        owed_at = plan.group.owed_at
        for telling in plan.tellings:
            dropped = self._tell(telling, told)
            owed_at = min((at for at in (owed_at, dropped) if at is not None), default=None)
        self._write_down(plan, owed_at)
        told.groups.append(self.group)
        told.members += self.rows.values()

    def _state(self) -> grouping.Group:
        group = self.group
        return grouping.Group(
            pace=pace_of(group.rule, self.audience.steps(group)),
            opened_at=group.opened_at,
            reopened=group.reopened_count,
            told_rank=_rank(group.told_severity),
            last_told_at=group.last_told_at,
            retold_at=group.retold_at,
            owed_at=group.owed_at,
            step=group.escalation_step,
            step_due_at=group.escalation_due_at,
        )

    def _as_member(self, row: GroupMember) -> grouping.Member:
        reason, until = self.holds.get(row.pk, ("", None))
        member = grouping.Member(
            id=row.anomaly_id,
            rank=_rank(row.severity),
            ready_at=row.ready_at,
            told_rank=_rank(row.told_severity),
            ended_at=None if row.is_firing else row.ended_at or self.now,
            held_until=until,
            was_held=bool(row.held),
            is_attended=row.anomaly.status != Status.OPEN,
            # What is spent stays spent: nobody needs to hear that every four hours until the month is over.
            repeats=row.anomaly.detector != BUDGET,
        )
        row.held = reason or ("" if row.is_firing else row.held)
        return member

    def _tell(self, telling: Telling, told: Told) -> datetime | None:
        """Make the notification of a telling with its deliveries; when a channel is owed what it heard just now."""
        rows = [self.rows[anomaly] for anomaly in telling.ids]
        severity = _NAMES[max(member.rank for member in telling.members)]
        wanted = self._wanted(telling, rows, severity)
        if not wanted:
            return None
        self.group.sequence += 1
        type_ = TYPES[telling.why]
        notification = Notification(
            id=notification_id(self.group.pk, self.group.sequence),
            group=self.group,
            sequence=self.group.sequence,
            type=type_,
            severity=severity,
            occurred_at=max(row.occurred_at for row in rows),
            created_at=self.now,
            count=len(rows),
        )
        window = Window(wanted, rows, self.now)
        deliveries = [self._delivery(notification, channel, said, window) for channel, said in wanted.items()]
        self.audience.note(self.group, deliveries, type_)
        told.notifications.append(notification)
        link = Notification.anomalies.through
        told.links += [link(notification_id=notification.id, anomaly_id=row.anomaly_id) for row in rows]
        told.deliveries += deliveries
        return min((at for d in deliveries if (at := self._owed_at(d, window)) is not None), default=None)

    def _owed_at(self, delivery: Delivery, window: Window) -> datetime | None:
        """When the channel may hear of what was left out; None where it was told of all that once."""
        told = self.audience.known(self.group)[delivery.channel].told
        untold = [anomaly for anomaly in delivery.heard_ids if anomaly not in told]
        return window.end(delivery.channel, self._named(untold)) if untold else None

    def _wanted(self, telling: Telling, rows: Sequence[GroupMember], severity: str) -> dict[Channel, list[GroupMember]]:
        """Who is to hear of it, and of which members."""
        group, audience = self.group, self.audience
        if telling.why is Why.STEP:
            return {channel: list(rows) for channel in audience.of_step(group, telling.step or 0)}
        if telling.why in (Why.END, Why.OWED):
            ended = telling.why is Why.END
            known = {c: k.told if ended else k.owed - k.told for c, k in audience.known(group).items()}
            wanted = {c: [row for row in rows if str(row.anomaly_id) in ids] for c, ids in known.items()}
            return {channel: said for channel, said in wanted.items() if said}
        everybody = {
            channel: [row for row in rows if not audience.hears_elsewhere(group, row, channel)]
            for channel in audience.by_severity(group, severity)
        }
        return {channel: said for channel, said in everybody.items() if said}

    def _delivery(
        self, notification: Notification, channel: Channel, rows: Sequence[GroupMember], window: Window
    ) -> Delivery:
        heard = [row for row in rows if window.heard(notification.type, channel, row)]
        said = [row for row in rows if row not in heard]
        return Delivery(
            id=delivery_id(notification.id, channel.pk),
            notification=notification,
            channel=channel,
            rule=self.group.rule,
            status=Delivery.Status.PENDING if said else Delivery.Status.DEDUPLICATED,
            anomaly_ids=[str(row.anomaly_id) for row in said],
            heard_ids=[str(row.anomaly_id) for row in heard],
            next_attempt_at=self.now,
            created_at=self.now,
            queued_until=self.now + QUEUED_FOR,
        )

    def _named(self, ids: Iterable[str]) -> list[GroupMember]:
        return [self.rows[uuid.UUID(anomaly)] for anomaly in ids]

    def _write_down(self, plan: Plan, owed_at: datetime | None) -> None:
        group, state = self.group, plan.group
        for member in plan.members:
            row = self.rows[member.id]
            row.told_severity = _NAMES.get(member.told_rank, "")
            row.is_settled = member.is_settled
        due = [at for at in (plan.due_at, owed_at) if at is not None]
        group.due_at = min(due, default=None)
        group.last_told_at, group.retold_at, group.owed_at = state.last_told_at, state.retold_at, owed_at
        group.told_severity = _NAMES.get(state.told_rank, "")
        group.escalation_step, group.escalation_due_at = state.step, state.step_due_at
        if state.told_rank:
            group.phase = AlertGroup.Phase.FIRING
        if plan.is_attended:
            group.escalation_due_at = None
        group.acknowledged_at = (group.acknowledged_at or self.now) if plan.is_attended else None
        if plan.is_over:
            group.phase, group.resolved_at, group.due_at = AlertGroup.Phase.RESOLVED, self.now, None


def _rank(severity: str) -> int:
    return SEVERITY_RANK[Severity(severity)] if severity else 0
