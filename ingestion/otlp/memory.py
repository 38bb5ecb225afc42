"""What is remembered in Redis between requests with metrics, for all processes that take them in together.

The last point of each cumulative stream; and which services and models are counted by their spans, or have durations,
so that neither their metrics nor their tokens count the same calls again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha1
from typing import Literal

import redis
import structlog
from django.conf import settings
from django_redis import get_redis_connection

from ingestion.formats.event import partition_key
from ingestion.formats.otlp.sampling import Pair
from ingestion.formats.otlp.streams import Last, decode_last

log = structlog.get_logger(__name__)

Kind = Literal["spans", "durations"]
STREAM_SECONDS = 86_400
SEEN_SECONDS = 3600
NOTED_EVERY = 300.0
MOST_NOTED = 20_000

_noted: dict[str, float] = {}


def _stream_key(stream: str) -> str:
    return f"{settings.SENTINEL.storage.redis.key_prefix}otlp:stream:{stream}"


def _seen_key(kind: Kind, pair: Pair) -> str:
    digest = sha1(partition_key(*pair), usedforsecurity=False).hexdigest()
    return f"{settings.SENTINEL.storage.redis.key_prefix}otlp:{kind}:{digest}"


def last_points(streams: Iterable[str]) -> dict[str, Last | None]:
    """The last point of each stream, None where there is none. Raises redis.RedisError."""
    names = list(dict.fromkeys(streams))
    if not names:
        return {}
    found = get_redis_connection("state").mget([_stream_key(name) for name in names])
    return {name: decode_last(encoded) for name, encoded in zip(names, found, strict=True)}


def keep_points(encoded: Mapping[str, bytes]) -> None:
    """Keep the last points of streams. Raises redis.RedisError."""
    if not encoded:
        return
    pipeline = get_redis_connection("state").pipeline(transaction=False)
    for name, value in encoded.items():
        pipeline.set(_stream_key(name), value, ex=STREAM_SECONDS)
    pipeline.execute()


def seen(kind: Kind, pairs: Iterable[Pair]) -> set[Pair]:
    """Those of the pairs that were noted within the last hour. Raises redis.RedisError."""
    some = sorted(set(pairs))
    if not some:
        return set()
    found = get_redis_connection("state").mget([_seen_key(kind, pair) for pair in some])
    return {pair for pair, value in zip(some, found, strict=True) if value is not None}


def note(kind: Kind, pairs: Iterable[Pair]) -> None:
    """Note that pairs are counted. Without Redis this is left out: what was accepted matters more."""
    now = time.monotonic()
    keys = {_seen_key(kind, pair) for pair in pairs}
    due = [key for key in keys if now - _noted.get(key, -NOTED_EVERY) >= NOTED_EVERY]
    if not due:
        return
    try:
        pipeline = get_redis_connection("state").pipeline(transaction=False)
        for key in due:
            pipeline.set(key, b"1", ex=SEEN_SECONDS)
        pipeline.execute()
    except redis.RedisError as error:
        log.warning("counted_pairs_not_noted", kind=kind, error=str(error))
        return
    if len(_noted) > MOST_NOTED:
        _noted.clear()
    _noted.update(dict.fromkeys(due, now))


class Recollection:
    """What is remembered, together with what is new since: of one request, or of several taken in at once.

    Nothing is written before `keep`, which is called when the calls are in Kafka. Whoever dies before sends them again,
    under the same ids.
    """

    def __init__(self) -> None:
        self._points: dict[str, bytes] = {}
        self._pairs: defaultdict[Kind, set[Pair]] = defaultdict(set)

    def last_points(self, streams: Iterable[str]) -> dict[str, Last | None]:
        """The last point of each stream, None where there is none. Raises redis.RedisError."""
        names = set(streams)
        mine = names & self._points.keys()
        return last_points(names - mine) | {name: decode_last(self._points[name]) for name in mine}

    def seen(self, kind: Kind, pairs: Iterable[Pair]) -> set[Pair]:
        """Those of the pairs that were noted within the last hour. Raises redis.RedisError."""
        some = set(pairs)
        mine = some & self._pairs[kind]
        return mine | seen(kind, some - mine)

    def add_points(self, encoded: Mapping[str, bytes]) -> None:
        self._points |= encoded

    def note(self, kind: Kind, pairs: Iterable[Pair]) -> None:
        self._pairs[kind] |= set(pairs)

    def keep(self) -> None:
        """Have everybody know what is new. Raises redis.RedisError where points cannot be kept."""
        for kind, pairs in self._pairs.items():
            note(kind, pairs)
        keep_points(self._points)
