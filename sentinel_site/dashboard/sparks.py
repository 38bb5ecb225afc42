"""The small charts beside the pairs: P95 of latency over what is usual, as the numbers of an SVG drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel_site.dashboard.bands import Band

WIDTH, HEIGHT, MARGIN = 132, 30, 2


@dataclass(frozen=True)
class Spark:
    """A path, and the strip of what is usual behind it: `band_top` and `band_height`, None without a baseline."""

    path: str
    band_top: float | None = None
    band_height: float = 0.0
    dot: tuple[float, float] | None = None
    """Where it ends: the latest value."""


def spark(values: NDArray[np.float64], usual: Band | None) -> Spark:
    """The drawing of float64[points]; NaN are gaps."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Spark("")
    highest = max(float(known.max()), usual.high if usual else 0.0) or 1.0
    x = MARGIN + (WIDTH - 2 * MARGIN) * np.arange(len(values)) / max(1, len(values) - 1)
    y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * values / highest
    last = int(np.flatnonzero(~np.isnan(values))[-1])
    top, height = (None, 0.0) if usual is None else _strip(usual, highest)
    return Spark(_path(x, y), top, height, (round(float(x[last]), 1), round(float(y[last]), 1)))


def _strip(usual: Band, highest: float) -> tuple[float, float]:
    top, bottom = (HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value / highest for value in (usual.high, usual.low))
    return round(top, 1), round(max(bottom - top, 1.0), 1)


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    drawn, command = [], "M"
    for across, down in zip(x.tolist(), y.tolist(), strict=True):
        if math.isnan(down):
            command = "M"
            continue
        drawn.append(f"{command}{across:.1f} {down:.1f}")
        command = "L"
    return "".join(drawn)
