"""manage.py replay: publish recorded telemetry again, with its own spacing."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ingestion.interrupts import INTERRUPTED, stopped_by_signals
from ingestion.management.bad_lines import BadLines
from ingestion.management.options import add_publishing_options, add_trace_options, publisher_of, speed, trace_of
from ingestion.pacing import Clock, WallClock
from ingestion.progress import Progress
from ingestion.publishing import Publisher
from ingestion.recordings import (
    Recorded,
    Recording,
    RecordingError,
    read_llm_trace,
    read_native,
)
from ingestion.replaying import replaying

DESCRIPTION = """\
Publish the events of FILE (gzip accepted) to Kafka, keyed service|model, with their original spacing divided by
--speed. Lines that cannot be used are reported with their number and skipped. Exit code 1: some event could not be
delivered, or --strict found a bad line.

native     one JSON event a line, flat or nested, as on the topic; sent as recorded except for its time
llm-trace  CSV with TIMESTAMP, ContextTokens, GeneratedTokens (the Azure LLM inference traces). Latency and cost are
           derived: latency = (base + ms per input token * input + ms per output token * output) * log-normal noise
           from --seed; cost = (USD per 1k input * input + USD per 1k output * output) / 1000.
"""


class Command(BaseCommand):
    help = "Publish recorded telemetry to Kafka with its original spacing, scaled."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.description = DESCRIPTION
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--format", choices=("native", "llm-trace"), default="native")
        parser.add_argument("--speed", type=speed, default=1.0, help="times the original speed, or max (default 1)")
        parser.add_argument(
            "--timestamps",
            choices=("now", "original"),
            default="now",
            help="now (default): events are dated when they are sent; original: as recorded",
        )
        parser.add_argument(
            "--new-ids", action="store_true", help="drop recorded event ids, by which a second replay is recognised"
        )
        parser.add_argument("--strict", action="store_true", help="stop at the first line that cannot be used")
        add_publishing_options(parser)
        add_trace_options(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        self._bad = BadLines(self.stderr, is_strict=options["strict"])
        try:
            with stopped_by_signals() as stop, Recording(options["file"]) as recording:
                clock = WallClock(stop)
                sent, failed = self._replay(recording, clock, options)
        except RecordingError as error:
            raise CommandError(str(error)) from error
        self._report(sent, failed, interrupted=clock.wait(0))

    def _replay(self, recording: Recording, clock: Clock, options: dict[str, Any]) -> tuple[int, int]:
        """Events sent, and of them those that were not delivered."""
        records = self._records(recording, options)
        progress = Progress("replay", recording.size, "B")
        try:
            with publisher_of(options, clock) as publisher:
                self._drive(records, publisher, clock, options, recording, progress)
        finally:
            progress.close()
        return publisher.sent, publisher.failed

    def _drive(
        self,
        records: Iterator[Recorded],
        publisher: Publisher,
        clock: Clock,
        options: dict[str, Any],
        recording: Recording,
        progress: Progress,
    ) -> None:
        dated_now = options["timestamps"] == "now"
        for _ in replaying(
            records, publisher, clock, options["speed"], dated_now=dated_now, new_ids=options["new_ids"]
        ):
            progress.show(recording.position, f"{publisher.sent} events")

    def _records(self, recording: Recording, options: dict[str, Any]) -> Iterator[Recorded]:
        if options["format"] == "native":
            return read_native(recording, self._bad)
        return read_llm_trace(recording, self._bad, trace_of(options))

    def _report(self, sent: int, failed: int, *, interrupted: bool) -> None:
        self.stdout.write(f"{sent - failed} events published, {failed} not delivered, {self._bad.count} bad lines")
        if failed:
            raise CommandError(f"{failed} events were not delivered")
        if interrupted:
            self.stderr.write("interrupted before the end of the file")
            sys.exit(INTERRUPTED)
