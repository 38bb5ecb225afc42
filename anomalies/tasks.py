"""Periodic work on anomalies."""

from __future__ import annotations

import structlog
from celery import shared_task

from anomalies import lifecycle

log = structlog.get_logger(__name__)


@shared_task(name="anomalies.expire_acknowledgements")
def expire_acknowledgements() -> None:
    """Reopen what was acknowledged until a time that has come."""
    if reopened := lifecycle.expire_acknowledgements():
        log.info("acknowledgements_expired", count=reopened)
