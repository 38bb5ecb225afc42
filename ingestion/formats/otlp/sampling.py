"""Windows of GenAI metrics to events: N calls become N events that together have the counts, sums and quantiles told.

Detection, minutes and stored telemetry count events, so a window of N calls must arrive as N of them. Their values are
samples of the histograms (see `histograms`), scattered over the window so that no order of sizes looks like a trend.
Latency, prompt and completion tokens are scattered independently: how they went together is not told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha1

import numpy as np

from ingestion.formats import validation
from ingestion.formats.event import Event
from ingestion.formats.labels import failure_texts
from ingestion.formats.otlp.attributes import PROVIDERS
from ingestion.formats.otlp.calls import clean, latency_within, moment
from ingestion.formats.otlp.envelopes import Decoded
from ingestion.formats.otlp.histograms import scattered, whole
from ingestion.formats.otlp.points import LATENCY, TTFT, Calls, Point
from ingestion.formats.tokens import unusual_tokens
from ingestion.formats.validation import Limits, Rejection

SAME_COLLECTION_NS = 500_000_000
"""Points that end within this of each other were collected together."""
SAMPLED_FROM = "sampled_from"
# Multiples of these scatter the samples: the golden ratio, and the roots of 2 and 3, modulo 1.
STEPS = {
    LATENCY: 0.6180339887498949,
    TTFT: 0.6180339887498949,  # as the latency, of which it is a part
    "prompt_tokens": 0.41421356237309515,
    "completion_tokens": 0.7320508075688772,
}
MEASURED = tuple(STEPS)

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Window:
    """The points of one collection that describe the same calls."""

    calls: Calls
    points: list[Point]

    @property
    def pair(self) -> Pair:
        """Service and model."""
        return self.points[0].origin.service, self.calls.model

    def measuring(self, measure: str) -> list[Point]:
        """The points of a measure, of the newest of its metrics only."""
        some = [point for point in self.points if point.measure == measure]
        newest = min((point.rank for point in some), default=0)
        return [point for point in some if point.rank == newest]

    def count(self) -> int:
        """How many calls there were: as many as have a duration; where that is not told, as have tokens."""
        counts = (sum(point.histogram.count for point in self.measuring(measure)) for measure in MEASURED)
        return max(counts)

    def bounds(self) -> tuple[int, int]:
        """The time of the calls: (start, end], in nanoseconds."""
        telling = self.measuring(LATENCY) or self.points
        end = max(point.end_ns for point in telling)
        return min((point.start_ns for point in telling if point.start_ns), default=end), end


def collected(points: Iterable[Point]) -> Iterator[Window]:
    """Points by the calls they describe and by when they were collected."""
    by_calls: dict[Calls, list[Point]] = defaultdict(list)
    for point in sorted(points, key=lambda each: each.end_ns):
        by_calls[point.calls].append(point)
    for calls, some in by_calls.items():
        first = 0
        for place in range(1, len(some) + 1):
            if place == len(some) or some[place].end_ns - some[place - 1].end_ns > SAME_COLLECTION_NS:
                yield Window(calls, some[first:place])
                first = place


def timed_pairs(points: Iterable[Point]) -> set[Pair]:
    """Services and models whose calls have durations."""
    return {(point.origin.service, point.calls.model) for point in points if point.measure == LATENCY}


def events_of(
    points: Iterable[Point],
    *,
    received_ms: int,
    limits: Limits,
    most: int,
    counted: Collection[Pair] = (),
    timed: Collection[Pair] = (),
) -> Decoded:
    """The calls that windows tell of, `most` at most, in the order of their times.

    Left out are the calls of `counted` pairs, which are known by their spans, and tokens without durations of `timed`
    pairs, whose durations come by themselves: they would be counted twice.
    """
    decoded = Decoded()
    for window in collected(points):
        if window.pair in counted or (window.pair in timed and not window.measuring(LATENCY)):
            decoded.ignored += len(window.points)
        elif (calls := window.count()) > most - len(decoded.events):
            decoded.rejections += [_too_many(calls, most)] * len(window.points)
        else:
            decoded.events += _events(window, received_ms, limits)
    decoded.events.sort(key=lambda event: event.timestamp_ns)
    return decoded


def _too_many(calls: int, most: int) -> Rejection:
    detail = f"stands for {calls} calls; a request may stand for {most}. Export more often, or send spans"
    return Rejection(validation.OUT_OF_RANGE, "count", detail)


def _events(window: Window, received_ms: int, limits: Limits) -> Iterator[Event]:
    """One event per call, evenly over the window, the failed ones evenly among them."""
    values = {measure: _column(window, measure) for measure in MEASURED}
    failures = _failures(window, limits)
    total = max(len(failures) + len(values[LATENCY]), *(len(values[measure]) for measure in MEASURED[1:]))
    start, end = window.bounds()
    origin, digest = window.points[0].origin, _digest(window, start, end)
    labels = origin.labels | {SAMPLED_FROM: "histogram"}
    provider = PROVIDERS.get(window.calls.provider, window.calls.provider)[:64]
    good, bad = 0, total - len(failures)
    for place in range(total):
        is_failed = (place + 1) * len(failures) // total > place * len(failures) // total
        row, good, bad = (bad, good, bad + 1) if is_failed else (good, good + 1, bad)
        errors, latency = failures[row - total + len(failures)] if is_failed else ([], _at(values[LATENCY], row))
        marks: list[str] = []
        sent, received, both = _tokens(values, row, window.calls.operation, limits, marks)
        event = Event(
            moment(start + (2 * place + 1) * (end - start) // (2 * total), received_ms, limits, marks),
            origin.service,
            window.calls.model,
            f"{digest}-{place}",
            None if latency is None else latency_within(latency, limits, marks),
            sent,
            received,
            both,
            error=is_failed,
            errors=errors,
            metadata=labels,
            marks=tuple(marks),
            ttft_ms=None if is_failed else _at(values[TTFT], row),
            provider=provider,
            otlp_signal="metric",
        )
        clean(event, limits)
        yield event


def _column(window: Window, measure: str) -> list[float]:
    """The samples of a measure, scattered; of latency those of the calls that succeeded."""
    points = [point for point in window.measuring(measure) if measure != LATENCY or not point.error]
    if not points:
        return []
    values = np.sort(np.concatenate([point.histogram.samples() for point in points]))
    order = scattered(len(values), STEPS[measure])
    if measure.endswith("tokens"):
        return [int(part) for part in np.array(whole(values))[order]]
    return values[order].tolist()  # type: ignore[no-any-return]


def _failures(window: Window, limits: Limits) -> list[tuple[list[str], float]]:
    """Texts and latency of each failed call."""
    return [
        (failure_texts(point.error, None, limits), float(value))
        for point in window.measuring(LATENCY)
        if point.error
        for value in point.histogram.samples()
    ]


def _at(values: list[float], row: int) -> float | None:
    return values[row] if row < len(values) else None


def _tokens(
    values: dict[str, list[float]], row: int, operation: str, limits: Limits, marks: list[str]
) -> tuple[int | None, int | None, int | None]:
    sent, received = (_at(values[measure], row) for measure in ("prompt_tokens", "completion_tokens"))
    if received is None and sent is not None and operation == "embeddings":
        received = 0
    told = (None if sent is None else int(sent), None if received is None else int(received), None)
    return unusual_tokens(told, may_lack=True, most=limits.max_tokens, marks=marks)


def _digest(window: Window, start: int, end: int) -> str:
    """The same for the same window, however often it is sent."""
    text = f"{'|'.join(sorted(point.stream for point in window.points))}|{start}|{end}"
    return sha1(text.encode(), usedforsecurity=False).hexdigest()[:32]
