"""When to try again: fast attempts with exponential backoff, then slow rounds until it is given up.

The fast delays use full jitter (uniform between zero and the exponential bound), which spreads a herd of retries
best: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """All times in seconds."""

    max_attempts: int = 3
    """Fast attempts, the first one included."""
    initial_delay: float = 1.0
    multiplier: float = 2.0
    max_delay: float = 30.0
    slow_initial: float = 60.0
    slow_max: float = 300.0
    """Five minutes: what waited for an outage to end is drained within ten."""
    give_up_after: float = 86_400.0
    max_retry_after: float = 3_600.0
    """What a receiver may ask for at most: an hour, or one answer could silence a channel for ever."""


def fast_bound(policy: RetryPolicy, attempts: int) -> float:
    """Upper bound of the delay after the `attempts`-th attempt (1, 2, …) of the fast ones."""
    return _grown(policy.initial_delay, policy.multiplier, attempts - 1, policy.max_delay)


def slow_bound(policy: RetryPolicy, attempts: int) -> float:
    """Upper bound of the delay after the `attempts`-th attempt once the fast ones are used up."""
    return _grown(policy.slow_initial, policy.multiplier, attempts - policy.max_attempts, policy.slow_max)


def next_delay(
    policy: RetryPolicy,
    attempts: int,
    age: float,
    retry_after: float | None = None,
    uniform: random.Random | None = None,
) -> float | None:
    """Seconds until the next attempt after `attempts` failed ones, or None when it is time to give up.

    `age` is the time since the first attempt could have been made. The last attempt falls on `give_up_after`.
    """
    left = policy.give_up_after - age
    if left <= 0:
        return None
    source = uniform or random
    if attempts < policy.max_attempts:
        delay = source.uniform(0.0, fast_bound(policy, attempts))
    else:
        bound = slow_bound(policy, attempts)
        delay = source.uniform(bound / 2, bound)
    if retry_after is not None:
        delay = max(delay, min(retry_after, policy.max_retry_after))
    return min(delay, left)


def _grown(start: float, factor: float, steps: int, ceiling: float) -> float:
    try:
        return float(min(start * factor ** max(steps, 0), ceiling))
    except OverflowError:
        return ceiling
