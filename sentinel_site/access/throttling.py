"""How many requests a token or a person may send in a minute, counted together for all processes of the site.

Redis is asked for a handful of requests at once, so that most requests wait for nobody; what a process was granted
and did not use is lost with the minute. Without Redis nobody is turned away: it counts, it does not guard.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django_redis import get_redis_connection
from redis import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

WINDOW = 60
HANDFULS = 200
"""In how many parts a minute's requests are handed out."""
REDIS_IS_LEFT_ALONE = 5.0
MOST_KNOWN = 10_000

log = structlog.get_logger(__name__)


@dataclass
class Grant:
    """What a process may still let through for somebody in one minute."""

    window: int
    left: int


class Tally:
    """Counts requests by minute. `take` is quick, and safe in threads: at worst one request more passes."""

    def __init__(self, connect: Callable[[], Any], clock: Callable[[], float] = time.time) -> None:
        self._connect, self._clock = connect, clock
        self._grants: dict[str, Grant] = {}
        self._silent_until = 0.0

    def take(self, who: str, limit: int) -> float | None:
        """None if the request may pass, else the seconds until one may."""
        now = self._clock()
        window = int(now // WINDOW)
        grant = self._grants.get(who)
        if grant is None or grant.window != window or grant.left == 0:
            grant = self._grants[who] = Grant(window, self._handful(who, window, limit, now))
        if grant.left < 0:
            grant.left = 0
            return math.ceil((window + 1) * WINDOW - now)
        grant.left -= 1
        return None

    def _handful(self, who: str, window: int, limit: int, now: float) -> int:
        """How many may pass now; -1 when all of this minute's did."""
        if len(self._grants) > MOST_KNOWN:
            self._grants.clear()
        size = max(1, limit // HANDFULS)
        if now < self._silent_until:
            return size
        try:
            taken = self._claim(f"throttle:{window}:{who}", size)
        except RedisError as error:
            log.warning("requests_not_counted", error=f"{type(error).__name__}: {error}")
            self._silent_until = now + REDIS_IS_LEFT_ALONE
            return size
        granted = size - max(0, taken - limit)
        return granted if granted > 0 else -1

    def _claim(self, key: str, size: int) -> int:
        """How many were claimed in all, these included; one round trip."""
        name = f"{settings.SENTINEL.storage.redis.key_prefix}{key}"
        with self._connect().pipeline(transaction=False) as pipeline:
            pipeline.incrby(name, size)
            pipeline.expire(name, 2 * WINDOW)
            return int(pipeline.execute()[0])


tally = Tally(lambda: get_redis_connection("default"))


class RequestsPerMinute(BaseThrottle):
    """`api.requests_per_minute` for each token and each person; who is neither is not counted here."""

    def allow_request(self, request: Request, view: Any) -> bool:
        who = identity(request)
        self._wait = None if who is None else tally.take(who, limit())
        return self._wait is None

    def wait(self) -> float | None:
        return self._wait


def limit() -> int:
    return int(settings.SENTINEL.api.requests_per_minute)


def identity(request: Request) -> str | None:
    """Under which name somebody is counted."""
    if request.auth is not None:
        return f"token:{request.auth.pk}"
    return f"user:{request.user.pk}" if request.user.is_authenticated else None
