"""Plain series of values, scored sample by sample: CSV with the columns timestamp and value."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.series_scores import ALERT, score_series
from ingestion.formats.timestamps import unix_nanoseconds
from ingestion.recordings import OnBad, Recording, RecordingError

SCORES = "scores.csv"
COLUMNS = ("timestamp", "value")


class Samples(NamedTuple):
    """A series as it was written: the texts of its columns, row by row, and the values, NaN where there is none."""

    timestamps: list[str]
    texts: list[str]
    values: NDArray[np.float64]

    def scores(self) -> NDArray[np.float64]:
        """float64[rows] in [0, 1)."""
        return score_series(self.values, np.array([_seconds(text) for text in self.timestamps], np.float64))


def read_series(recording: Recording, on_bad: OnBad) -> Samples:
    """The columns timestamp and value (others are ignored) of a CSV file with a header; any timestamps are accepted.

    A value that is no number is a bad line, but keeps its row as a missing sample, as an empty one does: rows of the
    result are rows of the file. RecordingError if a column is missing.
    """
    lines = recording.lines(on_bad)
    _, header = next(lines, (0, b""))
    when, what = _places(recording.path, _row(header))
    rows = [_sample(number, _row(line), when, what, on_bad) for number, line in lines]
    timestamps, texts, values = zip(*rows, strict=True) if rows else ((), (), ())
    return Samples(list(timestamps), list(texts), np.array(values, np.float64))


def _row(line: bytes) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line.decode(errors="replace")]), [])]


def _places(path: Path, header: Sequence[str]) -> tuple[int, int]:
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise RecordingError(f"{path}: the first line must name the columns timestamp and value; missing: {missing}")
    return header.index("timestamp"), header.index("value")


def _sample(number: int, row: Sequence[str], when: int, what: int, on_bad: OnBad) -> tuple[str, str, float]:
    if len(row) <= max(when, what):
        on_bad(number, f"has {len(row)} columns, fewer than the first line")
        return row[when] if len(row) > when else "", "", math.nan
    text = row[what]
    try:
        return row[when], text, float(text) if text else math.nan
    except ValueError:
        on_bad(number, f"value must be a number, not {text[:40]!r}")
        return row[when], text, math.nan


def _seconds(text: str) -> float:
    """Unix seconds of a timestamp in either of the usual forms, NaN for any other."""
    try:
        return unix_nanoseconds(text) / 1e9
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return math.nan


def write_scores(path: Path, samples: Samples, scores: NDArray[np.float64]) -> int:
    """One row per sample, timestamp and value as they were read; returns how many are alerts (ALERT or more)."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*COLUMNS, "score"))
        writer.writerows(zip(samples.timestamps, samples.texts, map(repr, scores.tolist()), strict=True))
    return int(np.count_nonzero(scores >= ALERT))
