"""Scores of a plain series of values: what the backtest writes for recordings in the format `series`.

One detector, `novelty`, whose score s becomes s / (s + 1): in [0, 1), an alert from 0.5. Nothing is chosen by looking
ahead: the score of a sample depends on it and on those before it.

>>> import numpy as np
>>> values = np.sin(np.arange(2000) / 20.0)
>>> values[1500] = 4.0
>>> int(np.argmax(score_series(values, np.arange(2000) * 60.0)[750:])) + 750
1500
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import novelty
from anomalies.detection.novelty import NOVELTY_STATE
from baselines.stats.compiled import compiled
from baselines.stats.window import Record

ALERT = 0.5


@compiled
def _scores(state: Record, values: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = np.empty(len(values))
    for place in range(len(values)):
        score = novelty.update(state, values[place])
        scores[place] = score / (score + 1.0)
    return scores


def score_series(values: NDArray[np.float64], timestamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The score of every sample: float64[n] in [0, 1), an alert from ALERT. What is missing scores 0.

    `values` float64[n] in any unit; `timestamps` float64[n], unix seconds. Samples count in their given order, as the
    sources of such series repeat and shift timestamps; their distances in time are not used. Raises ValueError if
    there is not one timestamp for each value.
    """
    samples = np.ascontiguousarray(values, np.float64)
    if samples.ndim != 1 or np.shape(timestamps) != samples.shape:
        raise ValueError(f"one timestamp per value is needed, not {np.shape(timestamps)} for {samples.shape}")
    return np.asarray(_scores(np.zeros(1, NOVELTY_STATE)[0], samples))
