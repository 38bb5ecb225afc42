"""What every record of an episode says in the same words: rows of the database, files of a backtest."""

from __future__ import annotations

from typing import Any

import msgspec

from anomalies.detection.types import anomaly_type
from anomalies.detection.verdicts import Episode


def facts(episode: Episode) -> dict[str, Any]:
    """The fields that all records of an episode share, by name; `dimensions` as plain values."""
    return {
        "id": episode.id,
        "model": episode.key.model,
        "metric": episode.key.metric,
        "type": anomaly_type(episode.key.metric, episode.direction),
        "direction": episode.direction,
        "detector": episode.detector,
        "detectors": episode.detectors,
        "severity": episode.severity,
        "lower": _visible(episode.lower),
        "upper": episode.upper,
        "occurrences": episode.occurrences,
        "dimensions": [msgspec.to_builtins(excess) for excess in episode.dimensions],
        "state": episode.state,
    }


def _visible(lower: float | None) -> float | None:
    """The lower edge as people expect it: none of the metrics can be negative, though a symmetric band can."""
    return None if lower is None else max(lower, 0.0)
