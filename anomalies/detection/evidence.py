"""Evidence: what the calibrated detectors say after one event, by signal, and how cautious they are told to be.

A signal is one metric in one direction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import shift
from anomalies.detection.arrays import DOWN, UP
from anomalies.detection.shift import Verdict
from baselines.stats.compiled import inlined
from baselines.stats.window import Record

# What evidence is about; each is one metric in one direction.
LATENCY_SIGNAL, TOKENS_SIGNAL, COST_SIGNAL, RATE_SIGNAL, ERROR_SIGNAL, TTFT_SIGNAL, PROMPT_SIGNAL = range(7)
QUALITY_SIGNAL, FASTER, SHORTER, CHEAPER, SURGE, TTFT_FASTER, PROMPT_SHORTER = range(7, 14)
SIGNALS = 14
NO_SIGNAL = -1
# Which detector gave it.
BY_SHIFT, BY_SPIKE, BY_BURST = range(3)
EVIDENCE = 3


class Caution(NamedTuple):
    """Factors on the thresholds of the channels of one pair; infinite where a detector does not run."""

    latency: float
    latency_spike: float
    tokens: float
    cost: float
    rate: float
    pace: float
    errors: float
    input_tokens: float
    first_token: float
    first_token_spike: float
    quality: float


class Evidence(NamedTuple):
    """What the channels say after one event: written anew by every `observe`."""

    scores: NDArray[np.float64]  # [SIGNALS, EVIDENCE], 1.0 is the detector's threshold
    effects: NDArray[np.float64]  # [SIGNALS], ln of the factor that the deviation is: 0.26 is 30 % more (or less)
    expected: NDArray[np.float64]  # [SIGNALS], what was expected of this event, as the channel sees it: a logarithm
    spread: NDArray[np.float64]  # [SIGNALS], standard deviation of that
    limits: NDArray[np.float64]  # [SIGNALS], where `spike` fires: the smallest value, as expected, for which it would
    is_active: NDArray[np.bool_]  # [SIGNALS], whether the evidence lasts
    is_adopted: NDArray[np.bool_]  # [SIGNALS], whether the level was adopted with this event
    deviates: NDArray[np.bool_]  # [SIGNALS], whether this very event departs: it failed, or lies over a spread away


def no_evidence() -> Evidence:
    """Room for evidence."""
    number, flag = np.zeros((4, SIGNALS)), np.zeros((3, SIGNALS), np.bool_)
    return Evidence(
        np.zeros((SIGNALS, EVIDENCE)), number[0], number[1], number[2], number[3], flag[0], flag[1], flag[2]
    )


@inlined
def clear(evidence: Evidence) -> None:
    """Make room for the next event."""
    for signal in range(SIGNALS):
        for detector in range(EVIDENCE):
            evidence.scores[signal, detector] = 0.0
        evidence.effects[signal] = 0.0
        evidence.is_adopted[signal] = False
        evidence.deviates[signal] = False


@inlined
def expect(evidence: Evidence, signal: int, verdict: Verdict, explained: float, deviates: bool) -> None:
    """Note what was expected of a value beyond the part of it that is explained."""
    evidence.expected[signal] = explained + verdict.expected
    evidence.spread[signal] = verdict.spread
    evidence.deviates[signal] = deviates


@inlined
def add_rise(evidence: Evidence, signal: int, state: Record, verdict: Verdict, scale: int) -> bool:
    """Add what one channel said of a rise; whether it lasts. `scale`: events over which the effect is measured."""
    evidence.scores[signal, BY_SHIFT] = max(evidence.scores[signal, BY_SHIFT], verdict.score)
    if verdict.phase == shift.ADOPTED_LEVEL:
        evidence.is_adopted[signal] = True
    lasts = state.age[UP] > 0
    if lasts and scale > 0:
        evidence.effects[signal] = max(evidence.effects[signal], shift.effect(state, scale, UP))
    return bool(lasts)


@inlined
def add_fall(evidence: Evidence, signal: int, state: Record, verdict: Verdict, scale: int) -> bool:
    """The same of a drop."""
    evidence.scores[signal, BY_SHIFT] = max(evidence.scores[signal, BY_SHIFT], verdict.drop)
    if verdict.drop_phase == shift.ADOPTED_LEVEL:
        evidence.is_adopted[signal] = True
    lasts = state.age[DOWN] > 0
    if lasts and scale > 0:
        evidence.effects[signal] = max(evidence.effects[signal], shift.effect(state, scale, DOWN))
    return bool(lasts)


@inlined
def keep(clock: Record, signal: int, lasts: bool) -> None:
    """Note whether a signal lasts."""
    bit = np.uint32(1 << signal)
    clock.lasting = clock.lasting | bit if lasts else clock.lasting & ~bit
