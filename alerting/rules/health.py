"""When a channel counts as unhealthy, and how slowly it is tried then: a circuit breaker that is kept in rows."""

from __future__ import annotations

from datetime import datetime, timedelta

UNHEALTHY_AFTER = 5
"""Attempts that fail in a row, of any deliveries."""
TELL_AFTER = timedelta(seconds=60)
"""A receiver that is back within a minute is no news."""
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(seconds=300)
TOO_MANY_REQUESTS = 429


def counts_against(status_code: int | None) -> bool:
    """Whether a failed attempt says that the channel does not work; one that is only too busy does."""
    return status_code != TOO_MANY_REQUESTS


def is_unhealthy(failures: int) -> bool:
    return failures >= UNHEALTHY_AFTER


def pause(failures: int) -> timedelta | None:
    """How long nothing is sent after so many failures in a row; None while the channel counts as healthy."""
    if not is_unhealthy(failures):
        return None
    doublings = min(failures - UNHEALTHY_AFTER, 16)
    grown: timedelta = FIRST_PAUSE * int(2**doublings)
    return min(grown, LONGEST_PAUSE)


def is_news(failures: int, failing_since: datetime | None, disabled_by_receiver: bool, now: datetime) -> bool:
    """Whether people should hear, over the other channels, that this one does not work."""
    if failing_since is None:
        return False
    return disabled_by_receiver or (is_unhealthy(failures) and now - failing_since >= TELL_AFTER)
