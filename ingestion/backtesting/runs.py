"""A recording run through one configuration, or through two of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from anomalies.detection.overrides import NO_OVERRIDES, OverrideSet
from anomalies.detection.settings import DetectionSettings
from baselines.batches import batched
from ingestion.backtesting.rows import RowFiles
from ingestion.backtesting.trial import Trial
from ingestion.formats.event import Event
from ingestion.ownership import detection_settings

BATCH = 4096


class Contender(NamedTuple):
    """A configuration under test, the overrides that hold with it, and where what it tells is written."""

    name: str
    settings: DetectionSettings
    dedup_window: int
    folder: Path
    overrides: OverrideSet = NO_OVERRIDES

    @classmethod
    def of(cls, name: str, config: Any, folder: Path, overrides: OverrideSet = NO_OVERRIDES) -> Contender:
        """What of a whole configuration counts for a backtest."""
        return cls(name, detection_settings(config.detection), config.ingestion.dedup_window, folder, overrides)


def run(
    events: Iterable[Event],
    contenders: Sequence[Contender],
    show: Callable[[int], None],
    is_stopped: Callable[[], bool],
    batch_size: int = BATCH,
) -> list[Trial]:
    """Feed all contenders with the same events, read once, and write their files; returns how they fared.

    `show` is told the number of events after every batch. Once `is_stopped` says so it ends early, in good order.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(RowFiles(contender.folder)) for contender in contenders]
        trials = [
            Trial(contender.name, contender.settings, contender.dedup_window, file.add, contender.overrides)
            for contender, file in zip(contenders, files, strict=True)
        ]
        for batch in batched(events, batch_size):
            for trial in trials:
                trial.take(batch)
            show(trials[0].events)
            if is_stopped():
                break
        for trial, file in zip(trials, files, strict=True):
            file.finish(trial.episodes())
    return trials
