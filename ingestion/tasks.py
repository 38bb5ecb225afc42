"""Periodic work on what is stored."""

from __future__ import annotations

from datetime import timedelta

import structlog
from celery import shared_task
from django.conf import settings
from django.utils import timezone

from baselines import rollup
from ingestion import retention
from ingestion.telemetry_store import StoreUnavailable, shared_store
from ingestion.users import count_users

log = structlog.get_logger(__name__)


@shared_task(name="ingestion.roll_up_minutes")
def roll_up_minutes() -> None:
    """Add up the hours that ended, and those that late minutes changed."""
    if count := rollup.roll_up(timezone.now()):
        log.info("hours_rolled_up", count=count)


@shared_task(name="ingestion.count_users")
def count_users_of_budgets() -> int:
    """Count what users spent, if a budget asks for it; how many hours."""
    kept = timedelta(days=settings.SENTINEL.storage.retention.telemetry)
    try:
        return count_users(shared_store(), timezone.now(), kept)
    except StoreUnavailable as error:
        log.warning("users_not_counted", reason=str(error))
        return 0


@shared_task(name="ingestion.prune")
def prune() -> None:
    """Delete what is older than `storage.retention` says."""
    deleted = retention.prune(settings.SENTINEL.storage.retention, timezone.now())
    if any(deleted.values()):
        log.info("pruned", **deleted)
