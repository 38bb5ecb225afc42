"""Endless traffic as events: a function of seed, fleet, rate, schedule and time alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter

import numpy as np

from ingestion.formats.event import Event
from ingestion.simulation import calls as calling
from ingestion.simulation.calls import Calls, calls_in_slot
from ingestion.simulation.fleet import Stream
from ingestion.simulation.load import SLOT_SECONDS
from ingestion.simulation.scenarios import SECOND_NS, Planned, Schedule

SLOT_NS = SLOT_SECONDS * SECOND_NS
SESSION_NS = 1800 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a fleet sends at a mean of `rate` calls a second (over a whole day).

    The events of a moment do not depend on where one starts to ask or how the time is cut: a later run with the
    same seed produces the same events, with the same ids, for the same time. Calls arrive as a Poisson process
    whose rate follows the hour of the day and a slow wander. ValueError unless `rate` is above 0.
    """

    streams: Sequence[Stream]
    rate: float
    seed: int = 0
    schedule: Schedule = field(default_factory=Planned)

    def __post_init__(self) -> None:
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"rate must be above 0 calls a second, not {self.rate}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")

    def batches(
        self, start_ns: int, end_ns: int | None = None, since: Mapping[str, int] | None = None
    ) -> Iterator[list[Event]]:
        """The events of [start_ns, end_ns) in order of time, a slot at a time; endless without `end_ns`.

        `since` gives, by service, a later time (ns) at which that service's events begin.
        """
        for slot in count(start_ns // SLOT_NS):
            begin = slot * SLOT_NS
            if end_ns is not None and begin >= end_ns:
                return
            yield self._slot(slot, start_ns, begin + SLOT_NS if end_ns is None else end_ns, since or {})

    def _slot(self, slot: int, start_ns: int, end_ns: int, since: Mapping[str, int]) -> list[Event]:
        incidents = self.schedule.during(slot * SLOT_NS, (slot + 1) * SLOT_NS)
        events: list[Event] = []
        for stream in self.streams:
            begin = max(start_ns, since.get(stream.service, start_ns))
            if begin >= (slot + 1) * SLOT_NS:
                continue
            own = [incident for incident in incidents if incident.stream == stream]
            for calls in calls_in_slot(self.seed, stream, slot, self.rate * stream.share, own):
                events.extend(e for e in events_of(stream, calls) if begin <= e.timestamp_ns < end_ns)
        events.sort(key=attrgetter("timestamp_ns"))
        return events


def events_of(stream: Stream, calls: Calls) -> Iterator[Event]:
    """The calls of a stream as events, in order of time."""
    for event, failed, failure, outcome in zip(
        _asked(stream, calls), calls.failed.tolist(), calls.failure.tolist(), _outcomes(calls), strict=True
    ):
        if failed:
            event.error, event.errors = True, [calling.FAILURES[failure]]
        else:
            event.prompt_tokens, event.completion_tokens, event.cost_usd, event.ttft_ms, event.quality_score = outcome
            event.total_tokens, event.cost_source = outcome[0] + outcome[1], "reported"
            event.finish_reason = "length" if outcome[1] == calling.MOST_COMPLETION_TOKENS else "stop"
        yield event


def _asked(stream: Stream, calls: Calls) -> Iterator[Event]:
    """What is known of every call, failed or not: who made it, when, and how long it took."""
    columns = (calls.at_ns, calls.user, calls.region, calls.version, np.round(calls.latency_ms, 3))
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for place, (at_ns, user, region, version, latency_ms) in enumerate(rows):
        ids = calls.ids[80 * place : 80 * place + 80]
        yield Event(
            timestamp_ns=at_ns,
            service=stream.service,
            model=stream.model,
            event_id=ids[:32],
            latency_ms=latency_ms,
            provider=stream.served.provider,
            user_id=f"user-{user:03d}",
            session_id=f"{stream.service}-{user:03d}-{at_ns // SESSION_NS}",
            trace_id=ids[32:64],
            span_id=ids[64:],
            metadata={"region": calling.REGIONS[region], "prompt_version": calling.PROMPT_VERSIONS[version]},
        )


def _outcomes(calls: Calls) -> Iterator[tuple[int, int, float, float | None, float | None]]:
    """What an answer brings: prompt and completion tokens, cost, time to the first token, quality."""
    return zip(
        calls.prompt_tokens.tolist(),
        calls.completion_tokens.tolist(),
        np.round(calls.cost_usd, 9).tolist(),
        _known(np.round(calls.ttft_ms, 3)),
        _known(np.round(calls.quality, 4)),
        strict=True,
    )


def _known(values: calling.Floats) -> list[float | None]:
    known: list[float | None] = values.tolist()
    for place in np.flatnonzero(np.isnan(values)).tolist():
        known[place] = None
    return known
