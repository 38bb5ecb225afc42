"""The workers' part: empty the outbox, tell what is due, make attempts, and sweep up what a lost task left behind."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta

import structlog
from celery import shared_task
from django.db.models import Count, Min
from django.utils import timezone

from alerting import crossings, delivery, endings, health, joining, limits, metrics, routing, telling
from alerting.models import Alert, Delivery
from alerting.quiet import load_quiet

log = structlog.get_logger(__name__)

SWEEP_LIMIT = 1000
QUIET_FOR = timedelta(seconds=2)
"""What holds alerts back is read anew after so long while many groups are told."""


@shared_task(name="alerting.tasks.route_alerts")
def route_alerts() -> int:
    """Route everything that is pending and tell what is due; the number of alerts."""
    routed = 0
    while count := routing.route_pending(timezone.now()):
        routed += count
        metrics.ALERTS_ROUTED.inc(count)
    tell_groups()
    return routed


def tell_groups() -> int:
    """Tell of every group that is due; how many there were."""
    looked = 0
    quiet, loaded_at = load_quiet(timezone.now()), timezone.now()
    while True:
        now = timezone.now()
        if now - loaded_at > QUIET_FOR:
            quiet, loaded_at = load_quiet(now), now
        count, deliveries = telling.tell_due(now, quiet)
        _queue(deliveries)
        looked += count
        if count == 0:
            return looked


@shared_task(name="alerting.tasks.deliver")
def deliver(delivery_id: str) -> str | None:
    """One attempt at one delivery, if it is due; its status afterwards."""
    return delivery.deliver(uuid.UUID(delivery_id), timezone.now)


@shared_task(name="alerting.tasks.sweep")
def sweep() -> int:
    """Every few seconds: whatever nobody was woken for, and every retry whose time has come."""
    now = timezone.now()
    while count := routing.route_pending(now):
        metrics.ALERTS_ROUTED.inc(count)
    joining.end_silently_ended(now)
    joining.revive_unattended(now)
    tell_groups()
    due = delivery.queue_due(timezone.now(), SWEEP_LIMIT, telling.QUEUED_FOR)
    _queue(due)
    measure_outbox()
    return len(due)


def measure_outbox() -> None:
    """How much waits, and for how long."""
    now = timezone.now()
    alerts = Alert.objects.filter(outcome=Alert.Outcome.PENDING).aggregate(n=Count("pk"), oldest=Min("created_at"))
    pending = Delivery.objects.filter(status=Delivery.Status.PENDING)
    deliveries = pending.aggregate(n=Count("pk"), oldest=Min("next_attempt_at"))
    for stage, found in (("alerts", alerts), ("deliveries", deliveries)):
        metrics.OUTBOX_DEPTH.labels(stage).set(found["n"])
        age = (now - found["oldest"]).total_seconds() if found["oldest"] else 0.0
        metrics.OUTBOX_AGE.labels(stage).set(max(age, 0.0))
    metrics.DELIVERIES_LEFT_DEAD.set(Delivery.objects.filter(status=Delivery.Status.DEAD).count())
    metrics.LAST_SWEEP.set_to_current_time()


@shared_task(name="alerting.tasks.tell_of_channels")
def tell_of_channels() -> int:
    """Every half minute: have the working channels say which ones fail, and which work again; how many were told."""
    for state, channels in health.count_states().items():
        metrics.CHANNELS.labels(state).set(channels)
    return health.tell_of_channels(timezone.now())


@shared_task(name="alerting.tasks.announce_endings")
def announce_endings() -> int:
    """Every minute: have the channels that will hear from it say which silences are about to end."""
    return endings.announce_endings(timezone.now())


@shared_task(name="alerting.tasks.watch_thresholds")
def watch_thresholds() -> int:
    """Three times a minute: see which thresholds are breached, and which no longer; how many changes there were."""
    return limits.watch_thresholds(timezone.now())


@shared_task(name="alerting.tasks.watch_budgets")
def watch_budgets() -> int:
    """Every minute: see how much of each budget is spent; how many crossings began or ended."""
    return crossings.watch_budgets(timezone.now())


def _queue(deliveries: Iterable[uuid.UUID]) -> None:
    """Send a task for each delivery. If the broker takes none, the sweep does it again when their mark has run out."""
    try:
        for delivery_id in deliveries:
            deliver.apply_async(args=[str(delivery_id)], retry=False)
    except Exception as error:  # noqa: BLE001 (every client of a broker has its own)
        log.warning("delivery_not_queued", error=f"{type(error).__name__}: {error}")
