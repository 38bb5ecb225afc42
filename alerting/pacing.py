"""A channel's rate limit: what exceeds it waits, and is then told in one summary. Nothing is dropped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db.models import Q

from alerting.models import Attempt, Channel, Delivery
from alerting.succession import hand_over

WINDOW = timedelta(minutes=1)
MOST_CARRIED = 200
USUAL = {"slack": 50, "teams": 30, "email": 20}
"""Messages per minute where a channel says nothing; what its people or its provider put up with."""
ONE_BY_ONE = frozenset({"pagerduty", "alertmanager"})
"""Kinds whose receivers follow each group by its id: a summary would open nothing there and resolve nothing."""


def limit_of(channel: Channel) -> int | None:
    """Messages per minute; None = unlimited."""
    return channel.rate_limit if channel.rate_limit is not None else USUAL.get(channel.kind)


def free_at(channel: Channel, now: datetime) -> datetime | None:
    """When the channel may be sent to again; None = now. Failed attempts count: the receiver had to answer them."""
    limit = limit_of(channel)
    if limit is None:
        return None
    recent = Attempt.objects.filter(delivery__channel=channel, started_at__gt=now - WINDOW).order_by("-started_at")
    times = list(recent.values_list("started_at", flat=True)[:limit])
    return times[-1] + WINDOW if len(times) >= limit else None


def defer(delivery: Delivery, until: datetime) -> None:
    """Have a delivery wait for its channel's limit, to be told with the others that wait."""
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=until, is_deferred=True, queued_until=None)


def gather(delivery: Delivery, now: datetime, is_tellable: Callable[[Delivery], bool]) -> list[Delivery]:
    """Have a delivery that is about to leave carry all that wait for the same limit; those it carries now."""
    if limit_of(delivery.channel) is None or delivery.channel.kind in ONE_BY_ONE or delivery.carried_by_id is not None:
        return []
    unleased = Q(leased_until=None) | Q(leased_until__lte=now)
    waiting = Delivery.objects.filter(
        unleased, channel=delivery.channel_id, status=Delivery.Status.PENDING, is_deferred=True
    ).exclude(pk=delivery.pk)
    # A group's own messages follow one another in the order of `succession`.
    waiting = waiting.exclude(notification__group=delivery.notification.group_id)
    groups: dict[object, list[Delivery]] = {}
    rows = waiting.select_related("notification__group__rule", "channel")
    for row in rows.order_by("created_at", "notification__sequence")[:MOST_CARRIED]:
        if is_tellable(row):
            groups.setdefault(row.notification.group_id, []).append(row)
    for *older, newest in groups.values():
        hand_over(older, newest)
    chosen = [of_group[-1] for of_group in groups.values()]
    Delivery.objects.filter(pk__in=[row.pk for row in chosen]).update(
        status=Delivery.Status.SUMMARISED, carried_by=delivery, is_deferred=False, queued_until=None
    )
    return chosen


def carried(delivery: Delivery) -> list[Delivery]:
    """What a delivery tells besides its own, oldest first."""
    rows = Delivery.objects.filter(carried_by=delivery, status=Delivery.Status.SUMMARISED)
    return list(rows.select_related("notification__group").order_by("created_at", "id"))
