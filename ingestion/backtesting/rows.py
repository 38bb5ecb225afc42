"""The files of a backtest: one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import UUID

import msgspec

from ingestion.formats.timestamps import rfc3339

EPISODES, DETECTIONS = "episodes.jsonl", "detections.jsonl"

_encode = msgspec.json.Encoder().encode


class DetectionRow(msgspec.Struct, frozen=True, gc=False):
    """One flagged sample; `index` counts the events of the recording from 0, `value` is in the metric's unit."""

    index: int
    timestamp: str
    service: str
    model: str
    metric: str
    detector: str
    score: float
    value: float


class EpisodeRow(msgspec.Struct, frozen=True, gc=False):
    """One episode as it ended, or as it stood when the recording was over (state active).

    Indexes count the events of the recording from 0: the event at which it opened, and its first and last flagged
    ones. Times are RFC 3339; `expected`, `lower` and `upper` are what was normal when it opened, `dimensions` what its
    calls have in common (see `anomalies.detection.excess`).
    """

    id: UUID
    service: str
    model: str
    metric: str
    type: str
    direction: str
    detector: str
    detectors: dict[str, float]
    severity: str
    opened_index: int
    first_index: int
    last_index: int
    opened_at: str
    first_seen: str
    last_seen: str
    peak: float
    expected: float | None
    lower: float | None
    upper: float | None
    occurrences: int
    state: str
    dimensions: list[dict[str, Any]]


def told_at(milliseconds: int) -> str:
    """Milliseconds since 1970 as RFC 3339."""
    return rfc3339(milliseconds * 1_000_000)


class RowFiles:
    """`detections.jsonl`, written as they come, and `episodes.jsonl`, written at the end, in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._detections = (folder / DETECTIONS).open("wb")

    def add(self, detection: DetectionRow) -> None:
        self._line(self._detections, detection)

    def finish(self, episodes: Iterable[EpisodeRow]) -> None:
        with (self.folder / EPISODES).open("wb") as file:
            for episode in episodes:
                self._line(file, episode)

    @staticmethod
    def _line(file: Any, row: msgspec.Struct) -> None:
        file.write(_encode(row) + b"\n")

    def __enter__(self) -> RowFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._detections.close()
