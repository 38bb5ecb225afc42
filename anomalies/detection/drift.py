"""Drift: whether the recent values of a series are distributed as those of a frozen reference window.

    PSI   = sum over bins of (r - q) ln(r / q)                q, r: shares of reference and recent values
    D     = max |F_reference - F_recent|                      (Kolmogorov-Smirnov)
    p     = Q((sqrt(n) + 0.12 + 0.11 / sqrt(n)) D) * comparisons,   Q(x) = 2 sum (-1)^(k-1) exp(-2 k^2 x^2)
    score = min(PSI / max(0.2, noise), ln p / ln 0.01, D / 0.1)

n is the harmonic 1 / (1/reference + 1/recent) of the two sample sizes. Bins are the deciles of the reference; a value
that is a tenth of it or more has a bin of its own, so that constants and few distinct values work. Noise is what PSI
reaches by chance once in a hundred thousand times, (1/reference + 1/recent) times the quantile of chi-square with a
degree of freedom less than bins. All three must agree: PSI alone rings on small samples, p alone on large ones.

For embeddings the score is the cosine distance of the two mean vectors over max(0.1, noise), where noise is twenty
times what the scatter of the vectors around their mean leads to expect by chance; for categories (finish reasons) it
is the PSI of their counts.

Unit: none; 1.0 is the threshold. On independent values none of 120 000 comparisons rang, on the tokens of a production
LLM service none of 5 000, in their own order or in blocks. Autocorrelation makes windows worth less than their size: at
0.9 from one value to the next every fifth comparison rings, such series are for `shift`. A shift by half a standard
deviation is found nine times in ten once the recent window has it, one by a whole standard deviation once half of the
window has it. Values closer than a millionth of their size are one value; what is missing is skipped. State: 4 kB per
series; a comparison takes 10 us.

Sources: Siddiqi, "Credit Risk Scorecards", 2006 (0.2 means a major shift); its null distribution: Yurdakul and Naranjo,
"Statistical Properties of the Population Stability Index", Journal of Risk Model Validation 14, 2020; the
approximation of p: Stephens, "Use of the Kolmogorov-Smirnov, Cramer-Von Mises and Related Statistics Without Extensive
Tables", JRSS B 32, 1970; of chi-square: Wilson and Hilferty, PNAS 17, 1931.

>>> import numpy as np
>>> state = np.zeros(1, DRIFT_STATE)
>>> values = np.random.default_rng(1).lognormal(6.0, 0.8, 1500)
>>> for value in values:
...     update(state[0], value)
>>> score(state[0]) < 1.0
True
>>> for value in values[:400] * 2.0:
...     update(state[0], value)
>>> score(state[0]) > 1.0
True
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.missing import is_missing
from anomalies.detection.spread import ABSOLUTE_STDDEV
from baselines.stats.compiled import compiled
from baselines.stats.ordering import ascending
from baselines.stats.window import Record

REFERENCE = 500  # values of the frozen window
RECENT = 500  # values it is compared with
BINS = 10
STABLE = 0.2  # PSI
CERTAIN = 0.01  # p
SMALL = 0.1  # D
COMPARISONS = 1000.0  # that p is adjusted for (Bonferroni): a day of minutes
CHANCE = 4.264890794  # quantile of the normal distribution at 1 - 1e-5
FEWEST_COUNT = 0.5  # what an empty bin counts for
SAME = 1e-6  # relative distance of values that are one value
ALIKE = 0.1  # cosine distance
SCATTER = 20.0  # times what chance is expected to do: once in a hundred thousand times, even in one dimension
SMALLEST_P = 1e-300

Vector = NDArray[np.floating[Any]]

DRIFT_STATE = np.dtype(
    [
        ("seen", "<i8"),  # since the reference was begun
        ("reference", "<f4", (REFERENCE,)),  # ascending once it is full
        ("recent", "<f4", (RECENT,)),  # a ring
    ]
)


@compiled
def update(state: Record, value: float) -> None:
    """Learn one value: first the reference is filled and frozen, then the recent window slides. Missing is skipped."""
    if is_missing(value):
        return
    if state.seen < REFERENCE:
        state.reference[state.seen] = value
        if state.seen == REFERENCE - 1:
            state.reference[:] = ascending(state.reference)
    else:
        state.recent[(state.seen - REFERENCE) % RECENT] = value
    state.seen += 1


@compiled
def adopt(state: Record) -> None:
    """Begin anew with the next values as the reference: after a change that is known and wanted."""
    state.seen = 0


@compiled
def score(state: Record) -> float:
    """The score of the recent window; 0 until both windows are full."""
    if state.seen < REFERENCE + RECENT:
        return 0.0
    return distribution_score(state.reference.astype(np.float64), ascending(state.recent).astype(np.float64))


@compiled
def distribution_score(reference: NDArray[np.float64], recent: NDArray[np.float64]) -> float:
    """The score of two ascending samples."""
    distance = ks_distance(reference, recent)
    adjusted = min(1.0, ks_p_value(distance, len(reference), len(recent)) * COMPARISONS)
    if adjusted >= 1.0:
        return 0.0
    significance = math.log(max(adjusted, SMALLEST_P)) / math.log(CERTAIN)
    edges = bin_edges(reference)
    stability = category_score(binned(reference, edges), binned(recent, edges))
    return min(stability, significance, distance / SMALL)


@compiled
def is_upward(state: Record) -> bool:
    """Whether the median of the recent window is the larger one; both windows are full."""
    return bool(np.median(state.recent) >= np.median(state.reference))


@compiled
def _tolerance(value: float) -> float:
    return SAME * abs(value) + ABSOLUTE_STDDEV


@compiled
def bin_edges(reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper edges of all bins but the last, from the deciles of an ascending reference: float64[at most 2 * BINS - 2].

    A value that is a tenth of the reference or more has an edge below it too, and so a bin of its own.
    """
    edges = np.empty(2 * BINS)
    count = 0
    for part in range(1, BINS):
        value = reference[part * len(reference) // BINS]
        below, above = value - _tolerance(value), value + _tolerance(value)
        if count > 0 and below <= edges[count - 1]:
            continue
        same = np.searchsorted(reference, above, side="right") - np.searchsorted(reference, below)
        if same * BINS >= len(reference):
            edges[count] = below
            count += 1
        edges[count] = above
        count += 1
    return edges[:count]


@compiled
def binned(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many of ascending values lie in each bin: float64[len(edges) + 1]."""
    places = np.searchsorted(values, edges, side="right")
    counts = np.empty(len(edges) + 1)
    before = 0
    for place in range(len(edges)):
        counts[place] = places[place] - before
        before = places[place]
    counts[len(edges)] = len(values) - before
    return counts


@compiled
def stability_index(reference: NDArray[np.float64], recent: NDArray[np.float64]) -> float:
    """The population stability index of two arrays of counts, one place per bin or category; neither is empty."""
    expected = np.maximum(reference, FEWEST_COUNT)
    found = np.maximum(recent, FEWEST_COUNT)
    expected, found = expected / expected.sum(), found / found.sum()
    index: float = 0.0
    for place in range(len(expected)):
        index += (found[place] - expected[place]) * math.log(found[place] / expected[place])
    return index


@compiled
def chance_index(bins: int, reference: float, recent: float) -> float:
    """The index that two samples of one distribution exceed once in a hundred thousand times, by their sizes."""
    freedom = max(bins - 1.0, 1.0)
    spread = 2.0 / (9.0 * freedom)
    quantile = freedom * (1.0 - spread + CHANCE * math.sqrt(spread)) ** 3
    return quantile * (1.0 / reference + 1.0 / recent)


@compiled
def category_score(reference: NDArray[np.float64], recent: NDArray[np.float64]) -> float:
    """The score of two arrays of counts by category; 0 while one of them is empty."""
    total, others = reference.sum(), recent.sum()
    if total <= 0.0 or others <= 0.0:
        return 0.0
    noise: float = chance_index(len(reference), total, others)
    index: float = stability_index(reference, recent)
    return index / max(STABLE, noise)


@compiled
def ks_distance(reference: NDArray[np.float64], recent: NDArray[np.float64]) -> float:
    """The largest difference of the distribution functions of two ascending samples, neither of them empty."""
    before, others, largest = 0, 0, 0.0
    while before < len(reference) and others < len(recent):
        value = min(reference[before], recent[others])
        limit = value + _tolerance(value)
        while before < len(reference) and reference[before] <= limit:
            before += 1
        while others < len(recent) and recent[others] <= limit:
            others += 1
        largest = max(largest, abs(before / len(reference) - others / len(recent)))
    return largest


@compiled
def ks_p_value(distance: float, reference: int, recent: int) -> float:
    """The probability that two samples of one distribution are at least this far apart, by their sizes."""
    root = math.sqrt(reference * recent / (reference + recent))
    x = (root + 0.12 + 0.11 / root) * distance
    if x < 0.2:
        return 1.0
    total, sign = 0.0, 1.0
    for k in range(1, 101):
        term = math.exp(-2.0 * (k * x) ** 2)
        total += sign * term
        if term < 1e-12 * total:
            break
        sign = -sign
    return min(max(2.0 * total, 0.0), 1.0)


@compiled
def embedding_distance(first: Vector, second: Vector) -> float:
    """The cosine distance of two vectors of one dimension, in [0, 2]; 0 if one of them has no direction."""
    product, squares, others = 0.0, 0.0, 0.0
    for place in range(len(first)):
        one, other = float(first[place]), float(second[place])
        product += one * other
        squares += one * one
        others += other * other
    lengths = math.sqrt(squares) * math.sqrt(others)
    if lengths <= 0.0:
        return 0.0
    return 1.0 - min(max(product / lengths, -1.0), 1.0)


@compiled
def embedding_limit(reference: Vector, references: float, recents: float) -> float:
    """The cosine distance that scores 1, of a sum of `references` unit vectors to one of `recents`."""
    squares = 0.0
    for place in range(len(reference)):
        squares += float(reference[place]) ** 2
    agreement = squares / (references * references)
    scatter = max(1.0 - agreement, 0.0) / max(agreement, SAME)
    noise = SCATTER * scatter * 0.5 * (1.0 / references + 1.0 / recents)
    return max(ALIKE, noise)
