"""What the kernels found, in the words of `anomalies.detection.verdicts`: numbers become names, NaN becomes None."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from anomalies.detection.arrays import DETECTION, DIRECTIONS, EPISODE, SEVERITIES
from anomalies.detection.notes import Note
from anomalies.detection.settings import CLASSIC, DETECTORS
from anomalies.detection.verdicts import Detection, Episode
from baselines.stats.series import SeriesKey

Fields = dict[str, Any]  # of one record, by name


def fields_of_detection(record: Sequence[Any]) -> Fields:
    """The fields of a DETECTION given as a tuple."""
    return dict(zip(DETECTION.names or (), record, strict=True))


def fields_of_episode(record: Sequence[Any]) -> Fields:
    """The fields of an EPISODE given as a tuple."""
    return dict(zip(EPISODE.names or (), record, strict=True))


def detection(fields: Fields, scores: list[float], note: Note, key: SeriesKey) -> Detection:
    """A flagged sample of an episode; `scores` are those of all detectors."""
    return Detection(
        event=fields["event"],
        offset=fields["offset"],
        event_ms=fields["event_ms"],
        key=key,
        direction=DIRECTIONS[fields["direction"]],
        detector=DETECTORS[fields["detector"]],
        detectors=_agreeing(scores),
        severity=SEVERITIES[fields["severity"]],
        anomaly_id=note.id,
        value=fields["value"],
        expected=_finite(fields["expected"]),
        lower=_finite(fields["lower"]),
        upper=_finite(fields["upper"]),
        score=fields["score"],
    )


def episode(
    fields: Fields, scores: list[float], note: Note, key: SeriesKey, policy: np.void, is_ended: bool
) -> Episode:
    """An episode as of now; `policy` is the POLICY of its series."""
    stddev, mean, value = fields["stddev"], fields["mean"], fields["value"]
    agreeing = _agreeing(scores)
    watching = int(np.isfinite(policy["threshold"][: len(CLASSIC)]).sum())
    return Episode(
        id=note.id,
        key=key,
        direction=DIRECTIONS[fields["direction"]],
        detector=DETECTORS[fields["detector"]],
        detectors=agreeing,
        value=value,
        score=fields["score"],
        mean=_finite(mean),
        stddev=_finite(stddev),
        median=_finite(fields["median"]),
        lower=_finite(fields["lower"]),
        upper=_finite(fields["upper"]),
        z_score=(value - mean) / stddev if stddev > 0 and math.isfinite(mean) else None,
        severity=SEVERITIES[fields["severity"]],
        confidence=len(agreeing) / max(1, watching, len(agreeing)),
        occurrences=fields["occurrences"],
        first_seen_ms=fields["first_seen"],
        last_seen_ms=fields["last_seen"],
        first_offset=fields["first_offset"],
        last_offset=fields["last_offset"],
        state=_state(is_ended, fields["is_adopted"]),
        sample_trace_ids=tuple(note.trace_ids),
        dimensions=note.dimensions(fields["metric"]),
    )


def _state(is_ended: bool, is_adopted: bool) -> str:
    if not is_ended:
        return "active"
    return "adopted" if is_adopted else "ended"


def _agreeing(scores: list[float]) -> dict[str, float]:
    return {DETECTORS[place]: score for place, score in enumerate(scores) if score >= 1.0}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
