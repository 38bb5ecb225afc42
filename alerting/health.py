"""The health of channels, kept in their rows: every worker sees the same, and a restart forgets nothing.

A channel that fails several times in a row is unhealthy. Then one delivery at a time tries it, after pauses that grow
to five minutes; the others wait, and lose none of their attempts. The first success brings everything back. The
other channels are told of both.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Count, Q

from alerting import metrics
from alerting.channels import kind_named
from alerting.channels.base import DeliveryFailed, Message, NoticeType
from alerting.config_channels import target_of
from alerting.messages import own_message
from alerting.models import Channel, Delivery
from alerting.rules import health

log = structlog.get_logger(__name__)

PROBE = timedelta(seconds=60)
"""How long the delivery that tries an unhealthy channel has it to itself; as long as a lease."""
TELLING = timedelta(seconds=300)
"""How long one worker has for telling the other channels."""
HASTENED = 5000
UNHEALTHY = "channel.unhealthy"
HEALTHY = "channel.healthy"


def waits_until(channel: Channel, now: datetime) -> datetime | None:
    """When to come back to an unhealthy channel; None where it may be tried now.

    The channel's row must be locked: of an unhealthy one the first that asks becomes the probe, and the others wait
    for what comes of it.
    """
    if channel.retry_at is None or not health.is_unhealthy(channel.failure_count):
        return None
    if channel.retry_at > now:
        return channel.retry_at
    Channel.objects.filter(pk=channel.pk).update(retry_at=now + PROBE)
    return None


def note_success(channel: Channel, now: datetime) -> None:
    """The channel works; what waited for it goes now."""
    with transaction.atomic():
        failures = Channel.objects.select_for_update().values_list("failure_count", flat=True).get(pk=channel.pk)
        if failures == 0:
            return
        well = {"failing_since": None, "failure_count": 0, "last_error": "", "retry_at": None}
        Channel.objects.filter(pk=channel.pk).update(**well)
        if health.is_unhealthy(failures):
            log.info("channel_healthy", channel=channel.name, waiting=_hasten(channel, now))


def note_failure(channel: Channel, failure: DeliveryFailed, now: datetime) -> None:
    """The channel did not work; a receiver that wants nothing any more disables it."""
    if not health.counts_against(failure.status_code):
        return
    with transaction.atomic():
        row = Channel.objects.select_for_update().get(pk=channel.pk)
        row.failure_count += 1
        row.failing_since = row.failing_since or now
        row.last_error = str(failure).replace("\x00", "\N{REPLACEMENT CHARACTER}")[:500]
        pause = health.pause(row.failure_count)
        row.retry_at = now + pause if pause else None
        if failure.gone and row.enabled:
            row.enabled, row.disabled_reason = False, f"{failure} on {now:%Y-%m-%d %H:%M} UTC"[:200]
            log.error("channel_disabled", channel=row.name, reason=row.disabled_reason)
        # Not save(): that is for what people change, and goes to the audit trail.
        columns = ("failure_count", "failing_since", "last_error", "retry_at", "enabled", "disabled_reason")
        Channel.objects.filter(pk=row.pk).update(**{column: getattr(row, column) for column in columns})
    if row.failure_count == health.UNHEALTHY_AFTER:
        log.error("channel_unhealthy", channel=row.name, error=row.last_error)


def forget(channel: Channel) -> None:
    """Begin anew with a channel whose settings somebody changed; to be saved by the caller."""
    channel.failing_since = channel.retry_at = None
    channel.failure_count, channel.last_error = 0, ""


def count_states() -> dict[str, int]:
    """How many channels work, fail so often that they are tried seldom, or are disabled."""
    off, failing = Q(enabled=False), Q(failure_count__gte=health.UNHEALTHY_AFTER)
    return Channel.objects.aggregate(
        working=Count("pk", filter=~off & ~failing),
        failing=Count("pk", filter=~off & failing),
        disabled=Count("pk", filter=off),
    )


def tell_of_channels(now: datetime) -> int:
    """Tell the working channels which ones fail, or work again; how many such news were told to somebody."""
    told = 0
    for channel in Channel.objects.exclude(failing_since=None, told_failing_since=None):
        news = _news(channel, now)
        if news is not None and _begin_telling(channel, now):
            told += _tell(channel, news, now)
    return told


@dataclass(frozen=True, slots=True)
class News:
    """That a channel does not work, or works again; `since` is when it began to fail."""

    event: str
    type: NoticeType
    title: str
    text: str
    since: datetime

    def to(self, other: Channel, about: Channel, now: datetime) -> Message:
        """The message about it; its group is the same for the beginning and the end of one failure."""
        identity = uuid.uuid5(uuid.NAMESPACE_OID, f"channel/{about.pk}/{self.since.isoformat()}")
        return own_message(other, identity, self.event, self.type, self.title, self.text, self.since, now)


def _news(channel: Channel, now: datetime) -> News | None:
    """What is to be told of a channel and has not been."""
    since, told_at = channel.failing_since, channel.told_failing_since
    if told_at is not None:
        title, text = f"The channel {channel.name} works again", "What had waited for it is being sent now."
        return None if since else News(HEALTHY, NoticeType.RESOLVED, title, text, told_at)
    if since is None or not health.is_news(channel.failure_count, since, not channel.enabled, now):
        return None
    text = f"{channel.failure_count} attempts failed in a row, the last with: {channel.last_error}. It is tried on."
    if not channel.enabled:
        text = f"It was disabled: {channel.disabled_reason}. Enable it, then replay what is dead."
    return News(UNHEALTHY, NoticeType.OPENED, f"The channel {channel.name} does not work", text, since)


def _begin_telling(channel: Channel, now: datetime) -> bool:
    """Whether it falls to us: of several workers one tells, and another only after it must have stopped."""
    free = Channel.objects.filter(Q(telling_until=None) | Q(telling_until__lte=now), pk=channel.pk)
    return bool(free.update(telling_until=now + TELLING))


def _tell(channel: Channel, news: News, now: datetime) -> bool:
    heard = [other for other in _others(channel) if send(other, news.to(other, channel, now), now)]
    row = Channel.objects.filter(pk=channel.pk)
    if not heard:
        log.error("channel_news_unheard", channel=channel.name, told=news.event)
        row.update(telling_until=None)
        return False
    is_over = news.event == HEALTHY
    row.update(telling_until=None, told_failing_since=None if is_over else channel.failing_since)
    return True


def _others(channel: Channel) -> list[Channel]:
    """The working channels of the same people: those of the channel's project, and those of all projects."""
    same = Q(project=None) | Q(project=channel.project_id)
    working = Channel.objects.filter(same, enabled=True, failure_count__lt=health.UNHEALTHY_AFTER)
    return list(working.exclude(pk=channel.pk).order_by("pk"))


def send(other: Channel, message: Message, now: datetime) -> bool:
    """Send a message of our own at once; whether it was taken. Raises nothing. Counted and logged either way."""
    try:
        answer = kind_named(other.kind).send(target_of(other), message, now)
    except Exception as error:  # noqa: BLE001 (one bad channel must not keep the news from the next)
        reason = f"{type(error).__name__}: {error}"
        log.warning("own_news_refused", channel=other.name, told=message.event, id=message.id, error=reason)
        metrics.OWN_NEWS.labels(other.name, message.event, "refused").inc()
        return False
    log.info("own_news_told", channel=other.name, told=message.event, id=message.id, status=answer.status_code)
    metrics.OWN_NEWS.labels(other.name, message.event, "told").inc()
    return True


def _hasten(channel: Channel, now: datetime) -> int:
    """Let what waits for the channel go now, except what some worker holds; the rest has a time of its own."""
    waiting = Delivery.objects.filter(channel=channel, status=Delivery.Status.PENDING, next_attempt_at__gt=now)
    free = waiting.filter(leased_until=None).select_for_update(skip_locked=True).order_by("pk")
    ids = list(free.values_list("pk", flat=True)[:HASTENED])
    return Delivery.objects.filter(pk__in=ids).update(next_attempt_at=now, queued_until=None)
