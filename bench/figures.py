"""What every bench does with its figures: medians and spread, a table to read, JSON to compare."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import machine
from ingestion.tables import table

__all__ = ["Spread", "save", "table"]

FOLDER = Path(__file__).resolve().parents[1] / "var" / "bench"


@dataclass(frozen=True)
class Spread:
    """The median of some runs, and the extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """ValueError without values."""
        if not values:
            raise ValueError("nothing was measured")
        return cls(statistics.median(values), min(values), max(values))

    def text(self, pattern: str = ",.0f") -> str:
        """Such as `31,204 (30,100-32,050)`; the median alone where all runs agree."""
        median, low, high = (format(value, pattern) for value in (self.median, self.low, self.high))
        return median if low == high else f"{median} ({low}-{high})"


def save(name: str, figures: Any, folder: Path = FOLDER) -> Path:
    """Write figures with the machine they were measured on to `folder`/<name>-<time>.json."""
    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{now:%Y%m%dT%H%M%SZ}.json"
    content = {
        "bench": name,
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "figures": figures,
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path
