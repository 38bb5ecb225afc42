"""Pictures of what each detector sees: values above, its score below, its own threshold as a line at 1.

python -m bench.pictures --output docs/images/detection

Calls are those of the recorded trace in SENTINEL_BENCH_DATA/azure_llm/code.csv (tokens and times; latency, cost and
failures are made up as in bench.llm), plain series those of SENTINEL_BENCH_DATA/nab. What was put in is shaded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from anomalies.detection import cusum, drift, error_burst, iqr, mad, novelty, residual, shift, silence, spike, zscore
from anomalies.detection.channels import LATENCY_FAST, OUTPUT_BUCKETS, SPIKE_LEVEL, SPIKE_MEMORY
from bench import DATA_MISSING
from bench.llm import SOURCES, Events, Load, stream, trace

Floats = NDArray[np.float64]

EVENTS = 9000
SHOWN = 1600  # events of a picture
AT = EVENTS - 900  # where something is put in
WINDOW, REFRESH = 1000, 50
NOVEL = "realAWSCloudwatch/ec2_cpu_utilization_825cc2.csv"
INK, RING, SHADE = "#1f4e79", "#c0392b", "#f3e2c7"


@dataclass
class Picture:
    """What is drawn: values and scores at the same places, and the places [start, stop) of what was put in."""

    name: str
    title: str
    what: str
    values: Floats
    scores: Floats
    span: tuple[int, int] | None = None
    is_logarithmic: bool = False
    unit: str = "events"

    def draw(self, folder: Path) -> Path:
        """Write it as a PNG; the same input gives the same file."""
        figure = Figure(figsize=(8.0, 3.6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        places = np.arange(len(self.values))
        rings = self.scores >= 1.0
        above.plot(places, self.values, ".", color=INK, markersize=2)
        above.plot(places[rings], self.values[rings], ".", color=RING, markersize=4)
        below.plot(places, self.scores, color=INK, linewidth=0.8)
        below.axhline(1.0, color=RING, linewidth=0.8, linestyle="--")
        below.set_ylim(0.0, max(1.6, min(4.0, float(self.scores.max()) * 1.05)))
        if self.is_logarithmic:
            above.set_yscale("log")
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
            if self.span:
                axes.axvspan(*self.span, color=SHADE, zorder=0)
        above.set_title(self.title, loc="left", fontsize=11)
        above.set_ylabel(self.what)
        below.set_ylabel("score")
        below.set_xlabel(self.unit)
        path = folder / f"{self.name}.png"
        FigureCanvasAgg(figure).print_png(path, metadata={"Software": None}, pil_kwargs={"optimize": True})
        return path


def calls(folder: Path) -> Events:
    """Clean calls of one stream."""
    made, _ = stream(SOURCES[3], trace(folder / "azure_llm" / "code.csv"), 7, False, Load(), EVENTS)
    return made


def shown(name: str, title: str, what: str, values: Floats, scores: Floats, events: int, **more: Any) -> Picture:
    """The last SHOWN places, with a span of `events` from AT."""
    first = EVENTS - SHOWN
    span = (AT - first, AT - first + events)
    return Picture(name, title, what, values[first:], scores[first:], span, **more)


# Detectors of raw values


def by_window(values: Floats, score: Callable[[float, Floats], float]) -> Floats:
    """The scores of values against the window before them, taken anew every REFRESH events."""
    scores = np.zeros(len(values))
    for place in range(WINDOW, len(values)):
        if place % REFRESH == 0:
            window = values[place - WINDOW : place]
        if place >= WINDOW + REFRESH:
            scores[place] = score(float(values[place]), window)
    return scores


def of_zscore(value: float, window: Floats) -> float:
    return float(zscore.score(value, window.mean(), window.std(), np.median(window), 3.0))


def of_iqr(value: float, window: Floats) -> float:
    q1, q3 = np.quantile(window, (0.25, 0.75))
    return float(iqr.score(value, q1, q3, np.median(window), 1.5))


def of_mad(value: float, window: Floats) -> float:
    median = np.median(window)
    return float(mad.score(value, median, np.median(np.abs(window - median)), 3.5))


def by_cusum(values: Floats) -> Floats:
    state = np.zeros(1, cusum.CUSUM_STATE)[0]
    scores = np.zeros(len(values))
    for place in range(WINDOW, len(values)):
        window = values[place - WINDOW : place]
        if place == WINDOW or scores[place - 1] >= 1.0:
            cusum.start(state, window.mean(), window.std(), np.median(window), WINDOW)
        scores[place] = cusum.update(state, values[place], 5.0, 0.5)
    return scores


def classic(made: Events) -> Iterator[Picture]:
    """The four detectors of the classic mode on the same latencies, with one call in forty ten times too slow."""
    latency = made["latency_ms"].copy()
    latency[AT : AT + 200 : 40] *= 10.0
    for name, score in (("zscore", of_zscore), ("iqr", of_iqr), ("mad", of_mad)):
        scores = by_window(latency, score)
        title = f"{name}: five calls ten times too slow, and what else rings"
        yield shown(name, title, "latency (ms)", latency, scores, 200, is_logarithmic=True)
    slower = made["latency_ms"].copy()
    slower[AT:] *= 1.3
    title = "cusum: latency up by 30 %, on raw values"
    yield shown("cusum", title, "latency (ms)", slower, by_cusum(slower), EVENTS - AT, is_logarithmic=True)


# Detectors of the calibrated mode


def residuals(made: Events, latency: Floats) -> Floats:
    """What the output tokens of a call do not explain of ln(latency)."""
    buckets = np.minimum((2 * np.log2(made["output_tokens"] + 1)).astype(np.int64), OUTPUT_BUCKETS - 1)
    return residual.residuals(np.log(latency + 1.0), buckets, OUTPUT_BUCKETS, 2000.0)


def by_shift(values: Floats) -> Floats:
    state = np.zeros(1, shift.shift_state(LATENCY_FAST))[0]
    return np.array([shift.update(state, value, LATENCY_FAST, 1.0).score for value in values])


def calibrated(made: Events) -> Iterator[Picture]:
    """Shift, spike and error_burst, each with what it is for."""
    latency = made["latency_ms"].copy()
    latency[AT:] *= 1.3
    left = residuals(made, latency)
    yield shown("shift", "shift: the same 30 %, on residuals", "residual of ln(latency)", left, by_shift(left), 900)
    latency = made["latency_ms"].copy()
    latency[AT : AT + 5] *= 10.0
    left = residuals(made, latency)
    state = np.zeros(1, spike.SPIKE_STATE)[0]
    scores = np.array([spike.update(state, value, SPIKE_MEMORY, SPIKE_LEVEL) for value in left])
    yield shown("spike", "spike: five calls ten times too slow", "residual of ln(latency)", left, scores, 5)
    failed = made["error"] > 0
    failed[AT : AT + 100] |= np.random.default_rng(1).random(100) < 0.2
    burst = np.zeros(1, error_burst.BURST_STATE)[0]
    scores = np.array([error_burst.update(burst, each, 20_000.0, 10.0) for each in failed])
    share = pd.Series(failed.astype(float)).rolling(50, min_periods=1).mean().to_numpy()
    yield shown("error_burst", "error_burst: every fifth call fails", "failed of last 50", share, scores, 100)


def novel(folder: Path) -> Iterator[Picture]:
    """Novelty on a plain series, with the windows in which people had found something."""
    series = pd.read_csv(folder / "nab" / "data" / NOVEL)
    values = series["value"].to_numpy(float)
    state = np.zeros(1, novelty.NOVELTY_STATE)[0]
    scores = np.array([novelty.update(state, value) for value in values])
    windows = json.loads((folder / "nab" / "labels" / "combined_windows.json").read_text())[NOVEL]
    span = tuple(int(series["timestamp"].searchsorted(str(moment)[:19])) for moment in windows[0])
    title = "novelty: processor load of a server, every five minutes"
    yield Picture("novelty", title, "load (%)", values, scores, (span[0], span[1]), unit="samples")


def silent(made: Events) -> Iterator[Picture]:
    """Silence as a timer sees it every second: how long ago the last call was, and then no more calls."""
    times = made["ts"][: EVENTS - 3000] * 1000.0
    state = np.zeros(1, silence.SILENCE_STATE)[0]
    moments = np.arange(times[-1] - 1_200_000.0, times[-1] + 900_000.0, 1000.0)
    elapsed, scores = np.zeros(len(moments)), np.zeros(len(moments))
    taken = 1
    for place, moment in enumerate(moments):
        while taken < len(times) and times[taken] <= moment:
            silence.update(state, times[taken] - times[taken - 1])
            taken += 1
        elapsed[place] = (moment - times[taken - 1]) / 1000.0
        scores[place] = silence.score(state, elapsed[place] * 1000.0)
    span = (int(np.searchsorted(moments, times[-1])), len(moments))
    yield Picture("silence", "silence: no call any more", "since last call (s)", elapsed, scores, span, unit="seconds")


def drifting(made: Events) -> Iterator[Picture]:
    """Drift of the prompts: half of them grow by a passage of 1 500 tokens, too many to be odd one by one."""
    prompts = made["input_tokens"].copy()
    is_longer = np.random.default_rng(1).random(EVENTS - AT) < 0.5
    prompts[AT:] += 1500.0 * is_longer
    state = np.zeros(1, drift.DRIFT_STATE)[0]
    scores = np.zeros(EVENTS)
    for place, value in enumerate(prompts):
        drift.update(state, value)
        scores[place] = drift.score(state) if place % 50 == 0 else scores[place - 1]
    yield shown("drift", "drift: every second prompt is longer now", "prompt tokens", prompts, scores, EVENTS - AT)


def pictures(folder: Path) -> Iterator[Picture]:
    """All of them."""
    made = calls(folder)
    yield from classic(made)
    yield from calibrated(made)
    yield from novel(folder)
    yield from silent(made)
    yield from drifting(made)


def main() -> None:
    """Draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/images/detection"))
    chosen = parser.parse_args()
    folder = Path(os.environ.get("SENTINEL_BENCH_DATA", "var/bench-data"))
    if not (folder / "azure_llm" / "code.csv").is_file() or not (folder / "nab" / "data" / NOVEL).is_file():
        print(f"{folder} lacks azure_llm/code.csv or nab/data/{NOVEL}", file=sys.stderr)
        sys.exit(DATA_MISSING)
    chosen.output.mkdir(parents=True, exist_ok=True)
    for picture in pictures(folder):
        print(picture.draw(chosen.output))


if __name__ == "__main__":
    main()
