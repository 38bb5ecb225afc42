"""What the anomalies count. Each metric is named here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter

ANOMALIES_DETECTED = Counter(
    "sentinel_anomalies_detected_total", "Anomalies that opened, by severity and detector", ["severity", "detector"]
)
ANOMALY_CHANGES = Counter(
    "sentinel_anomaly_changes_total", "Turns in the life of anomalies: opened, escalated, ended", ["kind"]
)
ANOMALIES_ORPHANED = Counter(
    "sentinel_anomalies_orphaned_total", "Anomalies that were ended because the state that knew them was lost"
)


def count_changes(opened: Iterable[tuple[str, str]], kinds: Iterable[str]) -> None:
    """Count what a transaction changed, once it is committed. `opened`: severity and detector of each new anomaly."""
    for severity, detector in opened:
        ANOMALIES_DETECTED.labels(severity, detector).inc()
    for kind in kinds:
        ANOMALY_CHANGES.labels(kind).inc()
