"""What users spend, hour by hour, from single events: only while a budget asks for it, and only those who spend most.

An hour is counted anew while it lasts, once more when the pipeline has surely written it, and a last time hours later
for what came late. What comes later still is in the sums of services and models, but in nobody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import transaction

from alerting.budgets import users_matter_since
from baselines.models import UserCount, UserHour
from baselines.pruning import delete_in_batches
from baselines.rollup import HOUR, hour_of
from ingestion.telemetry_store import TelemetryStore

HEAVIEST = 1000
"""Users per hour (of a service and model) that are kept."""
SETTLED_AFTER = timedelta(minutes=10)
LATE = timedelta(hours=6)
HOURS_AT_ONCE = 200
"""A budget that is new looks weeks back; the present comes first."""
KEPT = timedelta(days=62)
"""No budget looks back further, and who spent what is nobody's business for longer than needed."""


def count_users(store: TelemetryStore, now: datetime, kept: timedelta) -> int:
    """Count the hours that are due, the newest first; how many. Events are kept for so long.

    Raises StoreUnavailable; what was counted by then stays.
    """
    for model in (UserHour, UserCount):
        delete_in_batches(model.objects.filter(hour__lt=now - KEPT).order_by("hour"))
    since = users_matter_since(now)
    if since is None:
        return 0
    counted = 0
    for hour in _due(max(since, now - kept), now):
        if counted == HOURS_AT_ONCE:
            break
        _count(store, hour, now)
        counted += 1
    return counted


def _due(since: datetime, now: datetime) -> Iterator[datetime]:
    done = dict(UserCount.objects.filter(hour__gte=hour_of(since)).values_list("hour", "counted_at"))
    hour = hour_of(now)
    while hour >= hour_of(since):
        if is_due(hour, done.get(hour), now):
            yield hour
        hour -= HOUR


def is_due(hour: datetime, counted_at: datetime | None, now: datetime) -> bool:
    """Whether an hour that was last counted then is to be counted at `now`."""
    settled, late = hour + HOUR + SETTLED_AFTER, hour + HOUR + LATE
    return counted_at is None or counted_at < settled or counted_at < late <= now


def _count(store: TelemetryStore, hour: datetime, now: datetime) -> None:
    tallies = store.users(hour, hour + HOUR, HEAVIEST)
    with transaction.atomic():
        # Locks the row, so that two that count at the same time do so one after the other.
        UserCount.objects.update_or_create(hour=hour, defaults={"counted_at": now})
        UserHour.objects.filter(hour=hour).delete()
        UserHour.objects.bulk_create([UserHour(hour=hour, **tally._asdict()) for tally in tallies], batch_size=500)
