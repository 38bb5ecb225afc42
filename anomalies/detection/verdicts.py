"""What the engine says: single detections, episodes, closed minutes."""

from __future__ import annotations

from uuid import UUID, uuid5

import msgspec

from anomalies.detection.excess import Excess
from baselines.stats.series import Pair, SeriesKey

# What every id of an episode is derived in; changing it would double all of them.
EPISODE_NAMESPACE = UUID("6b1a2f0e-0f5b-5b0e-9a53-7c5a4b1e9d21")


def episode_id(topic_id: UUID, partition: int, first_offset: int, key: SeriesKey, direction: str) -> UUID:
    """The id of the episode that an event opened: a function of the event, so a replay gives the same."""
    return uuid5(EPISODE_NAMESPACE, f"{topic_id}|{partition}|{first_offset}|{key}|{direction}")


class Detection(msgspec.Struct, frozen=True, gc=False):
    """One flagged sample. `event` is its row in the batch; `expected` the median, [lower, upper] the band.

    The band has no ends where only CUSUM watches: it judges sums, not values.
    """

    event: int
    offset: int
    event_ms: int
    key: SeriesKey
    direction: str
    detector: str
    detectors: dict[str, float]
    severity: str
    anomaly_id: UUID
    value: float
    expected: float | None
    lower: float | None
    upper: float | None
    score: float


class Episode(msgspec.Struct, frozen=True, gc=False):
    """An anomaly as of now, in absolute values. Values in the metric's unit, times in ms of event time."""

    id: UUID
    key: SeriesKey
    direction: str
    detector: str
    detectors: dict[str, float]
    value: float
    score: float
    mean: float | None
    stddev: float | None
    median: float | None
    lower: float | None
    upper: float | None
    z_score: float | None
    severity: str
    confidence: float
    occurrences: int
    first_seen_ms: int
    last_seen_ms: int
    first_offset: int
    last_offset: int
    state: str
    sample_trace_ids: tuple[str, ...]
    dimensions: tuple[Excess, ...] = ()


class Minute(msgspec.Struct, frozen=True, gc=False):
    """One closed minute of one pair, in absolute values; `sketches` as baselines.stats.sketch encodes them."""

    pair: Pair
    minute_ms: int
    first_offset: int
    last_offset: int
    count: int
    errors: int
    cost_usd: float
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    unpriced_calls: int
    unpriced_tokens: int
    sketches: bytes


class Changes(msgspec.Struct, frozen=True):
    """What changed since the last drain: ended episodes before open ones; rows of the touched pairs.

    `capped` are pairs beyond the number there may be, with the events of theirs that were counted with OTHER;
    `skipped_embeddings` says how many did not fit.
    """

    episodes: list[Episode]
    minutes: list[Minute]
    touched_pairs: list[int]
    capped: dict[Pair, int] = {}
    skipped_embeddings: int = 0
