"""How long each kind of record is kept (`storage.retention`): what is older by event time is deleted.

InfluxDB 3 keeps to the retention that its databases were made with; here the relational database is looked after.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import Error

from alerting.pruning import prune_deliveries
from anomalies.pruning import prune_anomalies
from baselines.pruning import delete_in_batches, prune_hours, prune_minutes, prune_ticks
from ingestion.models import Detection, ReplayedLetter, TelemetryEvent

log = structlog.get_logger(__name__)


def prune_telemetry(before: datetime) -> int:
    """Single events of the telemetry store `database`."""
    return delete_in_batches(TelemetryEvent.objects.filter(timestamp__lt=before).order_by("timestamp"))


def prune_detections(before: datetime) -> int:
    """Single detections of the telemetry store `database`."""
    return delete_in_batches(Detection.objects.filter(timestamp__lt=before).order_by("timestamp"))


def prune_replays(before: datetime) -> int:
    """Notes of replayed dead letters; kept as long as deliveries, far longer than Kafka keeps letters."""
    return delete_in_batches(ReplayedLetter.objects.filter(claimed_at__lt=before).order_by("claimed_at"))


def prune(retention: Any, now: datetime) -> dict[str, int]:
    """Delete what is older than `storage.retention` says; returns how many rows of each kind.

    A kind that fails is logged and left to the next time: the others are not to wait for it.
    """
    steps: dict[str, tuple[Callable[[datetime], int], int]] = {
        "telemetry": (prune_telemetry, retention.telemetry),
        "detections": (prune_detections, retention.detections),
        "minutes": (prune_minutes, retention.minutes),
        "hours": (prune_hours, retention.hours),
        "anomalies": (prune_anomalies, retention.anomalies),
        "deliveries": (prune_deliveries, retention.deliveries),
        "replays": (prune_replays, retention.deliveries),
        "ticks": (lambda _: prune_ticks(), 0),
    }
    deleted = {}
    for kind, (step, days) in steps.items():
        try:
            deleted[kind] = step(now - timedelta(days=days))
        except Error as error:
            log.exception("not_pruned", kind=kind, error=str(error))
    return deleted
