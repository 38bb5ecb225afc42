"""Incidents on demand: what goes wrong, for how long, and what an anomaly of it is called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingestion.simulation.fleet import Stream

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """What changes in one stream while it lasts. Factors multiply what the same calls would have had without it.

    `error_rate` is a share of calls (None: as always); `abuse` is the extra rate of one user's calls as a share of
    the stream's normal rate; of the calls, the share `rate` is left. `anomaly_type` is what an anomaly of it is
    called, `metrics` where it shows.
    """

    name: str
    summary: str
    seconds: int
    anomaly_type: str
    metrics: tuple[str, ...]
    latency: float = 1.0
    completion_tokens: float = 1.0
    cost: float = 1.0
    quality: float = 1.0
    rate: float = 1.0
    error_rate: float | None = None
    abuse: float = 0.0


_TOKENS = ("completion_tokens", "total_tokens")

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("latency_shift", "latency +30 %", 600, "latency_spike", ("latency_ms", "ttft_ms"), latency=1.3),
        Scenario("latency_spike", "latency times 8", 20, "latency_spike", ("latency_ms", "ttft_ms"), latency=8.0),
        Scenario("cost_double", "each call costs twice as much", 300, "cost_anomaly", ("cost_usd",), cost=2.0),
        Scenario("error_burst", "a quarter fails", 120, "error_rate_increase", ("error_rate",), error_rate=0.25),
        Scenario("token_explosion", "answers times 6", 90, "token_usage_spike", _TOKENS, completion_tokens=6.0),
        Scenario("silence", "no calls at all", 300, "silence", ("request_rate",), rate=0.0),
        Scenario("user_abuse", "one user adds 60 %", 600, "usage_pattern", ("user_request_rate",), abuse=0.6),
        Scenario("quality_drop", "quality scores -40 %", 600, "quality_degradation", ("quality_score",), quality=0.6),
        Scenario("throughput_drop", "a fifth is left", 600, "throughput_degradation", ("request_rate",), rate=0.2),
    )
}


@dataclass(frozen=True, slots=True)
class Incident:
    """A scenario at a time (ns since 1970, UTC) in one stream."""

    scenario: Scenario
    stream: Stream
    start_ns: int

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.scenario.seconds * SECOND_NS


class Schedule(Protocol):
    """Which incidents there are."""

    def during(self, start_ns: int, end_ns: int) -> Iterable[Incident]:
        """Every incident that touches [start_ns, end_ns)."""
        ...


@dataclass(frozen=True, slots=True)
class Planned:
    """A list of incidents."""

    incidents: Sequence[Incident] = ()

    def during(self, start_ns: int, end_ns: int) -> Iterable[Incident]:
        return [i for i in self.incidents if i.start_ns < end_ns and i.end_ns > start_ns]


@dataclass(frozen=True, slots=True)
class Recurring:
    """Scenarios in turn, one every `every_ns`, each in the next of `streams`; number 0 begins at `anchor_ns`.

    It reaches back before the anchor as well, so that a past that is filled in afterwards has had incidents too.
    """

    scenarios: Sequence[Scenario]
    streams: Sequence[Stream]
    every_ns: int
    anchor_ns: int

    def during(self, start_ns: int, end_ns: int) -> Iterable[Incident]:
        longest = max(scenario.seconds for scenario in self.scenarios) * SECOND_NS
        first = (start_ns - longest - self.anchor_ns) // self.every_ns
        last = (end_ns - 1 - self.anchor_ns) // self.every_ns
        return Planned([self._incident(number) for number in range(first, last + 1)]).during(start_ns, end_ns)

    def _incident(self, number: int) -> Incident:
        scenario = self.scenarios[number % len(self.scenarios)]
        stream = self.streams[number % len(self.streams)]
        return Incident(scenario, stream, self.anchor_ns + number * self.every_ns)
