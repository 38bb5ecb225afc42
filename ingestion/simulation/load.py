"""How busy the world is: the hour of the day, and a slow wander of its own for every stream."""

from __future__ import annotations

from functools import lru_cache
from math import exp, pi, sin

import numpy as np
from numpy.typing import NDArray

SLOT_SECONDS = 10
"""Traffic is drawn in slots of this length; within one the load is constant."""

DAY_SECONDS = 86_400
PEAK_HOUR = 14
RATE_SWING = 0.30  # of the mean rate, up at the peak hour and down twelve hours later
LATENCY_SWING = 0.05  # log latency, likewise
WANDER_SD = 0.04  # log
PERSISTENCE = 0.95  # of the wander from slot to slot: a memory of some 200 s
MEMORY_SLOTS = 150  # 0.95 ** 150 < 0.0005: older noise no longer matters
BLOCK_SLOTS = 256
_WANDER_DRAWS = 1

_MEMORY = WANDER_SD * np.sqrt(1 - PERSISTENCE**2) * PERSISTENCE ** np.arange(MEMORY_SLOTS)


def time_of_day(slot: int) -> float:
    """-1 in the quietest hour, 1 in the busiest."""
    seconds = (slot * SLOT_SECONDS) % DAY_SECONDS
    return sin(2 * pi * (seconds / DAY_SECONDS - (PEAK_HOUR - 6) / 24))


def wander(seed: int, key: int, slot: int) -> float:
    """The AR(1) noise of stream `key` in `slot`: log, mean 0, standard deviation WANDER_SD.

    It is summed up from the last MEMORY_SLOTS innovations instead of stepped from a beginning, so that any moment
    can be had without all that came before it, and is the same wherever a run starts.
    """
    block, place = divmod(slot, BLOCK_SLOTS)
    return float(_wander_block(seed, key, block)[place])


@lru_cache(maxsize=256)
def _wander_block(seed: int, key: int, block: int) -> NDArray[np.float64]:
    noise = np.concatenate([_innovations(seed, key, block - 1), _innovations(seed, key, block)])
    return np.convolve(noise, _MEMORY)[BLOCK_SLOTS : 2 * BLOCK_SLOTS]


def _innovations(seed: int, key: int, block: int) -> NDArray[np.float64]:
    return np.random.default_rng([seed, key, block, _WANDER_DRAWS]).standard_normal(BLOCK_SLOTS)


def rate_factor(seed: int, key: int, slot: int) -> float:
    """The rate of a stream in a slot over its mean."""
    return (1 + RATE_SWING * time_of_day(slot)) * exp(wander(seed, key, slot))


def latency_factor(seed: int, key: int, slot: int) -> float:
    """The latency of a stream in a slot over its median: the busier, the slower."""
    return exp(LATENCY_SWING * time_of_day(slot) + wander(seed, key, slot))
