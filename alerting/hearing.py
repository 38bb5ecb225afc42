"""What a channel knows once it has accepted a message: what deduplication counts from, and the thread to go on in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from alerting.audience import key_of
from alerting.channels.base import Answer
from alerting.models import AlertGroup, Delivery, GroupMember, Heard
from alerting.pacing import carried
from alerting.succession import told_as_over

MAX_THREAD = 500


def remember(delivery: Delivery, answer: Answer, now: datetime) -> None:
    """Write down what the channel of a delivered delivery has heard, within the caller's transaction."""
    told = carried(delivery)
    Delivery.objects.filter(pk__in=[each.pk for each in told]).update(delivered_at=now)
    for each in (delivery, *told):
        _heard(each, now)
    if answer.thread and not told:
        _keep_thread(delivery, answer.thread)


def _heard(delivery: Delivery, now: datetime) -> None:
    begun = set(delivery.anomaly_ids) - told_as_over(delivery)
    members = GroupMember.objects.filter(group=delivery.notification.group_id, anomaly__in=begun)
    rows = {row.dedup_key: row for row in _rows(delivery, members.select_related("anomaly__service"), now)}
    Heard.objects.bulk_create(
        [rows[key] for key in sorted(rows)],
        update_conflicts=True,
        unique_fields=["channel", "dedup_key"],
        update_fields=["delivered_at"],
    )


def _rows(delivery: Delivery, members: Sequence[GroupMember], now: datetime) -> list[Heard]:
    channel = delivery.channel_id
    return [
        Heard(channel_id=channel, dedup_key=key_of(channel, member), severity=member.severity, delivered_at=now)
        for member in members
    ]


def _keep_thread(delivery: Delivery, thread: str) -> None:
    group = AlertGroup.objects.select_for_update(of=("self",)).get(pk=delivery.notification.group_id)
    group.thread[str(delivery.channel_id)] = thread[:MAX_THREAD]
    AlertGroup.objects.filter(pk=group.pk).update(thread=group.thread)
