"""The Numenta Anomaly Benchmark: how well the scores of plain series find its labelled windows.

python -m bench.nab                                # the product's series mode over SENTINEL_BENCH_DATA/nab
python -m bench.nab my_module:my_scores --best     # any score(values, timestamps) -> [0, 1], also at its best threshold

The folder holds data/<category>/<file>.csv (timestamp,value) and labels/combined_windows.json, as the benchmark
publishes them. The sums are the benchmark's own, over whatever files are there: an alert inside a window earns more
the earlier it comes, one outside costs more the further it lies behind the last window, a window without any costs
one; the first 15 % of a file, 750 samples at most, do not count. 100 is a perfect detector, 0 one that never says a
word. Source: Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", ICMLA 2015.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import DATA_MISSING
from bench.figures import save, table
from bench.llm import named

Floats = NDArray[np.float64]
Detect = Callable[[Floats, Floats], Floats]

PRODUCT = "anomalies.detection.series_scores:score_series"
PROBATION, LONGEST_PROBATION = 0.15, 750
NO_WINDOW = -1


class Profile(NamedTuple):
    """What an alert in a window earns, and one outside and a missed window cost."""

    hit: float
    false_alarm: float
    miss: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "reward_low_FP": Profile(1.0, 0.22, 1.0),
    "reward_low_FN": Profile(1.0, 0.11, 2.0),
}


class DataMissing(Exception):
    """The benchmark's files are not there."""


def reward(position: Floats) -> Floats:
    """By the distance to a window's end in lengths of the window: from almost 1 at its start over 0 to -1 behind it."""
    return np.where(position > 3.0, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, 3.0))) - 1.0)


EARLIEST = float(reward(np.array(-1.0)))


@dataclass(frozen=True)
class Recording:
    """One file. `windows` are the first and last sample of each; `counts` says which samples are judged."""

    name: str
    values: Floats
    timestamps: Floats  # unix seconds
    windows: list[tuple[int, int]]

    @property
    def category(self) -> str:
        return self.name.split("/")[0]

    @property
    def counts(self) -> NDArray[np.bool_]:
        probation = int(min(PROBATION * len(self.values), LONGEST_PROBATION))
        return np.arange(len(self.values)) >= probation

    def window_of(self) -> NDArray[np.int64]:
        """The window of each sample, NO_WINDOW outside."""
        found = np.full(len(self.values), NO_WINDOW)
        for number, (first, last) in enumerate(self.windows):
            found[first : last + 1] = number
        return found

    def rewards(self) -> Floats:
        """What an alert at each sample is worth: within a window by its place, behind one by the distance, else -1."""
        found = np.full(len(self.values), -1.0)
        samples = np.arange(len(self.values))
        for first, last in self.windows:
            length = last - first + 1
            found[first : last + 1] = reward(-(last - samples[first : last + 1] + 1) / length)
            found[last + 1 :] = reward((samples[last + 1 :] - last) / (length - 1.0))
        return found


def recordings(folder: Path) -> list[Recording]:
    """All files that have labels, by name. Raises DataMissing."""
    labels = folder / "labels" / "combined_windows.json"
    if not labels.is_file():
        raise DataMissing(f"{labels} is missing: set SENTINEL_BENCH_DATA to a folder that has the benchmark as nab/")
    windows: dict[str, list[list[str]]] = json.loads(labels.read_text())
    return [_recording(folder / "data" / name, name, windows[name]) for name in sorted(windows)]


def _recording(path: Path, name: str, windows: list[list[str]]) -> Recording:
    if not path.is_file():
        raise DataMissing(f"{path} has labels, but is missing")
    frame = pd.read_csv(path, parse_dates=[0])
    times = frame["timestamp"].to_numpy().astype("datetime64[ns]")
    places = {time: place for place, time in reversed(list(enumerate(times)))}  # the first of those repeated
    bounds = [tuple(places[np.datetime64(pd.Timestamp(bound), "ns")] for bound in window) for window in windows]
    seconds = times.astype(np.int64) / 1e9
    return Recording(name, frame["value"].to_numpy(float), seconds, [(first, last) for first, last in bounds])


class Sweep(NamedTuple):
    """The sum of rewards at every threshold, from the highest on, and what its limits are."""

    thresholds: Floats
    sums: Floats
    nothing: float  # the sum of a detector that never says a word
    perfect: float

    def score(self, place: int) -> float:
        """The sum at a place of `thresholds`, on the scale where nothing is 0 and perfect 100."""
        return float(100.0 * (self.sums[place] - self.nothing) / (self.perfect - self.nothing))

    def at(self, threshold: float) -> float:
        """The score at a threshold."""
        return self.score(int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1)

    def best(self) -> tuple[float, float]:
        """The best score, and its threshold."""
        place = int(np.argmax(self.sums))
        return self.score(place), float(self.thresholds[place])


class Judged(NamedTuple):
    """All samples that count, of many files: score, reward of an alert, and window (numbered through)."""

    scores: Floats
    rewards: Floats
    windows: NDArray[np.int64]
    labelled: int

    @classmethod
    def of(cls, files: Sequence[Recording], scores: Sequence[Floats]) -> Judged:
        found: list[tuple[Floats, Floats, NDArray[np.int64]]] = []
        labelled = 0
        for file, own in zip(files, scores, strict=True):
            counts, windows = file.counts, file.window_of()
            numbered = np.where(windows == NO_WINDOW, NO_WINDOW, windows + labelled)
            found.append((own[counts], file.rewards()[counts], numbered[counts]))
            labelled += len(file.windows)
        joined = [np.concatenate(part) for part in zip(*found, strict=True)]
        return cls(joined[0], joined[1], joined[2], labelled)

    def hits_and_false_alarms(self, threshold: float) -> tuple[int, int]:
        """Windows with an alert, and alerts outside."""
        alerts, outside = self.scores >= threshold, self.windows == NO_WINDOW
        return len(np.unique(self.windows[alerts & ~outside])), int((alerts & outside).sum())


def sweep(judged: Judged, profile: Profile) -> Sweep:
    """What every threshold would earn under a profile; a window counts by its best alert alone."""
    outside = judged.windows == NO_WINDOW
    weights = np.where(outside, judged.rewards * profile.false_alarm, judged.rewards * profile.hit / EARLIEST)
    order = np.argsort(-judged.scores, kind="stable")
    scores, weights, windows = judged.scores[order], weights[order], judged.windows[order]
    gains = np.where(windows == NO_WINDOW, weights, 0.0)
    known = np.unique(windows[windows != NO_WINDOW])  # a window wholly within the probation cannot be missed
    for window in known:
        places = np.flatnonzero(windows == window)
        best = np.maximum.accumulate(np.maximum(weights[places], -profile.miss))
        gains[places] = np.diff(best, prepend=-profile.miss)
    nothing = -profile.miss * len(known)
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    sums = np.append(nothing, nothing + np.cumsum(gains)[ends])
    return Sweep(np.append(math.inf, scores[ends]), sums, nothing, judged.labelled * profile.hit)


def run(detect: Detect, files: Sequence[Recording]) -> list[Floats]:
    """The scores of every file, in [0, 1]; what is no number counts for 0."""
    return [np.clip(np.nan_to_num(np.asarray(detect(file.values, file.timestamps), float)), 0, 1) for file in files]


def by_category(files: Sequence[Recording], scores: Sequence[Floats], threshold: float) -> dict[str, dict[str, Any]]:
    """The standard score of every category at a threshold, None without labelled windows, and what was found."""
    found = {}
    for category in sorted({file.category for file in files}):
        own = [place for place, file in enumerate(files) if file.category == category]
        judged = Judged.of([files[place] for place in own], [scores[place] for place in own])
        hits, false_alarms = judged.hits_and_false_alarms(threshold)
        standard = sweep(judged, PROFILES["standard"]).at(threshold) if judged.labelled else None
        found[category] = {
            "standard": standard,
            "windows": judged.labelled,
            "found": hits,
            "false_alarms": false_alarms,
        }
    return found


def _category_rows(categories: dict[str, dict[str, Any]]) -> list[list[str]]:
    return [
        [
            category,
            "-" if each["standard"] is None else f"{each['standard']:.2f}",
            f"{each['found']}/{each['windows']}",
            str(each["false_alarms"]),
        ]
        for category, each in categories.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables and save the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", nargs="?", default=PRODUCT, help=f"module:function (default: {PRODUCT})")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--best", action="store_true", help="also at the threshold that is best for each profile")
    chosen = parser.parse_args(argv)
    try:
        files = recordings(Path(os.environ.get("SENTINEL_BENCH_DATA", "var/bench-data"), "nab"))
    except DataMissing as missing:
        print(missing, file=sys.stderr)
        sys.exit(DATA_MISSING)
    scores = run(named(chosen.detector), files)
    judged = Judged.of(files, scores)
    sweeps = {name: sweep(judged, profile) for name, profile in PROFILES.items()}
    at_threshold = {name: each.at(chosen.threshold) for name, each in sweeps.items()}
    categories = by_category(files, scores, chosen.threshold)
    print(
        table([f"at {chosen.threshold}", *PROFILES], [["score", *(f"{value:.2f}" for value in at_threshold.values())]])
    )
    if chosen.best:
        best = {name: each.best() for name, each in sweeps.items()}
        print(table(["at best", *PROFILES], [["score", *(f"{score:.2f} ({at:.5f})" for score, at in best.values())]]))
    print()
    print(table(["category", "standard", "windows found", "false alarms"], _category_rows(categories)))
    print(
        f"written to {save('nab', {'detector': chosen.detector, 'profiles': at_threshold, 'categories': categories})}"
    )


if __name__ == "__main__":
    main()
