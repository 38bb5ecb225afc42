"""Cumulative points to windows: what was counted since the point before, through resets.

The point before is the caller's to keep, as an encoded `Last` per stream. Nothing here is changed by a point that comes
twice, or that comes late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec

from ingestion.formats.otlp.histograms import Histogram
from ingestion.formats.otlp.points import Point
from ingestion.formats.validation import Rejection

LONGEST_START_NS = 3600 * 10**9
"""A stream that is new to us but counts for longer than this was counted by us before, or is too old to matter."""


class Last(msgspec.Struct):
    """The newest point of a cumulative stream."""

    start_ns: int
    end_ns: int
    histogram: Histogram


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Last).decode


def decode_last(encoded: bytes | None) -> Last | None:
    """What `increments` wrote; None for nothing, and for what an older version wrote."""
    try:
        return None if encoded is None else _decode(encoded)
    except (msgspec.MsgspecError, Rejection):
        return None


def increments(points: Iterable[Point], kept: Mapping[str, Last | None]) -> tuple[list[Point], dict[str, bytes]]:
    """Points each of which counts its own window only, and the new state of the cumulative streams among them.

    `kept` has the last point of each stream. Points that count nothing new are left out.
    """
    lasts = dict(kept)
    changed: set[str] = set()
    found: list[Point] = []
    for point in sorted(points, key=lambda each: each.end_ns):
        window: Point | None = point
        if point.is_cumulative:
            last = lasts.get(point.stream)
            if last is not None and point.end_ns <= last.end_ns:
                continue
            window = _first(point) if last is None else _next(point, last)
            lasts[point.stream] = Last(point.start_ns, point.end_ns, point.histogram)
            changed.add(point.stream)
        if window is not None and window.histogram.count:
            found.append(window)
    return found, {stream: _encode(lasts[stream]) for stream in changed}


def _first(point: Point) -> Point | None:
    """All that a new stream counted, None if nobody can say since when or for how much of it we were there."""
    is_recent = point.start_ns > 0 and point.end_ns - point.start_ns <= LONGEST_START_NS
    return replace(point, is_cumulative=False) if is_recent else None


def _next(point: Point, last: Last) -> Point:
    """What came since the last point; after a reset (a new start, or counts that fell) all that was counted."""
    has_restarted = point.start_ns > 0 and point.start_ns != last.start_ns and point.start_ns >= last.end_ns
    since = None if has_restarted else point.histogram.since(last.histogram)
    start = max(point.start_ns, last.end_ns)
    return replace(point, is_cumulative=False, start_ns=start, histogram=since or point.histogram)
