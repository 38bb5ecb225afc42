"""The tables that a backtest prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from anomalies.detection.arrays import SEVERITIES
from anomalies.detection.settings import DETECTORS
from ingestion.backtesting.trial import Trial
from ingestion.tables import table

Counts = Counter[tuple[str, str]]
"""Episodes by detector and severity."""


def report(trials: Sequence[Trial]) -> str:
    """What each trial told, side by side; at least one trial."""
    counts = [Counter((row.detector, row.severity) for row in trial.episodes()) for trial in trials]
    names = [trial.name for trial in trials]
    summary = table(["", *names], _summary(trials, counts))
    episodes = table(["episodes per day (in all)", *names], _per_day(trials, counts))
    return f"{summary}\n\n{episodes}"


def _summary(trials: Sequence[Trial], counts: Sequence[Counts]) -> list[list[str]]:
    lines: dict[str, Callable[[Trial, Counts], str]] = {
        "events": lambda trial, _: f"{trial.events:,}",
        "of them repeated": lambda trial, _: f"{trial.repeated:,}",
        "days": lambda trial, _: f"{trial.days:.2f}",
        "series covered": lambda trial, _: "{:,} of {:,}".format(*trial.series),
        "overrides": lambda trial, _: f"{len(trial.overrides.rules):,}",
        "flagged samples": lambda trial, _: f"{trial.detections:,}",
        "episodes": lambda _, count: f"{count.total():,}",
        "alarms (episodes) per 100,000 events": lambda trial, count: f"{per_100k(count.total(), trial.events):.1f}",
        "events/s": lambda trial, _: f"{trial.events / trial.seconds:,.0f}" if trial.seconds else "-",
    }
    return [
        [name, *(tell(trial, count) for trial, count in zip(trials, counts, strict=True))]
        for name, tell in lines.items()
    ]


def _per_day(trials: Sequence[Trial], counts: Sequence[Counts]) -> list[list[str]]:
    told = set().union(*counts)
    kinds = [(detector, severity) for detector in DETECTORS for severity in SEVERITIES if (detector, severity) in told]
    kinds += sorted(told - set(kinds))
    rows = [
        [f"{detector}, {severity}", *_cells(trials, [count[detector, severity] for count in counts])]
        for detector, severity in kinds
    ]
    return [*rows, ["all", *_cells(trials, [count.total() for count in counts])]]


def _cells(trials: Sequence[Trial], counts: Sequence[int]) -> list[str]:
    return [
        f"{count / trial.days:,.1f} ({count:,})" if trial.days else f"- ({count:,})"
        for trial, count in zip(trials, counts, strict=True)
    ]


def per_100k(count: int, events: int) -> float:
    """0 where there are no events."""
    return 1e5 * count / events if events else 0.0
