"""What the engine makes of simulated incidents, and of quiet hours: `simulate_telemetry` without Kafka in between.

python -m bench.scenarios                                # every scenario after a backfill of six hours, seed 1
python -m bench.scenarios --only silence --seed 2
python -m bench.scenarios --quiet 24 --seeds 1 2 3       # hours in which nothing happens

An incident of the table is a service's episodes that overlap in time, as in the product; it is named after its most
severe episode. Delays are seconds from the beginning of what was simulated to the first episode.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from anomalies.detection import loading, saving
from anomalies.detection.arrays import SEVERITIES, Columns
from anomalies.detection.engine import Engine
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.types import anomaly_type
from anomalies.detection.verdicts import Episode
from bench.figures import save, table
from ingestion.columns import columns_of, cuts, let_time_pass, samples_of, vectors_of
from ingestion.formats.event import Event
from ingestion.simulation.fleet import Stream, fleet
from ingestion.simulation.generator import Traffic
from ingestion.simulation.scenarios import SCENARIOS, SECOND_NS, Incident, Planned, Scenario

TOPIC = UUID("0f6f2a6c-94a5-4f3f-9a57-0a2bb1f6c0de")
START_NS = 1_790_000_000 * SECOND_NS
HOUR_NS = 3600 * SECOND_NS
AFTER_NS = 600 * SECOND_NS  # what is still watched once the incident is over
SLACK_MS = 120_000


class Told(NamedTuple):
    """An incident as people would see it."""

    service: str
    type: str
    severity: str
    first_ms: int
    last_ms: int
    episodes: tuple[str, ...]


@dataclass
class Run:
    """An engine that is fed with simulated events as a partition would be."""

    engine: Engine
    offset: int = 0
    clock_ms: int = 0
    episodes: dict[UUID, Episode] = field(default_factory=dict)

    def feed(self, batches: Iterable[Sequence[Event]]) -> None:
        """Score events whose record time is their own time."""
        for events in batches:
            if not events:
                continue
            records = [event.timestamp_ns // 1_000_000 for event in events]
            offsets = range(self.offset, self.offset + len(events))
            self.offset += len(events)
            columns = columns_of(events, offsets, records, self.engine.pair_row)
            self.clock_ms = self.clock_ms or records[0]
            for start, stop in cuts(columns.record_ms, self.clock_ms):
                part = Columns._make(column[start:stop] for column in columns)
                self.clock_ms = let_time_pass(self.engine, part.record_ms, self.clock_ms, is_recording=True)
                some = events[start:stop]
                self.engine.score(part, samples_of(some), vectors_of(some, part.offset))
            self.episodes |= {episode.id: episode for episode in self.engine.drain().episodes}

    def incidents(self, since_ms: int) -> list[Told]:
        """What was seen at or after a time, merged by service and time."""
        seen = sorted(
            (episode for episode in self.episodes.values() if episode.last_seen_ms >= since_ms),
            key=lambda episode: (episode.key.service, episode.first_seen_ms),
        )
        groups: list[list[Episode]] = []
        for episode in seen:
            last = groups[-1] if groups else []
            near = last and episode.first_seen_ms <= max(each.last_seen_ms for each in last) + SLACK_MS
            if near and last[0].key.service == episode.key.service:
                last.append(episode)
            else:
                groups.append([episode])
        return [_told(group) for group in groups]


def _told(group: Sequence[Episode]) -> Told:
    def severity(episode: Episode) -> str:
        return episode.severity

    strongest = max(group, key=lambda episode: (SEVERITIES.index(severity(episode)), episode.score))
    kinds = [f"{anomaly_type(each.key.metric, each.direction)}/{each.detector}" for each in group]
    return Told(
        strongest.key.service,
        anomaly_type(strongest.key.metric, strongest.direction),
        severity(strongest),
        min(episode.first_seen_ms for episode in group),
        max(episode.last_seen_ms for episode in group),
        tuple(sorted(kinds)),
    )


def learned(streams: Sequence[Stream], rate: float, seed: int, hours: float) -> tuple[dict[str, bytes], Run]:
    """The state of an engine after so many quiet hours, and the run that led there."""
    run = Run(Engine(DetectionSettings(mode="calibrated"), TOPIC, 0))
    end_ns = START_NS + int(hours * HOUR_NS)
    run.feed(Traffic(streams, rate, seed).batches(START_NS, end_ns))
    return saving.StateWriter(run.engine).encode(range(len(run.engine.pairs))), run


def after(image: dict[str, bytes], past: Run) -> Run:
    """A run that goes on from a state."""
    engine = Engine(DetectionSettings(mode="calibrated"), TOPIC, 0)
    loading.load(engine, image)
    return Run(engine, past.offset, past.clock_ms)


class Outcome(NamedTuple):
    """What became of a scenario: the incidents of its service, those of others, seconds until the first."""

    scenario: Scenario
    own: list[Told]
    others: list[Told]
    delay: float | None


def tried(
    scenario: Scenario, streams: Sequence[Stream], rate: float, seed: int, image: dict[str, bytes], past: Run
) -> Outcome:
    """Let a scenario happen in the busiest stream after what `image` has learned."""
    run = after(image, past)
    begin_ns = (past.clock_ms // 1000 + 60) * SECOND_NS
    incident = Incident(scenario, streams[0], begin_ns)
    traffic = Traffic(streams, rate, seed, Planned([incident]))
    run.feed(traffic.batches((past.clock_ms // 1000 + 1) * SECOND_NS, incident.end_ns + AFTER_NS))
    told = run.incidents(begin_ns // 1_000_000 - 60_000)
    own = [each for each in told if each.service == streams[0].service]
    delay = min((each.first_ms for each in own), default=None)
    others = [each for each in told if each.service != streams[0].service]
    return Outcome(scenario, own, others, None if delay is None else delay / 1000 - begin_ns / SECOND_NS)


def scenarios(names: Sequence[str], rate: float, services: int, seed: int, hours: float) -> Iterator[Outcome]:
    """Each scenario by itself, all after the same past."""
    streams = fleet(services)
    image, past = learned(streams, rate, seed, hours)
    for name in names:
        yield tried(SCENARIOS[name], streams, rate, seed, image, past)


def quiet(rate: float, services: int, seed: int, hours: float, since_hours: float = 0.0) -> list[Told]:
    """The incidents of hours in which nothing happens, from `since_hours` on."""
    _, run = learned(fleet(services), rate, seed, hours)
    return run.incidents(START_NS // 1_000_000 + int(since_hours * 3_600_000))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(SCENARIOS), nargs="*", default=list(SCENARIOS))
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--services", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3], help="of quiet hours")
    parser.add_argument("--hours", type=float, default=6.0, help="of the past of a scenario")
    parser.add_argument("--quiet", type=float, default=0.0, metavar="HOURS", help="instead of scenarios")
    chosen = parser.parse_args()
    if chosen.quiet:
        found = {seed: quiet(chosen.rate, chosen.services, seed, chosen.quiet) for seed in chosen.seeds}
        rows = [[str(seed), *_row(each)] for seed, all_of_seed in found.items() for each in all_of_seed]
        print(table(["seed", "service", "type", "severity", "after (min)", "lasted (s)", "episodes"], rows))
        total = sum(len(each) for each in found.values())
        print(f"{total} incidents in {len(found)} x {chosen.quiet:g} h at {chosen.rate:g} calls a second")
        print(f"written to {save('quiet', {'hours': chosen.quiet, 'incidents': found})}")
        return
    outcomes = list(scenarios(chosen.only, chosen.rate, chosen.services, chosen.seed, chosen.hours))
    rows = [
        [
            each.scenario.name,
            "yes" if [told.type for told in each.own] == [each.scenario.anomaly_type] else "NO",
            "-" if each.delay is None else f"{each.delay:.0f}",
            "; ".join(f"{told.type} {told.severity} ({', '.join(told.episodes)})" for told in each.own),
            str(len(each.others)),
        ]
        for each in outcomes
    ]
    print(table(["scenario", "one, of its type", "delay (s)", "incidents of its service", "of others"], rows))
    figures = {each.scenario.name: each[1:] for each in outcomes}
    print(f"written to {save('scenarios', figures)}")


def _row(told: Told) -> list[str]:
    minutes = (told.first_ms - START_NS // 1_000_000) / 60_000
    lasted = (told.last_ms - told.first_ms) / 1000
    return [told.service, told.type, told.severity, f"{minutes:.0f}", f"{lasted:.0f}", ", ".join(told.episodes)]


if __name__ == "__main__":
    main()
