"""Streams of LLM calls with labelled anomalies: what a detector finds, and how often it cries wolf.

python -m bench.llm                                 # the product's engine with default settings, seed 1
python -m bench.llm bench.llm_adapter:classic       # its classic mode; classic_flags: what its detectors flag
python -m bench.llm my_module:my_detect --seed 2

`detect(stream)` takes one (service, model) stream in the order of its events, a dict of arrays: ts (s), latency_ms,
input_tokens, output_tokens, total_tokens, cost_usd, error; and returns bool[events], or a dict of such by channel. It
must not look ahead. SENTINEL_BENCH_DATA/azure_llm holds recorded token traces, conv.csv and code.csv (TIMESTAMP,
ContextTokens, GeneratedTokens) of the Azure Public Dataset 2023; the streams of a trace that is missing are left out.
The trace is resampled in blocks, which keeps its local correlation; latency, cost, load and failures are made up.
LLM_LOAD=0.08,0.08 makes the load harsher: the standard deviation of its slow noise (logarithm), and its daily swing.

Reported: false alerts per 100 000 events of clean streams, as rows and as incidents (alerts that lie close together);
recall, recall on the same windows with nothing injected (what chance gives), and median delay per kind; precision and
F1 over incidents. Source of the traces: Patel et al., "Splitwise", ISCA 2024.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import DATA_MISSING
from bench.figures import save, table

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Events = dict[str, Floats]
Alerts = Flags | dict[str, Flags]
Detect = Callable[[Events], Alerts]

PRODUCT = "bench.llm_adapter:detect"
EVENTS = 62_000
WARM = 4000  # events of a stream that are not judged
MERGE, LONGEST = 200, 1000  # events between alerts of one incident, events of one incident
GRACE = 50  # events after an episode in which an alert still finds it
RECOVERY = 600  # events after it in which an incident is not a false alarm
PAUSE = 1300
EPISODES_OF_A_KIND = 3

# Length in events of the episodes of each kind.
KINDS = {
    "spike": (3, 12),
    "level_shift30": (900, 1100),
    "slow_drift": (1800, 2200),
    "variance": (700, 900),
    "error_burst": (80, 120),
    "token_explosion": (25, 40),
    "cost_runaway": (450, 550),
    "throughput_drop": (250, 350),
}


class Source(NamedTuple):
    """A recorded trace, and the service made up around it. Latencies in ms, prices in USD per 1 000 tokens."""

    trace: str
    base: float
    per_input: float
    per_output: float
    input_price: float
    output_price: float
    spread: float  # standard deviation of ln(latency)


SOURCES = (
    Source("conv", 350, 0.05, 28, 0.0025, 0.010, 0.35),
    Source("conv", 180, 0.02, 9, 0.00015, 0.0006, 0.30),
    Source("conv", 600, 0.10, 45, 0.003, 0.015, 0.45),
    Source("code", 300, 0.08, 22, 0.0025, 0.010, 0.35),
    Source("code", 150, 0.03, 8, 0.00015, 0.0006, 0.40),
    Source("code", 500, 0.12, 40, 0.003, 0.015, 0.30),
)


class Load(NamedTuple):
    """What makes latency drift: slow noise (standard deviation of the logarithm) and a swing over the day."""

    noise: float = 0.04
    swing: float = 0.05


class Episode(NamedTuple):
    """Events [start, stop) of a stream."""

    kind: str
    start: int
    stop: int


class DataMissing(Exception):
    """No trace is there."""


class Trace(NamedTuple):
    """What was recorded of each call: seconds since the one before, tokens in and out."""

    gaps: Floats
    inputs: Floats
    outputs: Floats

    def resampled(self, events: int, random: np.random.Generator) -> Trace:
        """Blocks of 300 to 1500 calls from anywhere, put together."""
        blocks: list[NDArray[np.int64]] = []
        while sum(map(len, blocks)) < events:
            length = int(random.integers(300, 1500))
            start = int(random.integers(0, len(self.gaps) - length))
            blocks.append(np.arange(start, start + length))
        places = np.concatenate(blocks)[:events]
        return Trace(*(column[places].copy() for column in self))


@cache
def trace(path: Path) -> Trace:
    """A recorded trace."""
    frame = pd.read_csv(path, parse_dates=[0])
    seconds = frame["TIMESTAMP"].astype("datetime64[ns]").astype("int64").to_numpy() / 1e9
    gaps = np.diff(seconds, prepend=seconds[0]).clip(0.0005)
    return Trace(gaps, frame["ContextTokens"].to_numpy(float), frame["GeneratedTokens"].to_numpy(float).clip(1))


@dataclass
class Factors:
    """What is injected: factors per event on latency, its spread, cost and gaps, and the share of failures."""

    latency: Floats
    spread: Floats
    cost: Floats
    gap: Floats
    failures: Floats

    @classmethod
    def none(cls, events: int) -> Factors:
        return cls(*(np.ones(events) for _ in range(4)), np.full(events, 0.005))

    def inject(self, episode: Episode, magnitude: float, outputs: Floats) -> None:
        """Put one episode in; a token explosion changes `outputs` in place."""
        part = slice(episode.start, episode.stop)
        match episode.kind:
            case "spike":
                self.latency[part] *= magnitude
            case "level_shift30":
                self.latency[part] *= 1.3
            case "slow_drift":
                self.latency[part] *= np.linspace(1, 1.6, episode.stop - episode.start)
            case "variance":
                self.spread[part] *= 2.0
            case "error_burst":
                self.failures[part] = 0.20
            case "token_explosion":
                outputs[part] = np.minimum(outputs[part] * 6, 16000)
            case "cost_runaway":
                self.cost[part] *= 2.0
            case "throughput_drop":
                self.gap[part] *= 5.0


def slow_load(events: int, load: Load, random: np.random.Generator) -> Floats:
    """Addend to ln(latency): an autoregressive noise with a memory of 500 events, and a sine of 20 000."""
    found = np.zeros(events)
    steps = random.normal(size=events) * load.noise * np.sqrt(1 - 0.998**2)
    for place in range(1, events):
        found[place] = 0.998 * found[place - 1] + steps[place]
    swing: Floats = load.swing * np.sin(2 * np.pi * np.arange(events) / 20000 + random.uniform(0, 6.28))
    return found + swing


def planned(events: int, random: np.random.Generator) -> Iterable[tuple[Episode, float]]:
    """The episodes of a stream in a random order, with their magnitudes, as many as it has room for."""
    position = WARM + 2000
    kinds = [kind for kind in KINDS for _ in range(EPISODES_OF_A_KIND)]
    random.shuffle(kinds)
    for kind in kinds:
        length = int(random.integers(*KINDS[kind]))
        start = position + int(random.integers(0, 400))
        if start + length + 1500 > events:
            return
        yield Episode(kind, start, start + length), random.uniform(6, 12)
        position = start + length + PAUSE


def stream(
    source: Source, recorded: Trace, seed: int, is_injected: bool, load: Load, events: int = EVENTS
) -> tuple[Events, list[Episode]]:
    """One stream and its episodes, which are only planned where nothing is injected."""
    random = np.random.default_rng(seed)
    gaps, inputs, outputs = recorded.resampled(events, random)
    drift = slow_load(events, load, random)
    noise = random.normal(size=events)
    is_outlier = random.random(events) < 0.005  # retries, cold starts
    outliers = np.where(is_outlier, random.pareto(2.5, events) + 1.5, 1.0)
    factors, episodes = Factors.none(events), []
    for episode, magnitude in planned(events, random):
        episodes.append(episode)
        if is_injected:
            factors.inject(episode, magnitude, outputs)
    typical = source.base + source.per_input * inputs + source.per_output * outputs
    scatter = np.exp(drift + source.spread * factors.spread * noise)
    cost = (inputs * source.input_price + outputs * source.output_price) / 1000
    made = {
        "ts": np.cumsum(gaps * factors.gap),
        "latency_ms": typical * scatter * outliers * factors.latency,
        "input_tokens": inputs,
        "output_tokens": outputs,
        "total_tokens": inputs + outputs,
        "cost_usd": cost * factors.cost,
        "error": (random.random(events) < factors.failures).astype(float),
    }
    return made, episodes


def incidents(alerts: Flags) -> NDArray[np.int64]:
    """Where incidents begin: alerts at most MERGE apart are one, but a bell that never stops is many."""
    found: list[int] = []
    start = last = -(10**9)
    for place in np.flatnonzero(alerts):
        if place - last > MERGE or place - start > LONGEST:
            found.append(int(place))
            start = place
        last = place
    return np.array(found, np.int64)


def together(alerts: Alerts) -> Flags:
    """The alerts of all channels."""
    return np.any(list(alerts.values()), axis=0) if isinstance(alerts, dict) else np.asarray(alerts, bool)


@dataclass
class Tally:
    """What was counted over all streams."""

    events: int = 0
    rows: int = 0
    false_incidents: int = 0
    right: int = 0
    wrong: int = 0
    found: dict[str, list[bool]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    placebo: dict[str, list[bool]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    delays: dict[str, list[int]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    channels: dict[str, int] = field(default_factory=dict)

    def count_clean(self, answer: Alerts, episodes: Iterable[Episode]) -> None:
        """Take the answer for a stream that nothing was injected into."""
        alerts = together(answer)
        self.rows += int(alerts[WARM:].sum())
        self.false_incidents += len(incidents(alerts[WARM:]))
        self.events += len(alerts) - WARM
        for channel, own in (answer if isinstance(answer, dict) else {}).items():
            self.channels[channel] = self.channels.get(channel, 0) + int(own[WARM:].sum())
        for kind, start, stop in episodes:
            self.placebo[kind].append(bool(alerts[start : stop + GRACE].any()))

    def count_injected(self, answer: Alerts, episodes: Iterable[Episode]) -> None:
        """Take the answer for a stream with episodes."""
        alerts = together(answer).copy()
        alerts[:WARM] = False
        explained = np.zeros(len(alerts), bool)
        for kind, start, stop in episodes:
            hits = np.flatnonzero(alerts[start : stop + GRACE])
            self.found[kind].append(len(hits) > 0)
            self.delays[kind] += [int(hit) for hit in hits[:1]]
            explained[start : stop + RECOVERY] = True
        own = explained[incidents(alerts)]
        self.right += int(own.sum())
        self.wrong += int((~own).sum())

    def figures(self) -> dict[str, Any]:
        """Shares, and false alerts per 100 000 clean events."""
        recall = _share(self.found.values())
        precision = self.right / max(1, self.right + self.wrong)
        return {
            "false_rows": 1e5 * self.rows / self.events,
            "false_incidents": 1e5 * self.false_incidents / self.events,
            "recall": recall,
            "placebo": _share(self.placebo.values()),
            "precision": precision,
            "f1": 2 * recall * precision / max(1e-9, recall + precision),
            "kinds": {kind: self._kind(kind) for kind in KINDS},
            "false_rows_by_channel": {name: 1e5 * rows / self.events for name, rows in self.channels.items()},
        }

    def _kind(self, kind: str) -> dict[str, float | None]:
        delays = self.delays[kind]
        return {
            "recall": _share([self.found[kind]]),
            "placebo": _share([self.placebo[kind]]),
            "delay": float(np.median(delays)) if delays else None,
        }


def _share(answers: Iterable[Sequence[bool]]) -> float:
    return float(np.mean([answer for some in answers for answer in some]))


def evaluate(detect: Detect, folder: Path, seed: int, load: Load) -> dict[str, Any]:
    """The figures of a detector over all streams whose trace is there. Raises DataMissing if none is."""
    tally = Tally()
    present = [number for number, source in enumerate(SOURCES) if (folder / f"{source.trace}.csv").is_file()]
    if not present:
        raise DataMissing(f"{folder} has no trace: set SENTINEL_BENCH_DATA to a folder that has some in azure_llm/")
    # Streams are numbered among those that are there: a seed names the same streams wherever the same traces are.
    for number, source in enumerate(SOURCES[place] for place in present):
        recorded = trace(folder / f"{source.trace}.csv")
        for is_injected, count in ((False, tally.count_clean), (True, tally.count_injected)):
            events, episodes = stream(source, recorded, 1000 * seed + number, is_injected, load)
            count(detect(events), episodes)
    return tally.figures()


def named(name: str) -> Callable[..., Any]:
    """The function that `module:function` names; modules of the working directory are found too."""
    module, _, function = name.partition(":")
    sys.path.insert(0, os.getcwd())
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def printed(figures: dict[str, Any]) -> str:
    """The figures as tables."""
    header = ["false rows", "false incidents", "recall", "placebo", "precision", "F1"]
    names = ("false_rows", "false_incidents", "recall", "placebo", "precision", "f1")
    patterns = (".1f", ".1f", ".3f", ".3f", ".3f", ".3f")
    total = [format(figures[name], pattern) for name, pattern in zip(names, patterns, strict=True)]
    kinds = [
        [
            kind,
            f"{each['recall']:.2f}",
            f"{each['placebo']:.2f}",
            "-" if each["delay"] is None else f"{each['delay']:.0f}",
        ]
        for kind, each in figures["kinds"].items()
    ]
    channels = [[name, f"{rows:.1f}"] for name, rows in figures["false_rows_by_channel"].items()]
    parts = [table(["per 100 000", *header], [["", *total]]), table(["kind", "recall", "placebo", "delay"], kinds)]
    return "\n\n".join([*parts, *([table(["channel", "false rows"], channels)] if channels else [])])


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables and save the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", nargs="?", default=PRODUCT, help=f"module:function (default: {PRODUCT})")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(argv)
    load = Load(*(float(each) for each in os.environ["LLM_LOAD"].split(","))) if "LLM_LOAD" in os.environ else Load()
    folder = Path(os.environ.get("SENTINEL_BENCH_DATA", "var/bench-data"), "azure_llm")
    try:
        figures = evaluate(named(chosen.detector), folder, chosen.seed, load)
    except DataMissing as missing:
        print(missing, file=sys.stderr)
        sys.exit(DATA_MISSING)
    print(printed(figures))
    print(f"written to {save('llm', {'detector': chosen.detector, 'seed': chosen.seed, 'load': load, **figures})}")


if __name__ == "__main__":
    main()
