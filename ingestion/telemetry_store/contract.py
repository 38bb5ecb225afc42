"""What every telemetry store does, and in which terms it is asked.

StoreError
├── StoreUnavailable   nothing was decided about the rows: try again, nothing is lost
└── BadCursor          a cursor that this store did not give out
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from baselines.stats.sketch import BUCKETS
from ingestion.formats.event import Event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class StoreError(Exception):
    """What a telemetry store raises."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or will not work now; the rows are as safe as before, in Kafka.

    `retry_after` is the number of seconds the store asked to be left alone for, None where it did not say.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class BadCursor(StoreError, ValueError):
    """A cursor that does not come from an answer of this store."""


class WriteRefused(NamedTuple):
    """A row that the store will never take; its neighbours were stored."""

    index: int
    """Position in the batch, from 0."""
    reason: str


class TelemetryBatch(NamedTuple):
    """Events of one partition, in the order of their offsets."""

    topic: str
    topic_id: UUID
    partition: int
    offsets: Sequence[int]
    events: Sequence[Event]


@dataclass(frozen=True)
class TelemetryQuery:
    """Which events to list: those of [start, end), newest first."""

    start: datetime
    end: datetime
    services: frozenset[str] | None = None
    """Only these services; None for all of them."""
    model: str | None = None
    limit: int = 100
    cursor: str | None = None
    """Where the page before ended, as that page said."""


@dataclass(frozen=True)
class SummaryQuery:
    """Which events to add up: those of [start, end), per interval of `seconds`, aligned to 1970."""

    start: datetime
    end: datetime
    seconds: int
    services: frozenset[str] | None = None
    model: str | None = None


class Page(NamedTuple):
    """Rows as the API gives them (timestamps are aware datetimes), and the cursor of the next page or None."""

    rows: list[dict[str, Any]]
    next: str | None


@dataclass
class Tally:
    """What is known of the calls of one interval; tallies of parts add up to the tally of the whole."""

    count: int = 0
    errors: int = 0
    cost: float = 0.0
    latencies: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(BUCKETS, np.uint64))
    """Successful calls per bucket of baselines.stats.sketch."""

    def add(self, other: Tally) -> None:
        self.count += other.count
        self.errors += other.errors
        self.cost += other.cost
        self.latencies = self.latencies + other.latencies


class UserTally(NamedTuple):
    """What one user's successful calls of one (service, model) add up to; `unpriced_tokens`: of those without price."""

    service: str
    model: str
    user: str
    count: int
    cost_usd: float
    total_tokens: int
    unpriced_tokens: int


Summary = dict[int, Tally]
"""Tallies by the start of their interval, in seconds since 1970; intervals without calls are absent."""


class TelemetryStore(Protocol):
    """Where single events and detections are kept.

    Writing is idempotent: a batch may be written again, whole or in part, after any failure. Both writes store every
    row they can and return the rows that can never be stored; they raise StoreUnavailable where it is unknown what
    was stored, and the caller writes the same batch again.
    """

    def write_telemetry(self, batch: TelemetryBatch) -> list[WriteRefused]: ...

    def write_detections(self, detections: Sequence[dict[str, Any]]) -> list[WriteRefused]:
        """Store messages of the detections topic, as they were decoded from JSON."""
        ...

    def telemetry(self, query: TelemetryQuery) -> Page:
        """Raises BadCursor and StoreUnavailable."""
        ...

    def summary(self, query: SummaryQuery) -> Summary:
        """Add up single events. Raises StoreUnavailable."""
        ...

    def users(self, start: datetime, end: datetime, limit: int) -> list[UserTally]:
        """Who spent the most in [start, end), `limit` at most; calls without a user are nobody's.

        Raises StoreUnavailable.
        """
        ...

    def detections(self, anomaly_id: UUID, start: datetime, end: datetime, limit: int = 100) -> list[dict[str, Any]]:
        """The detections of one anomaly within [start, end], newest first. Raises StoreUnavailable."""
        ...

    def ping(self) -> None:
        """Return if the store answers, else raise StoreUnavailable."""
        ...

    def close(self) -> None: ...


def nanoseconds(moment: datetime) -> int:
    """An aware time as nanoseconds since 1970, exactly (a float would lose digits)."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def moment(time_ns: int) -> datetime:
    """The inverse of `nanoseconds`, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=time_ns // 1000)
