"""Who hears of a group: by its rule and the severity, by the step of an escalation, or because they heard before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from alerting.config_channels import sync_config_channels
from alerting.models import AlertGroup, Channel, Delivery, EscalationStep, GroupMember, Heard, Notification
from alerting.rules.dedup import dedup_key, is_duplicate
from anomalies.models import BUDGET

SILENT = (Delivery.Status.DEDUPLICATED, Delivery.Status.MUTED, Delivery.Status.SUPERSEDED, Delivery.Status.DEAD)
"""Ends of a delivery of which its channel knows nothing, or nothing by it."""


_SPECIAL = "group__rule__severity_channels__channel"


@dataclass
class Known:
    """What a channel knows of a group: the anomalies it was told of and not yet the end of, and those it is owed."""

    told: set[str] = field(default_factory=set)
    owed: set[str] = field(default_factory=set)


class Audience:
    """The channels of some groups, loaded at once."""

    def __init__(self, groups: Sequence[AlertGroup]) -> None:
        self._builtin = sync_config_channels()
        self._steps: defaultdict[int, list[EscalationStep]] = defaultdict(list)
        rules = {group.rule_id for group in groups if group.rule_id is not None}
        for step in EscalationStep.objects.filter(rule__in=rules).select_related("channel").order_by("order"):
            self._steps[step.rule_id].append(step)
        self._known: defaultdict[UUID, defaultdict[Channel, Known]] = defaultdict(lambda: defaultdict(Known))
        self._load([group.pk for group in groups])
        self._earlier = _earlier_groups(groups)

    def steps(self, group: AlertGroup) -> list[EscalationStep]:
        return self._steps[group.rule_id] if group.rule_id is not None else []

    def by_severity(self, group: AlertGroup, severity: str) -> list[Channel]:
        """The channels that are to hear of something new; none where the rule is gone or at rest."""
        if group.rule is None:
            return [] if group.rule_name else _hearing(self._builtin, group)
        if not group.rule.enabled:
            return []
        special = [s.channel for s in group.rule.severity_channels.all() if s.severity == severity]
        return _hearing(special or group.rule.channels.all(), group)

    def hears_elsewhere(self, group: AlertGroup, member: GroupMember, channel: Channel) -> bool:
        """Whether an earlier rule tells the channel of the same anomaly: nobody hears twice what two rules take."""
        earlier = self._earlier.get((group.pk, member.anomaly_id), [])
        return any(channel in self.by_severity(other, member.severity) for other in earlier)

    def of_step(self, group: AlertGroup, number: int) -> list[Channel]:
        steps = self.steps(group)
        return _hearing([steps[number].channel], group) if number < len(steps) else []

    def known(self, group: AlertGroup) -> dict[Channel, Known]:
        """What each channel that ever heard of the group knows now."""
        return {channel: known for channel, known in self._known[group.pk].items() if channel.enabled}

    def note(self, group: AlertGroup, deliveries: Iterable[Delivery], type_: str) -> None:
        for delivery in deliveries:
            _note(self._known[group.pk][delivery.channel], delivery, type_)

    def _load(self, groups: Sequence[UUID]) -> None:
        found = Delivery.objects.filter(notification__group__in=groups).select_related("notification", "channel")
        for delivery in found.order_by("notification__sequence"):
            _note(self._known[delivery.notification.group_id][delivery.channel], delivery, delivery.notification.type)


def _earlier_groups(groups: Sequence[AlertGroup]) -> dict[tuple[UUID, UUID], list[AlertGroup]]:
    """By group and anomaly, the live groups of other rules that the anomaly had joined before."""
    mine = {
        (row.group_id, row.anomaly_id): row.pk for row in GroupMember.objects.filter(group__in=groups, is_settled=False)
    }
    rows = GroupMember.objects.filter(anomaly__in={anomaly for _, anomaly in mine}, is_settled=False)
    several = rows.select_related("group__rule").prefetch_related("group__rule__channels", _SPECIAL)
    by_anomaly: defaultdict[UUID, list[GroupMember]] = defaultdict(list)
    for row in several.order_by("pk"):
        by_anomaly[row.anomaly_id].append(row)
    return {
        (group, anomaly): [row.group for row in by_anomaly[anomaly] if row.pk < pk and row.group_id != group]
        for (group, anomaly), pk in mine.items()
        if len(by_anomaly[anomaly]) > 1
    }


def told_to(channel: int, group: UUID) -> set[str]:
    """The anomalies of a group that a channel was told of, or is being told of, and not of their end."""
    known = Known()
    found = Delivery.objects.filter(channel=channel, notification__group=group).select_related("notification")
    for delivery in found.order_by("notification__sequence"):
        _note(known, delivery, delivery.notification.type)
    return known.told


def _note(known: Known, delivery: Delivery, type_: str) -> None:
    told = set(delivery.anomaly_ids)
    if type_ == Notification.Type.RESOLVED:
        known.told -= told
        return
    known.owed |= set(delivery.heard_ids)
    if delivery.status not in SILENT:
        known.told |= told
        known.owed -= told


def _hearing(channels: Iterable[Channel], group: AlertGroup) -> list[Channel]:
    return [channel for channel in channels if may_hear(channel, group.project_id)]


def may_hear(channel: Channel, project_id: int) -> bool:
    """A channel of a project hears of that project only; a disabled one of nothing."""
    return channel.enabled and channel.project_id in (None, project_id)


class Window:
    """What channels heard within the deduplication window, looked up at once."""

    def __init__(self, channels: Iterable[Channel], members: Sequence[GroupMember], now: datetime) -> None:
        deduplication = settings.SENTINEL.alerting.deduplication
        self._length = timedelta(seconds=deduplication.window_secs)
        self._now = now
        self._heard: dict[tuple[int, str], datetime] = {}
        if deduplication.enabled:
            keys = {key_of(channel.pk, member) for channel in channels for member in members}
            since = now - self._length
            found = Heard.objects.filter(dedup_key__in=keys, delivered_at__gt=since)
            self._heard = {(row.channel_id, row.dedup_key): row.delivered_at for row in found}

    def heard(self, event: str, channel: Channel, member: GroupMember) -> bool:
        """Whether the channel heard the same within the window and is not to hear it again."""
        last = self._heard.get((channel.pk, key_of(channel.pk, member)))
        return is_duplicate(event, last, self._now, self._length)

    def end(self, channel: Channel, members: Iterable[GroupMember]) -> datetime:
        """When the first of these may be told again."""
        times = (self._heard.get((channel.pk, key_of(channel.pk, member))) for member in members)
        return min((at for at in times if at is not None), default=self._now) + self._length


def key_of(channel: int, member: GroupMember) -> str:
    """What deduplication takes for the same. `member.anomaly.service` must be loaded."""
    anomaly = member.anomaly
    # Each share of each budget is crossed once: two of a service are two matters, however close.
    apart = (str(anomaly.id),) if anomaly.detector == BUDGET else ()
    return dedup_key(channel, anomaly.service.name, anomaly.model, anomaly.type, member.severity, *apart)
