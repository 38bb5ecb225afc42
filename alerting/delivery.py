"""One attempt at a delivery: claim it, send with no transaction open, write down what came of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import connection, transaction
from django.db.models import F, Q

from alerting import health, metrics
from alerting.channels import kind_named
from alerting.channels.base import Answer, DeliveryFailed
from alerting.config_channels import retry_policy, target_of
from alerting.messages import message_of
from alerting.models import Attempt, Channel, Delivery
from alerting.routing import hears_again, muted
from alerting.rules.backoff import next_delay

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=60)
"""Longer than any attempt (`MAX_SEND_SECONDS`, a few times for a broker): a worker that still sends still holds it."""
UNFINISHED = "not finished: the worker stopped before the receiver's answer was written down"
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt: an answer or a failure, and how long it took."""

    latency_ms: float
    answer: Answer | None = None
    failure: DeliveryFailed | None = None


def deliver(delivery_id: uuid.UUID, clock: Clock) -> str | None:
    """Try a delivery once if it is due and nobody holds it; its status, or None when there was nothing to do."""
    claimed = claim(delivery_id, clock())
    if claimed is None:
        return None
    outcome = send(claimed, clock())
    return settle(claimed, outcome, clock())


def claim(delivery_id: uuid.UUID, now: datetime) -> Delivery | None:
    """Take hold of a delivery for `LEASE`, unless it may not or need not be sent now.

    The row of the channel is locked meanwhile (milliseconds, no I/O), so that of two deliveries of which only one
    may go, two workers cannot both decide for their own.
    """
    with transaction.atomic():
        delivery = _locked(delivery_id, now)
        if delivery is None:
            return None
        end = _end_without_sending(delivery, now)
        if end is not None:
            status, reason = end
            Delivery.objects.filter(pk=delivery.pk).update(status=status, last_error=reason, lease_id=None)
            _count_end(delivery, status)
            return None
        if _must_wait(delivery, now) or _waits_for_the_channel(delivery, now) or not _lease(delivery, now):
            return None
        Attempt.objects.create(
            delivery=delivery, number=delivery.attempt_count, started_at=now, ok=False, error=UNFINISHED
        )
        return delivery


def send(delivery: Delivery, now: datetime) -> Outcome:
    """The attempt itself; whatever a channel raises becomes a failure, so that no delivery can stop a worker."""
    began = time.monotonic()
    try:
        answer = kind_named(delivery.channel.kind).send(target_of(delivery.channel), message_of(delivery), now)
        return Outcome(_milliseconds(began), answer=answer)
    except DeliveryFailed as failure:
        return Outcome(_milliseconds(began), failure=failure)
    except Exception as error:
        log.exception("delivery_raised", delivery=str(delivery.id), channel=delivery.channel.name)
        reason = f"{type(error).__name__}: {error}"
        return Outcome(_milliseconds(began), failure=DeliveryFailed(reason, permanent=False))


def settle(delivery: Delivery, outcome: Outcome, now: datetime) -> str:
    """Write down what came of an attempt; the status of the delivery afterwards.

    A worker whose lease ran out meanwhile (it was paused for a minute) records its attempt and changes nothing else:
    the delivery is in other hands.
    """
    changes = _success(now) if outcome.failure is None else _failure(delivery, outcome.failure, now)
    changes |= {"lease_id": None, "leased_until": None, "queued_until": None}
    with transaction.atomic():
        _record_attempt(delivery, outcome)
        held = Delivery.objects.filter(pk=delivery.pk, lease_id=delivery.lease_id, status=Delivery.Status.PENDING)
        kept = held.update(**changes)
    _note_health(delivery, outcome, now)
    _count_attempt(delivery, outcome)
    if not kept:
        log.warning("delivery_lease_lost", delivery=str(delivery.id), channel=delivery.channel.name)
        return str(Delivery.objects.values_list("status", flat=True).get(pk=delivery.pk))
    _count_end(delivery, str(changes.get("status", Delivery.Status.PENDING)))
    return str(changes.get("status", Delivery.Status.PENDING))


def queue_due(now: datetime, limit: int, queued_for: timedelta) -> list[uuid.UUID]:
    """Deliveries that are due and that no task is on its way for, oldest first; marked as queued from now on."""
    unqueued = Q(queued_until=None) | Q(queued_until__lte=now)
    due = Delivery.objects.due(now).filter(unqueued).order_by("next_attempt_at")
    ids = list(due.values_list("id", flat=True)[:limit])
    Delivery.objects.filter(id__in=ids).update(queued_until=now + queued_for)
    return ids


def _locked(delivery_id: uuid.UUID, now: datetime) -> Delivery | None:
    channels = Channel.objects.filter(deliveries=delivery_id)
    if connection.features.has_select_for_no_key_update:
        # NO KEY: inserting a delivery takes a key share of its channel, and routing should not wait for that.
        channels = channels.select_for_update(no_key=True, of=("self",))
    if not list(channels):
        return None
    due = Delivery.objects.due(now).select_related("alert__anomaly__service", "channel")
    return due.filter(pk=delivery_id).first()


def _end_without_sending(delivery: Delivery, now: datetime) -> tuple[str, str] | None:
    """Status and reason where a delivery is over before it is sent (again)."""
    channel, alert = delivery.channel, delivery.alert
    if not channel.enabled:
        return Delivery.Status.DEAD, f"the channel is disabled: {channel.disabled_reason or 'by hand'}"
    if muted(alert, alert.anomaly):
        return Delivery.Status.MUTED, f"the anomaly is {alert.anomaly.status}"
    if any(other.alert.position > alert.position for other in _same_anomaly(delivery)):
        return Delivery.Status.SUPERSEDED, "a newer event of the anomaly takes its place"
    if hears_again(alert, delivery.dedup_key, now):
        return Delivery.Status.DEDUPLICATED, "the channel heard the same within the window"
    return None


def _same_anomaly(delivery: Delivery) -> list[Delivery]:
    """The other deliveries to the channel about the same anomaly that were made or will be."""
    status = (Delivery.Status.PENDING, Delivery.Status.DELIVERED)
    others = Delivery.objects.filter(
        alert__anomaly=delivery.alert.anomaly_id, channel=delivery.channel_id, status__in=status
    )
    return list(others.exclude(pk=delivery.pk).select_related("alert"))


def _must_wait(delivery: Delivery, now: datetime) -> bool:
    """Whether a worker is just sending an earlier event of the anomaly, or the same to the channel.

    Until it is done nobody knows whether this one is in order, or one too many. The sweep brings it back.
    """
    same = Q(alert__anomaly=delivery.alert.anomaly_id) | Q(dedup_key=delivery.dedup_key)
    busy = Delivery.objects.filter(
        same, channel=delivery.channel_id, status=Delivery.Status.PENDING, leased_until__gt=now
    )
    if not busy.exists():
        return False
    Delivery.objects.filter(pk=delivery.pk).update(queued_until=None)
    return True


def _lease(delivery: Delivery, now: datetime) -> bool:
    """Take the lease in one conditional update; only who changed the row holds it."""
    lease_id = uuid.uuid4()
    taken = (
        Delivery.objects.due(now)
        .filter(pk=delivery.pk)
        .update(lease_id=lease_id, leased_until=now + LEASE, attempt_count=F("attempt_count") + 1)
    )
    delivery.lease_id = lease_id
    delivery.attempt_count += 1
    return taken == 1


def _success(now: datetime) -> dict[str, object]:
    return {"status": Delivery.Status.DELIVERED, "delivered_at": now, "last_error": ""}


def _failure(delivery: Delivery, failure: DeliveryFailed, now: datetime) -> dict[str, object]:
    changes: dict[str, object] = {"last_error": _text(str(failure), 500)}
    delay = None
    if not failure.permanent:
        attempts = delivery.attempt_count - delivery.attempts_before_replay
        policy = retry_policy(delivery.channel.kind)
        delay = next_delay(policy, attempts, delivery.age(now).total_seconds(), failure.retry_after)
    if delay is None:
        return changes | {"status": Delivery.Status.DEAD}
    return changes | {"next_attempt_at": now + timedelta(seconds=delay)}


def _record_attempt(delivery: Delivery, outcome: Outcome) -> None:
    failure, answer = outcome.failure, outcome.answer
    said = failure.answer if failure else answer.text if answer else ""
    code = failure.status_code if failure else answer.status_code if answer else None
    Attempt.objects.filter(delivery=delivery, number=delivery.attempt_count).update(
        ok=failure is None,
        latency_ms=outcome.latency_ms,
        status_code=code,
        error=_text(str(failure), 500) if failure else "",
        answer=_text(said, 2000),
    )


def _note_health(delivery: Delivery, outcome: Outcome, now: datetime) -> None:
    """After the attempt is written down and in a transaction of its own: claims lock the channel first, this last."""
    if outcome.failure is None:
        health.note_success(delivery.channel, now)
    else:
        health.note_failure(delivery.channel, outcome.failure, now)


def _waits_for_the_channel(delivery: Delivery, now: datetime) -> bool:
    """Whether the channel is unhealthy and another delivery tries it, which costs this one no attempt.

    When its patience ends it has a last attempt if it ever had one; thousands that never did would hold up the
    workers for a receiver that is known not to answer.
    """
    left = timedelta(seconds=retry_policy(delivery.channel.kind).give_up_after) - delivery.age(now)
    until = health.waits_until(delivery.channel, now)
    if until is None or (left <= timedelta() and delivery.attempt_count > delivery.attempts_before_replay):
        return False
    changes: dict[str, object] = {"next_attempt_at": min(until, now + left)}
    if left <= timedelta():
        changes = {"status": Delivery.Status.DEAD, "last_error": "the channel has not worked all the time"}
        _count_end(delivery, Delivery.Status.DEAD)
    Delivery.objects.filter(pk=delivery.pk).update(**changes, queued_until=None)
    return True


def _count_attempt(delivery: Delivery, outcome: Outcome) -> None:
    channel = delivery.channel
    webhook = channel.kind == Channel.Kind.WEBHOOK
    metrics.ATTEMPT_SECONDS.labels(channel.kind).observe(outcome.latency_ms / 1000)
    if outcome.failure is not None:
        metrics.ALERT_FAILURES.labels(channel.name, str(outcome.failure.permanent).lower()).inc()
        if webhook:
            metrics.WEBHOOK_FAILURES.inc()
        return
    metrics.ALERTS_SENT.labels(channel.name).inc()
    if webhook:
        metrics.WEBHOOK_DELIVERIES.inc()
    elif channel.kind == Channel.Kind.RABBITMQ:
        metrics.RABBITMQ_PUBLISHES.labels(delivery.alert.severity).inc()


def _count_end(delivery: Delivery, status: str) -> None:
    if status == Delivery.Status.DEDUPLICATED:
        metrics.ALERTS_DEDUPLICATED.inc()
    elif status == Delivery.Status.DEAD:
        metrics.DELIVERIES_DEAD.labels(delivery.channel.name).inc()
        log.error("delivery_dead", delivery=str(delivery.id), channel=delivery.channel.name)


def _text(text: str, length: int) -> str:
    # PostgreSQL stores no NUL, and a receiver may well send one.
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:length]


def _milliseconds(began: float) -> float:
    return (time.monotonic() - began) * 1000
