"""Read telemetry from Kafka: normalize it, score it, store it, or all of these."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ingestion import monitor
from ingestion.runner import ROLES, Runner, RunOptions, build_runner, collect_seldom


class Command(BaseCommand):
    help = (
        "Read telemetry from Kafka: the role normalize republishes OTLP and other unkeyed records as keyed events, the "
        "role detect scores these, the role store keeps them; all does all of it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--role", choices=[*ROLES, "all"], default="all", help="what to do (default: all)")
        parser.add_argument("--topics", default="", help="topics to read, separated by commas (default: as configured)")
        parser.add_argument("--group-id", default="", help="stem of the consumer groups (default: as configured)")
        parser.add_argument("--batch-size", type=int, default=0, help="messages in one batch at most")
        parser.add_argument("--until-end", action="store_true", help="stop once all that is there was read")
        parser.add_argument("--metrics-port", type=int, default=0, help="port for /metrics and /health/* (0: none)")

    def handle(self, **options: Any) -> None:
        if options["batch_size"] < 0:
            raise CommandError(f"--batch-size must be at least 1, not {options['batch_size']}")
        roles = ROLES if options["role"] == "all" else (options["role"],)
        run_options = RunOptions(
            topics=tuple(topic for topic in options["topics"].split(",") if topic),
            group_id=options["group_id"],
            batch_size=options["batch_size"],
            until_end=options["until_end"],
        )
        runner = build_runner(roles, run_options)
        collect_seldom()
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        self._serve(options["metrics_port"], runner)
        if runner.run(stop, until_end=run_options.until_end):
            for reason in runner.failed:
                self.stderr.write(reason)
            sys.exit(1)

    def _serve(self, port: int, runner: Runner) -> None:
        if not port:
            return
        try:
            monitor.serve(port, runner.health)
        except OSError as error:
            raise CommandError(f"--metrics-port {port} cannot be used: {error.strerror}") from error
