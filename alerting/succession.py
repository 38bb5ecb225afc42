"""The order of what one channel hears of one group: newer news takes the place of older, and never overtakes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import QuerySet

from alerting.models import Delivery, GroupMember, Notification

Status = Delivery.Status
END = str(Notification.Type.RESOLVED)


class Others:
    """The other deliveries to a delivery's channel about its group. The channel's row must be locked."""

    def __init__(self, delivery: Delivery, now: datetime) -> None:
        self._mine = delivery
        self._now = now
        notification = delivery.notification
        found = Delivery.objects.filter(channel=delivery.channel_id, notification__group=notification.group_id)
        live = found.filter(status__in=(Status.PENDING, Status.DELIVERED, Status.SUMMARISED)).exclude(pk=delivery.pk)
        rows = list(live.select_related("notification", "carried_by").order_by("notification__sequence"))
        self._older = [row for row in rows if row.notification.sequence < notification.sequence]
        self._newer = [row for row in rows if row.notification.sequence > notification.sequence]

    def one_is_sent(self) -> bool:
        """Whether a worker is just sending one of them: until it is done nobody knows what the channel knows."""
        return any(self._is_leased(row) for row in (*self._older, *self._newer))

    def beginning_goes_first(self) -> bool:
        """Whether this is an end whose beginning was never tried: people should hear of both, in order."""
        if self._mine.notification.type != END:
            return False
        return any(row.status == Status.PENDING and row.attempt_count == 0 for row in self._older)

    def successor(self) -> Delivery | None:
        """The newest of those that wait and tell what this one tells; None where this one is to go ahead."""
        waiting = [row for row in self._newer if row.status == Status.PENDING]
        if not waiting:
            return None
        end = waiting[-1].notification.type == END
        return None if end and self._mine.attempt_count == 0 else waiting[-1]

    def untold(self) -> list[str]:
        """The anomalies of this one that no newer message has told the channel of meanwhile."""
        told = {anomaly for row in self._newer if row.status != Status.PENDING for anomaly in row.anomaly_ids}
        return [anomaly for anomaly in self._mine.anomaly_ids if anomaly not in told]

    def replaced(self) -> list[Delivery]:
        """Older ones that wait, by themselves or in a summary not delivered yet: this one takes their place."""
        return [row for row in self._older if row.status == Status.PENDING or self._is_carried_in_vain(row)]

    def _is_leased(self, row: Delivery) -> bool:
        holder = row.carried_by if self._is_carried_in_vain(row) else row
        return (
            holder is not None
            and holder.status == Status.PENDING
            and holder.leased_until is not None
            and holder.leased_until > self._now
        )

    @staticmethod
    def _is_carried_in_vain(row: Delivery) -> bool:
        return row.status == Status.SUMMARISED and row.delivered_at is None


def told_as(delivery: Delivery) -> str:
    """The type under which it leaves: an end where it has nothing else to tell any more."""
    type_ = str(delivery.notification.type)
    return END if type_ != END and told_as_over(delivery).issuperset(delivery.anomaly_ids) else type_


def told_as_over(delivery: Delivery) -> set[str]:
    """The anomalies of which it tells the end: all of an end, and those of an end whose place a beginning took.

    All, too, of what was dead, is replayed and is over by now: no end would follow a beginning that is told after
    it, and its receiver would wait for one for ever.
    """
    if delivery.notification.type == END:
        return set(delivery.anomaly_ids)
    members = {str(row.anomaly_id): row for row in _members(delivery)}
    if delivery.replayed_at is not None and not any(member.is_firing for member in members.values()):
        return set(delivery.anomaly_ids)
    over = {anomaly for anomaly, member in members.items() if member.is_settled}
    own = delivery.notification.anomalies.filter(pk__in=over) if over else []
    return over - {str(anomaly.pk) for anomaly in own}


def _members(delivery: Delivery) -> QuerySet[GroupMember]:
    return GroupMember.objects.filter(group=delivery.notification.group_id, anomaly__in=delivery.anomaly_ids)


def hand_over(older: Iterable[Delivery], newer: Delivery) -> None:
    """End older deliveries; the newer one tells their anomalies too."""
    older = list(older)
    if not older:
        return
    newer.anomaly_ids = merged([*(row.anomaly_ids for row in older), newer.anomaly_ids])
    newer.heard_ids = [anomaly for anomaly in newer.heard_ids if anomaly not in newer.anomaly_ids]
    Delivery.objects.filter(pk=newer.pk).update(anomaly_ids=newer.anomaly_ids, heard_ids=newer.heard_ids)
    reason = "a newer event of the group takes its place"
    Delivery.objects.filter(pk__in=[row.pk for row in older]).update(
        status=Status.SUPERSEDED, last_error=reason, carried_by=None, lease_id=None
    )


def merged(lists: Iterable[Sequence[str]]) -> list[str]:
    """All of them once, in the order of their first appearance."""
    return list(dict.fromkeys(item for each in lists for item in each))
