"""What can be asked about: the fields of an anomaly, of which kind each is, and which words it takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from anomalies.detection.arrays import SEVERITIES
from anomalies.detection.settings import DETECTORS as LEARNED
from anomalies.detection.types import TYPES
from baselines.stats.series import METRICS

DETECTORS: tuple[str, ...] = (*LEARNED, "threshold", "budget")
"""Whatever an anomaly's `detector` may say: those that learn, and limits that people set."""

EQUAL = (":",)
ORDER = (">=", "<=", ">", "<")


class Kind(Enum):
    """Kinds of fields, each with what its values look like (as told to people)."""

    TEXT = "a text, in which * stands for any characters"
    CHOICE = "one of its words"
    RANK = "one of its words, the least first"
    NUMBER = "a number such as 100 or 2.5"
    COUNT = "a whole number"
    MOMENT = "a date or a time such as 2026-03-02 or 2026-03-02T12:00:00Z"
    IDENTITY = "an id such as 6fa459ea-ee8a-5ca4-894e-db77e160355e"
    ELEMENT = "a text without *"
    AGE = "a length of time such as 30m, 2h, 7d or 1h30m"

    @property
    def operators(self) -> tuple[str, ...]:
        """Those that make sense for it."""
        if self is Kind.AGE:
            return ORDER
        is_ordered = self in (Kind.RANK, Kind.NUMBER, Kind.COUNT, Kind.MOMENT)
        return EQUAL + ORDER if is_ordered else EQUAL


@dataclass(frozen=True)
class Field:
    """A field of the language: its kind, and the words it takes (of RANK: the least first)."""

    name: str
    kind: Kind
    words: tuple[str, ...] = ()


_KINDS: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: ("service", "model", "acknowledged_by", "resolved_by", "assignee", "note"),
    Kind.NUMBER: (
        *("value", "baseline_mean", "baseline_stddev", "baseline_median", "lower", "upper"),
        *("z_score", "score", "confidence"),
    ),
    Kind.COUNT: ("occurrences",),
    Kind.MOMENT: ("timestamp", "first_seen", "last_seen", "acknowledged_at", "acknowledged_until", "resolved_at"),
    Kind.IDENTITY: ("id", "incident_id"),
    Kind.ELEMENT: ("sample_trace_ids", "dimensions", "details"),
    Kind.AGE: ("age",),
}
_WORDS: dict[str, tuple[str, ...]] = {
    "metric": METRICS,
    "type": TYPES,
    "direction": ("up", "down"),
    "detector": DETECTORS,
    "detectors": DETECTORS,
    "state": ("active", "ended", "adopted"),
    "status": ("open", "acknowledged", "resolved"),
    "feedback": ("useful", "noise", "none"),
}
FIELDS: dict[str, Field] = {
    **{name: Field(name, kind) for kind, names in _KINDS.items() for name in names},
    **{name: Field(name, Kind.CHOICE, words) for name, words in _WORDS.items()},
    "severity": Field("severity", Kind.RANK, SEVERITIES),
}
