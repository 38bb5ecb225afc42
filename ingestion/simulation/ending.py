"""The end of a simulation is no outage: nobody is to be told that its services fell silent."""

from __future__ import annotations

from collections.abc import Collection

import structlog
from django.db import DatabaseError, transaction

from anomalies.models import DetectionOverride

log = structlog.get_logger(__name__)

AUTHOR = "simulate_telemetry"
NOTE = "The simulation of this service has ended. The next one removes this by itself."


def expect(services: Collection[str]) -> None:
    """From now on these services are expected to send."""
    _say(services, is_over=False)


def expect_no_more(services: Collection[str]) -> None:
    """Mute the silence of these services; consumers that run take that up within seconds."""
    _say(services, is_over=True)


def _say(services: Collection[str], *, is_over: bool) -> None:
    """A broker without the database of consumers can be simulated for as well: then there is nobody to say it to."""
    rows = [
        DetectionOverride(service=service, metric="silence", muted=True, created_by=AUTHOR, note=NOTE)
        for service in sorted(services)
    ]
    try:
        with transaction.atomic():
            DetectionOverride.objects.filter(created_by=AUTHOR, service__in=services).delete()
            DetectionOverride.objects.bulk_create(rows if is_over else [])
    except DatabaseError as error:
        log.warning("simulation_not_announced", error=str(error))
