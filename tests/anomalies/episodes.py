"""Episodes as the engine reports them, for tests of what is recorded of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from anomalies.detection.verdicts import Episode, episode_id
from anomalies.record import Change, record_episodes
from baselines.models import Service
from baselines.stats.series import SeriesKey
from tests.support.catalogue import NOON, TOPIC_ID, service

NOON_MS = int(NOON.timestamp() * 1000)


def episode(offset: int, begin: float = 0, end: float | None = None, partition: int = 0, **values: Any) -> Episode:
    """An episode that the event at `offset` opened; `begin` and `end` in seconds after noon."""
    series = {name: values.pop(name, usual) for name, usual in _SERIES.items()}
    key, direction = SeriesKey(**series), values.pop("direction", "up")
    end = begin if end is None else end
    return Episode(
        **{
            "id": episode_id(TOPIC_ID, partition, offset, key, direction),
            "key": key,
            "direction": direction,
            "first_seen_ms": NOON_MS + round(begin * 1000),
            "last_seen_ms": NOON_MS + round(end * 1000),
            "first_offset": offset,
            "last_offset": offset + round(end * 10),
            **_USUAL,
            **values,
        }
    )


def record(episodes: Iterable[Episode], partition: int = 0, now: datetime | None = None) -> list[Change]:
    """As the consumer does it: one transaction."""
    episodes = list(episodes)
    names = {one.key.service for one in episodes}
    services: dict[str, Service] = {name: service(name) for name in names}
    with transaction.atomic():
        return record_episodes(episodes, TOPIC_ID, partition, services, now or datetime.now(UTC))


_SERIES = {"service": "chat-api", "model": "gpt-4", "metric": "latency_ms"}
_USUAL = {
    "detector": "zscore",
    "detectors": {"zscore": 2.0},
    "value": 5000.0,
    "score": 2.0,
    "mean": 1000.0,
    "stddev": 100.0,
    "median": 990.0,
    "lower": 700.0,
    "upper": 1300.0,
    "z_score": 40.0,
    "severity": "warning",
    "confidence": 0.9,
    "occurrences": 3,
    "state": "active",
    "sample_trace_ids": (),
}
