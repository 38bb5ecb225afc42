"""Whether a delivery may be sent now, has to wait, or is over before it is sent (again)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import F, Q

from alerting import health, pacing
from alerting.audience import Window, key_of, told_to
from alerting.config_channels import retry_policy
from alerting.holding import holds_of
from alerting.models import AlertGroup, Delivery, GroupMember, Notification
from alerting.quiet import load_lulls
from alerting.succession import Others, hand_over, told_as, told_as_over
from anomalies.models import Status as People

Status = Delivery.Status


class Turn(NamedTuple):
    """What is decided of a delivery: its end with the reason, or when to try again; neither = now."""

    status: str | None = None
    reason: str = ""
    again_at: datetime | None = None


GO = Turn()


def take_turn(delivery: Delivery, now: datetime) -> Turn:
    """Decide about a delivery whose channel's row is locked; writes what it decides about others.

    `notification__group__rule` and `channel` must be loaded. What is to wait is marked so in its row.
    """
    channel = delivery.channel
    if not channel.enabled:
        return Turn(Status.DEAD, f"the channel is disabled: {channel.disabled_reason or 'by hand'}")
    own = set(delivery.anomaly_ids)
    turn = _unattended(delivery, _members(delivery)) or _in_order(delivery, now)
    members = _members(delivery)
    if turn is None and not own.issuperset(delivery.anomaly_ids):  # it tells what others were to tell
        turn = _unattended(delivery, members)
    turn = turn or _unheard(delivery, members, now) or _unhindered(delivery, members, now)
    return turn or _within_limits(delivery, members, now) or GO


def _members(delivery: Delivery) -> list[GroupMember]:
    rows = GroupMember.objects.filter(group=delivery.notification.group_id, anomaly__in=delivery.anomaly_ids)
    return list(rows.select_related("anomaly__service__project"))


def _unattended(delivery: Delivery, members: Sequence[GroupMember]) -> Turn | None:
    """What somebody has seen to is not told any more; ends are."""
    over = told_as_over(delivery)
    begun = [member for member in members if str(member.anomaly_id) not in over]
    attended = {str(member.anomaly_id) for member in begun if member.anomaly.status != People.OPEN}
    if len(attended) == len(begun) and not over:
        statuses = sorted({member.anomaly.status for member in members}) or ["deleted"]
        return Turn(Status.MUTED, f"the anomaly is {' and '.join(statuses)}")
    _leave_out(delivery, attended)
    return None


def _in_order(delivery: Delivery, now: datetime) -> Turn | None:
    others = Others(delivery, now)
    if others.one_is_sent() or others.beginning_goes_first():
        return _wait(delivery, now)
    successor = others.successor()
    if successor is not None:
        hand_over([delivery], successor)
        return Turn(Status.SUPERSEDED, "a newer event of the group takes its place")
    untold = others.untold()
    if not untold:
        return Turn(Status.SUPERSEDED, "a newer event of the group takes its place")
    _leave_out(delivery, set(delivery.anomaly_ids) - set(untold))
    hand_over(others.replaced(), delivery)
    return None


def _unheard(delivery: Delivery, members: Sequence[GroupMember], now: datetime) -> Turn | None:
    """Leave out what the channel heard within the window: the group owes it that, should it last longer."""
    window = Window([delivery.channel], members, now)
    event = delivery.notification.type
    begun = set(delivery.anomaly_ids) - told_as_over(delivery)
    heard = [member for member in members if window.heard(event, delivery.channel, member)]
    heard = [member for member in heard if str(member.anomaly_id) in begun]
    if not heard:
        return None
    _postpone(delivery, heard, window.end(delivery.channel, heard))
    if delivery.anomaly_ids:
        return None
    return Turn(Status.DEDUPLICATED, "the channel heard the same within the window")


def _unhindered(delivery: Delivery, members: Sequence[GroupMember], now: datetime) -> Turn | None:
    """Wait where a silence began after it was made; of several what is held is left for a later telling.

    An end that is told with others is told all the same: it wakes nobody.
    """
    begun = set(delivery.anomaly_ids) - told_as_over(delivery) or delivery.anomaly_ids
    told = [member for member in members if str(member.anomaly_id) in begun]
    group = delivery.notification.group
    holds = holds_of(told, {group.pk: group}, load_lulls(now), now)
    if not holds:
        return None
    until = min(until for _, until in holds.values())
    if len(holds) == len(told):
        return _wait(delivery, until)
    if told_as(delivery) != Notification.Type.RESOLVED:
        _postpone(delivery, [member for member in told if member.pk in holds], until)
    return None


def _postpone(delivery: Delivery, members: Sequence[GroupMember], until: datetime) -> None:
    """Leave members out; the group owes the channel those that it was never told of, should they last till then."""
    ids = {str(member.anomaly_id) for member in members}
    _leave_out(delivery, ids)
    delivery.heard_ids = [*delivery.heard_ids, *sorted(ids)]
    Delivery.objects.filter(pk=delivery.pk).update(heard_ids=delivery.heard_ids)
    group = delivery.notification.group_id
    if ids - told_to(delivery.channel_id, group):
        _owe(group, until)


def _owe(group: UUID, at: datetime) -> None:
    rows = AlertGroup.objects.live().filter(pk=group)
    rows.filter(Q(owed_at=None) | Q(owed_at__gt=at)).update(owed_at=at)
    rows.filter(Q(due_at=None) | Q(due_at__gt=F("owed_at"))).update(due_at=F("owed_at"))


def _within_limits(delivery: Delivery, members: Sequence[GroupMember], now: datetime) -> Turn | None:
    told = [member for member in members if str(member.anomaly_id) in delivery.anomaly_ids]
    keys = {key_of(delivery.channel_id, member) for member in told}
    leased = Delivery.objects.filter(channel=delivery.channel_id, status=Status.PENDING, leased_until__gt=now)
    if any(keys & set(other) for other in leased.exclude(pk=delivery.pk).values_list("dedup_keys", flat=True)):
        return _wait(delivery, now)  # until it is known whether the other arrives
    free_at = pacing.free_at(delivery.channel, now)
    if free_at is not None:
        pacing.defer(delivery, free_at)
        return Turn(again_at=free_at)
    turn = _for_the_channel(delivery, now)
    if turn is not None:
        return turn
    pacing.gather(delivery, now, lambda other: _is_tellable(other, now))
    Delivery.objects.filter(pk=delivery.pk).update(dedup_keys=sorted(keys))
    return None


def _for_the_channel(delivery: Delivery, now: datetime) -> Turn | None:
    """Wait where the channel is unhealthy and another delivery tries it, which costs this one no attempt.

    When its patience ends it has a last attempt if it ever had one; thousands that never did would hold up the
    workers for a receiver that is known not to answer.
    """
    left = timedelta(seconds=retry_policy(delivery.channel.kind).give_up_after) - delivery.age(now)
    until = health.waits_until(delivery.channel, now)
    if until is None or (left <= timedelta() and delivery.attempt_count > delivery.attempts_before_replay):
        return None
    if left <= timedelta():
        return Turn(Status.DEAD, "the channel has not worked all the time")
    return _wait(delivery, min(until, now + left))


def _is_tellable(other: Delivery, now: datetime) -> bool:
    """Whether another delivery may leave in this one's summary; else it is decided about when its own time comes."""
    members = _members(other)
    return not (_unattended(other, members) or _unheard(other, members, now) or _unhindered(other, members, now))


def _wait(delivery: Delivery, until: datetime) -> Turn:
    """Give the delivery back to the sweep."""
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=until, queued_until=None)
    return Turn(again_at=until)


def _leave_out(delivery: Delivery, ids: set[str]) -> None:
    if not ids.isdisjoint(delivery.anomaly_ids):
        delivery.anomaly_ids = [anomaly for anomaly in delivery.anomaly_ids if anomaly not in ids]
        Delivery.objects.filter(pk=delivery.pk).update(anomaly_ids=delivery.anomaly_ids)
