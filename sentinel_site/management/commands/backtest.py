"""manage.py backtest: what would this configuration have told of recorded telemetry?"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from anomalies import overrides
from anomalies.detection.overrides import NO_OVERRIDES, OverrideSet
from anomalies.detection.warmup import warm_up
from ingestion.backtesting.report import per_100k, report
from ingestion.backtesting.runs import Contender, run
from ingestion.backtesting.series import SCORES, read_series, write_scores
from ingestion.backtesting.stored import StoredTelemetry
from ingestion.formats.event import Event
from ingestion.interrupts import INTERRUPTED, stopped_by_signals
from ingestion.limits import limits_of
from ingestion.management.bad_lines import BadLines
from ingestion.management.options import add_trace_options, at_least, trace_of
from ingestion.ownership import detection_settings
from ingestion.progress import Progress
from ingestion.recordings import Recording, RecordingError, native_calls, trace_calls
from ingestion.tables import table
from ingestion.telemetry_store import StoreError, open_store
from sentinel_site.config import Config, ConfigError, load_config

OUTPUT = Path("var/backtest")
COMPARED = "compare"
DEFAULT_HOURS = 24
DESCRIPTION = """\
Run recorded telemetry through the code of the live pipeline, under the configuration in force (--config FILE), as fast
as it goes. Nothing is stored, no alert is sent. DIR gets, of several FILES each in a folder named for it:

episodes.jsonl    what would have become anomalies, in the order of opening
detections.jsonl  every flagged sample
scores.csv        (--format series) timestamp, value, score in [0, 1]; an alert from 0.5

Indexes count the events of a file from 0; lines that cannot be used are reported with their number, skipped, and not
counted. FILES may be gzip-compressed; every one starts with nothing learned.

native     one JSON event a line, flat or nested, as on the topic
llm-trace  CSV with TIMESTAMP, ContextTokens, GeneratedTokens; latency and cost are derived as `replay` does
series     CSV with timestamp, value: no events, no configuration, one score per row

--from-store reads what the telemetry store has of the last hours, in the order of the events' times. Stores do not
tell quality scores. --compare runs a second configuration's section `detection` over the same events (decoded by the
first) and writes to the folder compare beside. Variables of the environment go before both files.

The overrides that the database has now hold from the first event on, under both configurations; where no database
answers there are none. --without-overrides leaves them out. Retirements are not repeated.
"""


class Source(NamedTuple):
    """Where events come from, and how to show how far reading has come (given the number of events)."""

    title: str
    events: Iterable[Event]
    show: Callable[[int], None]


class Command(BaseCommand):
    help = "Run recorded telemetry through detection and write what it would have told."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.description = DESCRIPTION
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="*", type=Path, metavar="FILES")
        parser.add_argument("--format", choices=("native", "llm-trace", "series"), default="native")
        parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help=f"default {OUTPUT}")
        parser.add_argument("--compare", type=Path, metavar="OTHER.yaml", help="a second configuration, side by side")
        parser.add_argument("--from-store", action="store_true", help="read the telemetry store instead of FILES")
        parser.add_argument(
            "--hours",
            type=at_least(1),
            help=f"of --from-store, up to now (default {DEFAULT_HOURS}, at most what is kept)",
        )
        parser.add_argument("--without-overrides", action="store_true", help="leave out what operators set differently")
        add_trace_options(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        _check(options)
        folders = _folders(options)
        try:
            with stopped_by_signals() as self._stop:
                if options["format"] == "series":
                    self._score_series(folders)
                else:
                    self._run_events(folders, options)
        except (RecordingError, StoreError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"\nwritten to {options['output']}")
        if self._stop.is_set():
            self.stderr.write("interrupted before the end")
            sys.exit(INTERRUPTED)

    # Events

    def _run_events(self, folders: dict[Path, Path], options: dict[str, Any]) -> None:
        configs = _configurations(options["compare"])
        self._overrides = NO_OVERRIDES if options["without_overrides"] else self._current_overrides()
        for config in configs.values():
            warm_up(detection_settings(config.detection))  # compiling is not what events/s is about
        if options["from_store"]:
            self._run(self._stored(options["hours"] or DEFAULT_HOURS), configs, options["output"])
        for path, folder in folders.items():
            if not self._stop.is_set():
                self._run(self._recorded(path, options), configs, folder)

    def _current_overrides(self) -> OverrideSet:
        try:
            return overrides.current()
        except DatabaseError as error:
            self.stdout.write(f"without overrides, as the database does not tell them: {str(error).strip()}")
            return NO_OVERRIDES

    def _run(self, opened: AbstractContextManager[Source], configs: dict[str, Config], folder: Path) -> None:
        (first, config), *others = configs.items()
        contenders = [Contender.of(first, config, folder, self._overrides)]
        contenders += [Contender.of(name, other, folder / COMPARED, self._overrides) for name, other in others]
        with opened as source:
            trials = run(source.events, contenders, source.show, self._stop.is_set)
        if not trials[0].events and not self._stop.is_set():
            raise CommandError(f"{source.title}: holds no event that can be used")
        self.stdout.write(f"\n{source.title}\n\n{report(trials)}")

    @contextmanager
    def _recorded(self, path: Path, options: dict[str, Any]) -> Iterator[Source]:
        limits, bad = limits_of(settings.SENTINEL), BadLines(self.stderr)
        with Recording(path) as recording, _progress(path.name, recording.size, "B") as progress:
            if options["format"] == "native":
                calls = native_calls(recording, bad, limits)
            else:
                calls = trace_calls(recording, bad, trace_of(options), limits)
            events = (call.event for call in calls)
            yield Source(str(path), events, lambda count: progress.show(recording.position, f"{count} events"))
        if bad.count:
            self.stderr.write(f"{path}: {bad.count} bad lines")

    @contextmanager
    def _stored(self, hours: int) -> Iterator[Source]:
        end = timezone.now()
        store = open_store()
        try:
            stored = StoredTelemetry(store, end - timedelta(hours=hours), end)
            with _progress("backtest", stored.size, "s") as progress:
                title = f"the last {hours} hours of the telemetry store"
                yield Source(title, stored.events(), lambda count: progress.show(stored.position, f"{count} events"))
        finally:
            store.close()

    # Series

    def _score_series(self, folders: dict[Path, Path]) -> None:
        rows = []
        with _progress("backtest", len(folders), " files") as progress:
            for done, (path, folder) in enumerate(folders.items(), start=1):
                if not self._stop.is_set():
                    rows.append(self._score(path, folder))
                    progress.show(done, path.name)
        self.stdout.write(table(["series", "samples", "alerts", "per 100,000 samples"], rows))

    def _score(self, path: Path, folder: Path) -> list[str]:
        with Recording(path) as recording:
            samples = read_series(recording, BadLines(self.stderr))
        if not len(samples.values):
            raise CommandError(f"{path}: holds no sample")
        folder.mkdir(parents=True, exist_ok=True)
        alerts, count = write_scores(folder / SCORES, samples, samples.scores()), len(samples.values)
        return [str(path), f"{count:,}", f"{alerts:,}", f"{per_100k(alerts, count):.1f}"]


@contextmanager
def _progress(title: str, total: float, unit: str) -> Iterator[Progress]:
    progress = Progress(title, total, unit)
    try:
        yield progress
    finally:
        progress.close()


def _check(options: dict[str, Any]) -> None:
    """Raises CommandError for options that do not go together."""
    if options["from_store"] == bool(options["files"]):
        raise CommandError("name either FILES or --from-store")
    if options["hours"] and not options["from_store"]:
        raise CommandError("--hours belongs to --from-store")
    if options["format"] == "series" and (options["from_store"] or options["compare"]):
        raise CommandError("--format series goes with neither --from-store nor --compare")


def _folders(options: dict[str, Any]) -> dict[Path, Path]:
    """Where the results of each file go. CommandError where two would share a folder, or a file is missing."""
    files, output = options["files"], options["output"]
    if missing := [str(path) for path in files if not path.is_file()]:
        raise CommandError(f"no such file: {', '.join(missing)}")
    if len(files) == 1:
        return {files[0]: output}
    taken: dict[str, Path] = {}
    for path in files:
        stem = Path(path.name.removesuffix(".gz")).stem
        if (other := taken.setdefault(stem, path)) is not path:
            raise CommandError(f"{other} and {path} would share the folder {output / stem}; rename one, or part them")
    return {path: output / stem for stem, path in taken.items()}


def _configurations(other: Path | None) -> dict[str, Config]:
    """By name, the configuration in force and, if asked for, the other one. Raises CommandError."""
    here = settings.SENTINEL
    file = here.origin.file
    if other is None:
        return {file.name if file else "defaults": here}
    try:
        # Only what it says of detection counts: a file without secrets is as good as one with them.
        there = load_config(other, {**os.environ, "SENTINEL__ENVIRONMENT": "development"})
    except ConfigError as error:
        raise CommandError(str(error)) from error
    is_same_name = file is not None and file.name == other.name
    name = str(file) if is_same_name else file.name if file else "defaults"
    name_there = str(other) if is_same_name else other.name
    if name == name_there:
        raise CommandError(f"--compare names the configuration in force: {other}")
    return {name: here, name_there: there}
