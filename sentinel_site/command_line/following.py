"""Follows anomalies as they open, change and end, by asking the database again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from anomalies.models import SEVERITY_RANK, Anomaly, State, Status

OVERLAP = timedelta(seconds=30)
"""A row carries the time at which it was written, and becomes visible when its transaction ends: later than others."""
REMEMBERED = 100_000


class Known(NamedTuple):
    """What was told of an anomaly last."""

    severity: str
    state: str
    status: str
    assignee: str


@dataclass
class Follower:
    """Tells of each anomaly of `rows` once per change that matters; more samples of the same are none."""

    rows: Callable[[datetime], QuerySet[Anomaly]]
    """The anomalies that are followed, as of a moment."""
    since: datetime
    """What was written up to here is taken as told."""
    _reached: datetime | None = None
    _known: dict[UUID, Known] = field(default_factory=dict)

    def news(self, now: datetime) -> Iterator[tuple[str, Anomaly]]:
        """What happened since the last call: each anomaly with a word for its change, in the order of changes."""
        reached = self._reached or self.since
        written = self.rows(now).filter(updated_at__gt=reached - OVERLAP).order_by("updated_at", "pk")
        for anomaly in written.iterator():
            word = self._change(anomaly)
            if word and anomaly.updated_at > self.since:
                yield word, anomaly
            reached = max(reached, anomaly.updated_at)
        self._reached = reached
        self._forget()

    def _change(self, anomaly: Anomaly) -> str:
        now = Known(anomaly.severity, anomaly.state, anomaly.status, anomaly.assignee)
        before = self._known.pop(anomaly.pk, None)
        self._known[anomaly.pk] = now  # the latest at the end
        return "" if before == now else word_for(before, now)

    def _forget(self) -> None:
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]


def word_for(before: Known | None, now: Known) -> str:
    """What became of an anomaly, in one word."""
    if before is None or now.status != before.status:
        is_new = before is None and now.status == Status.OPEN
        return ("ended" if now.state != State.ACTIVE else "open") if is_new else _status(before, now)
    if now.state != before.state:
        return now.state
    if SEVERITY_RANK[now.severity] > SEVERITY_RANK[before.severity]:  # type: ignore[index]
        return "escalated"
    return "changed"


def _status(before: Known | None, now: Known) -> str:
    return "reopened" if before and now.status == Status.OPEN else now.status
