"""What an episode's deviating events have in common: values that are more frequent among them than in all traffic.

    share = k / n             k of the n deviating events have the value (the first MOST_EVENTS of the episode)
    usual = its share in the background of the pair (anomalies.detection.dimensions) when the episode opened
    G     = 2 sum O ln(O / E) over the 2 x 2 table of deviating and usual events, with the value and without it
    p     = erfc(sqrt(G / 2)) / 2 * values        one-sided, adjusted for all values that were counted (Bonferroni)

Told is what has p < 1e-3, at least 5 events, a share of at least 0.2, 1.5 times the usual one and 0.1 above it: what is
certain, and worth a look. The five with the largest excess (share less usual share) are kept.

Unit: shares in [0, 1]. Of random subsets of ordinary traffic one in a thousand tells anything at all. Calls that come
in bursts (of one user) are less independent than p takes them for, hence the limits on size. Memory: 64 values per
dimension and open episode; beyond that a new value takes the place, and the count, of the rarest (space-saving:
Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", ICDT 2005).
Source of the test: Dunning, "Accurate Methods for the Statistics of Surprise and Coincidence", Computational
Linguistics 19, 1993.

>>> import numpy as np
>>> from anomalies.detection.dimensions import BACKGROUND, learn
>>> background = np.zeros(1, BACKGROUND)
>>> for offset in range(1000):
...     learn(background, 0, np.array([0, code(("us", "eu", "ap")[offset % 3]), 0, 0], np.uint32), offset)
>>> tally = Tally()
>>> for region in ["eu"] * 40 + ["us", "ap"] * 5:
...     tally.add(("", region, "", ""))
>>> over_represented(tally, background[0])
(Excess(dimension='region', value='eu', share=0.8, usual_share=0.333),)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from anomalies.detection.dimensions import DIMENSIONS, code, usual_share

MOST_EVENTS = 500  # of an episode
MOST_VALUES = 64
MOST_TOLD = 5
FEWEST = 5  # events
SMALLEST_SHARE, SMALLEST_LIFT, SMALLEST_EXCESS = 0.2, 1.5, 0.1
SMALLEST_P = 1e-3


class Excess(msgspec.Struct, frozen=True, gc=False):
    """A value of a dimension whose share among the deviating events is significantly above its usual share."""

    dimension: str
    value: str
    share: float
    usual_share: float


class Tally(msgspec.Struct, array_like=True):
    """Deviating events of one episode, counted by their value of each of DIMENSIONS."""

    events: int = 0
    counts: list[dict[str, int]] = msgspec.field(default_factory=lambda: [{} for _ in DIMENSIONS])

    def add(self, values: Sequence[str]) -> None:
        """Count an event by its values, "" where it has none."""
        self.events += 1
        for counts, value in zip(self.counts, values, strict=True):
            if not value:
                continue
            if value not in counts and len(counts) >= MOST_VALUES:
                rarest = min(counts, key=counts.__getitem__)
                counts[value] = counts.pop(rarest)
            counts[value] = counts.get(value, 0) + 1


def over_represented(tally: Tally, background: np.void) -> tuple[Excess, ...]:
    """What the counted events have in common, the largest excess first; `background` is a BACKGROUND record."""
    found = sorted(_found(tally, background), key=lambda one: (one.usual_share - one.share, one.dimension, one.value))
    return tuple(found[:MOST_TOLD])


def _found(tally: Tally, background: np.void) -> Iterator[Excess]:
    tests = sum(len(counts) for counts in tally.counts)
    usual_events = float(background["total"])
    for dimension, counts in enumerate(tally.counts):
        for value, count in counts.items():
            share = count / tally.events
            if count < FEWEST or share < SMALLEST_SHARE:
                continue
            usual = usual_share(background, dimension, code(value))
            if share < SMALLEST_LIFT * usual or share - usual < SMALLEST_EXCESS:
                continue
            if p_value(count, tally.events, usual, usual_events) * tests < SMALLEST_P:
                yield Excess(DIMENSIONS[dimension], value, round(share, 3), round(usual, 3))


def p_value(count: int, events: int, usual: float, usual_events: float) -> float:
    """The probability of `count` or more of `events` with a value that a share `usual` of `usual_events` have."""
    others = usual * usual_events
    observed = ((count, events - count), (others, usual_events - others))
    column_sums = (count + others, events + usual_events - count - others)
    total = events + usual_events
    statistic = 0.0
    for row, size in zip(observed, (events, usual_events), strict=True):
        for cell, column in zip(row, column_sums, strict=True):
            if cell > 0:
                statistic += 2.0 * cell * math.log(cell * total / (size * column))
    return math.erfc(math.sqrt(max(statistic, 0.0) / 2.0)) / 2.0
