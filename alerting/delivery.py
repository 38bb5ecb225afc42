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

from alerting import health, hearing, metrics
from alerting.channels import kind_named
from alerting.channels.base import Answer, DeliveryFailed
from alerting.config_channels import retry_policy, target_of
from alerting.messages import message_of
from alerting.models import Attempt, Channel, Delivery
from alerting.pacing import carried
from alerting.rules.backoff import next_delay
from alerting.turns import take_turn

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
        turn = take_turn(delivery, now)
        if turn.status is not None:
            _end(delivery, turn.status, turn.reason)
            return None
        if turn.again_at is not None or not _lease(delivery, now):
            return None
        Attempt.objects.create(
            delivery=delivery, number=delivery.attempt_count, started_at=now, ok=False, error=UNFINISHED
        )
        return delivery


def send(delivery: Delivery, now: datetime) -> Outcome:
    """The attempt itself; whatever a channel raises becomes a failure, so that no delivery can stop a worker."""
    began = time.monotonic()
    try:
        message = message_of(delivery, carried(delivery), now)
        answer = kind_named(delivery.channel.kind).send(target_of(delivery.channel), message, now)
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
    changes |= {"lease_id": None, "leased_until": None, "queued_until": None, "dedup_keys": []}
    with transaction.atomic():
        _record_attempt(delivery, outcome)
        held = Delivery.objects.filter(pk=delivery.pk, lease_id=delivery.lease_id, status=Delivery.Status.PENDING)
        kept = held.update(**changes)
        if kept and outcome.answer is not None:
            hearing.remember(delivery, outcome.answer, now)
        elif kept and changes.get("status") == Delivery.Status.DEAD:
            _bury_carried(delivery)
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
    due = Delivery.objects.due(now).filter(unqueued)
    due = due.order_by("next_attempt_at", "created_at", "notification__sequence")
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
    due = Delivery.objects.due(now).select_related("notification__group__rule", "channel")
    return due.filter(pk=delivery_id).first()


def _end(delivery: Delivery, status: str, reason: str) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(status=status, last_error=reason, lease_id=None)
    if status == Delivery.Status.DEAD:
        _bury_carried(delivery)
    _count_end(delivery, status)


def _bury_carried(delivery: Delivery) -> None:
    """What a dead delivery was to tell besides its own is dead with it, and can be replayed by itself."""
    Delivery.objects.filter(carried_by=delivery, status=Delivery.Status.SUMMARISED, delivered_at=None).update(
        status=Delivery.Status.DEAD, carried_by=None, last_error="the summary that was to tell of it is dead"
    )


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
        metrics.RABBITMQ_PUBLISHES.labels(delivery.notification.severity).inc()


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
