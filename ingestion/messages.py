"""Messages of the detections topic: one JSON object per flagged sample."""

from __future__ import annotations

from uuid import UUID

import msgspec

from anomalies.detection.verdicts import Detection
from ingestion.formats.event import partition_key
from ingestion.formats.timestamps import rfc3339

_encode = msgspec.json.Encoder().encode


def detection_message(detection: Detection, event_id: str, topic_id: UUID, partition: int) -> tuple[bytes, bytes]:
    """Key and value of the message of one detection."""
    key = detection.key
    value = {
        "anomaly_id": detection.anomaly_id,
        "event_id": event_id,
        "timestamp": rfc3339(detection.event_ms * 1_000_000),
        "service": key.service,
        "model": key.model,
        "metric": key.metric,
        "direction": detection.direction,
        "detector": detection.detector,
        "detectors": detection.detectors,
        "severity": detection.severity,
        "value": detection.value,
        "expected": detection.expected,
        "lower": detection.lower,
        "upper": detection.upper,
        "score": detection.score,
        "topic_id": topic_id,
        "partition": partition,
        "offset": detection.offset,
    }
    return partition_key(key.service, key.model), _encode(value)
