"""manage.py simulate_telemetry: endless realistic traffic, with incidents on demand."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from anomalies.models import Anomaly
from ingestion.backpressure import EMBEDDED_LAG
from ingestion.interrupts import stopped_by_signals
from ingestion.management.options import add_publishing_options, at_least, duration, not_negative, publisher_of
from ingestion.pacing import SECOND_NS, Clock, WallClock
from ingestion.progress import Progress
from ingestion.publishing import Publisher
from ingestion.simulation.ending import expect, expect_no_more
from ingestion.simulation.fleet import Stream, fleet
from ingestion.simulation.generator import Traffic
from ingestion.simulation.outcome import Search, is_watched
from ingestion.simulation.scenarios import SCENARIOS, Incident, Planned
from ingestion.simulation.traffic import in_ns, missing_since, publishing

# What detection has to have seen of a stream to know it well: calls (its thresholds are at their own after 4 000), and
# minutes. What is wanted of the past of a stream that makes few calls ends somewhere.
KNOWN_AFTER_CALLS = 5_000
KNOWN_AFTER = timedelta(hours=1)
LONGEST_HISTORY = timedelta(hours=6)
NOTICE = timedelta(minutes=2)


class Command(BaseCommand):
    help = "Publish endless realistic traffic of several services and models to Kafka, with incidents on demand."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rate", type=not_negative, default=20.0, help="calls a second, all in all (default 20)")
        parser.add_argument("--services", type=at_least(1), default=5, help="how many (default 5)")
        parser.add_argument("--prefix", default="", help="before the names of the services")
        parser.add_argument("--seed", type=at_least(0), default=0, help="equal seeds make equal events (default 0)")
        parser.add_argument("--duration", type=duration, help="of the live traffic, such as 10m (default: endless)")
        parser.add_argument(
            "--backfill",
            type=duration,
            help="publish first what is missing of that time, such as 6h (default 0; with --wait, of the service of "
            "the incident only, as much as detection needs: an hour or more)",
        )
        add_scenario_options(parser)
        add_publishing_options(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        if options["list"]:
            for scenario in SCENARIOS.values():
                described = f"{scenario.summary} ({scenario.anomaly_type})"
                self.stdout.write(f"{scenario.name:<16} {scenario.seconds:>4} s  {described}")
            return
        if options["wait"]:
            prepare_to_wait(options)
        try:
            traffic = Traffic(fleet(options["services"], options["prefix"]), options["rate"], options["seed"])
        except ValueError as error:
            raise CommandError(str(error)) from error
        target = target_of(traffic.streams, options["service"], options["model"])
        with stopped_by_signals() as stop:
            self._run(traffic, target, WallClock(stop), options)

    def _run(self, traffic: Traffic, target: Stream, clock: Clock, options: dict[str, Any]) -> None:
        found: Sequence[Anomaly] = ()
        search = None
        services = {stream.service for stream in traffic.streams}
        with publisher_of(options, clock) as publisher:
            since = self._backfill(traffic, publisher, clock, *history(traffic, target, options))
            if options["scenario"]:
                incident = Incident(SCENARIOS[options["scenario"]], target, clock.now_ns() + in_ns(options["start_in"]))
                traffic = Traffic(traffic.streams, traffic.rate, traffic.seed, Planned([incident]))
                search = Search(incident) if options["wait"] else None
                self._announce(incident)
            expect(services)
            try:
                found = self._live(traffic, publisher, clock, since, options, search)
            finally:
                expect_no_more(services)
        self.stdout.write(f"{publisher.sent - publisher.failed} events published, {publisher.failed} not delivered")
        if publisher.failed:
            raise CommandError(f"{publisher.failed} events were not delivered")
        if search and not found:
            raise CommandError(not_found(search))

    def _backfill(
        self, traffic: Traffic, publisher: Publisher, clock: Clock, services: set[str], backfill: timedelta
    ) -> dict[str, int]:
        """Publish what is missing of some services until now; returns from when (ns, by service) all of them go on."""
        now_ns = clock.now_ns()
        since = dict.fromkeys((stream.service for stream in traffic.streams), now_ns)
        if backfill:
            since |= missing_since(services, datetime.fromtimestamp(now_ns / SECOND_NS, UTC), backfill)
            begin = min(since.values())
            progress = Progress("backfill", (now_ns - begin) / SECOND_NS, "s")
            for position in publishing(traffic, publisher, clock, since, now_ns):
                progress.show((position - begin) / SECOND_NS, f"{publisher.sent} events")
            progress.close()
        return dict.fromkeys(since, now_ns)

    def _live(
        self,
        traffic: Traffic,
        publisher: Publisher,
        clock: Clock,
        since: dict[str, int],
        options: dict[str, Any],
        search: Search | None,
    ) -> Sequence[Anomaly]:
        """Publish as time goes by until the end, the deadline of the search, or its success without --duration."""
        begin, lasting = clock.now_ns(), options["duration"]
        end_ns = begin + in_ns(lasting) if lasting else None
        progress = Progress("live", lasting and lasting.total_seconds(), "s")
        found: Sequence[Anomaly] = ()
        for position in publishing(traffic, publisher, clock, since, end_ns):
            progress.show(max(position - begin, 0) / SECOND_NS, f"{publisher.sent} events")
            if search and not found and (found := search.look(clock.now_ns())):
                self._tell(found, search, clock)
            if search and not lasting and (found or clock.now_ns() > deadline_ns(search, options["deadline"])):
                break
        progress.close()
        return found

    def _announce(self, incident: Incident) -> None:
        begin, end = (datetime.fromtimestamp(ns / SECOND_NS, UTC) for ns in (incident.start_ns, incident.end_ns))
        stream, scenario = incident.stream, incident.scenario
        self.stdout.write(
            f"{scenario.name} ({scenario.summary}) in {stream.service} ({stream.model}) "
            f"from {begin:%H:%M:%S} to {end:%H:%M:%S} UTC"
        )
        if not is_watched(incident, settings.SENTINEL.detection):
            self.stderr.write(f"no enabled detector watches {' or '.join(scenario.metrics)}: nothing will notice it")

    def _tell(self, found: Sequence[Anomaly], search: Search, clock: Clock) -> None:
        seconds = (clock.now_ns() - search.incident.start_ns) / SECOND_NS
        self.stdout.write(f"found {seconds:.1f} s after its start:")
        for anomaly in found:
            band = band_of(anomaly)
            self.stdout.write(
                f"  {'new' if search.is_new(anomaly) else 'worse'}: {anomaly.id} {anomaly.severity} {anomaly.title}: "
                f"{anomaly.metric} {anomaly.value:.6g}{band}, by {anomaly.detector}, {anomaly.occurrences} occurrences"
            )


def add_scenario_options(parser: ArgumentParser) -> None:
    """What goes wrong, where, when, and whether to wait until it is noticed."""
    group = parser.add_argument_group("incidents")
    group.add_argument("--list", action="store_true", help="list the scenarios with their durations and leave")
    group.add_argument("--scenario", choices=sorted(SCENARIOS), help="the incident to have")
    group.add_argument("--service", help="in which service (default: the busiest)")
    group.add_argument("--model", help="with which model (default: the service's busiest)")
    group.add_argument(
        "--start-in", type=duration, default=timedelta(seconds=10), help="after the live traffic began (default 10s)"
    )
    group.add_argument(
        "--wait", action="store_true", help="end when the anomaly is in the database; exit code 1 if it never is"
    )
    group.add_argument(
        "--deadline", type=duration, help="for --wait, from the start of the incident (default: 2m after its end)"
    )


def prepare_to_wait(options: dict[str, Any]) -> None:
    """Waiting makes sense with an incident, and consumers that are not still busy with the past."""
    if not options["scenario"]:
        raise CommandError("--wait needs --scenario: without an incident there is nothing to wait for")
    if options["max_lag"] is None:
        options["max_lag"] = EMBEDDED_LAG


def history(traffic: Traffic, target: Stream, options: dict[str, Any]) -> tuple[set[str], timedelta]:
    """Of which services how much of the past is to be there: as told, else what detection needs for a wait."""
    if options["backfill"] is not None or not options["wait"]:
        return {stream.service for stream in traffic.streams}, options["backfill"] or timedelta()
    seconds = KNOWN_AFTER_CALLS / (traffic.rate * target.share)
    needed = timedelta(seconds=min(seconds, LONGEST_HISTORY.total_seconds()))
    return {target.service}, max(KNOWN_AFTER, needed)


def target_of(streams: Sequence[Stream], service: str | None, model: str | None) -> Stream:
    """The first stream of that service and model. CommandError, with the choice there is, if there is none."""
    for stream in streams:
        if service in (None, stream.service) and model in (None, stream.model):
            return stream
    choice = ", ".join(f"{stream.service} {stream.model}" for stream in streams)
    raise CommandError(f"no stream of --service {service or '(any)'} --model {model or '(any)'}; there are: {choice}")


def band_of(anomaly: Anomaly) -> str:
    """What was expected of the anomaly's value, as far as there is an expectation."""
    if anomaly.upper is None:
        return ""
    return f", expected {'at most' if anomaly.lower is None else f'{anomaly.lower:.6g} to'} {anomaly.upper:.6g}"


def deadline_ns(search: Search, deadline: timedelta | None) -> int:
    """When a search is given up."""
    return search.incident.start_ns + in_ns(deadline) if deadline else search.incident.end_ns + in_ns(NOTICE)


def not_found(search: Search) -> str:
    """That a wait ended without success, and what for."""
    scenario, stream = search.incident.scenario, search.incident.stream
    return f"no anomaly {scenario.anomaly_type} in {stream.service} appeared or grew worse in time"
