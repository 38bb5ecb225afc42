"""Policies: what configuration and operators say of a series, as the kernels read it.

Most series have the policy that the configuration has for their metric, whose row is the number of the metric. What an
override says makes a further one; all series of which the same is said share it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from anomalies.detection.arrays import DIRECTIONS, POLICY, SEVERITIES, UNTOLD, Tables
from anomalies.detection.overrides import NOTHING, Override, OverrideSet
from anomalies.detection.settings import CLASSIC, DETECTORS, SENSITIVITY_FACTORS, DetectionSettings
from anomalies.detection.types import INFO_ONLY, anomaly_type
from baselines.stats.compiled import inlined
from baselines.stats.series import EVENT_METRICS, METRICS, Pair

MUTED = Override(muted=True)


@inlined
def threshold_of(tables: Tables, pair: int, metric: int, detector: int) -> float:
    """What the score of a detector is to be divided by (of a classic one: its threshold); infinite where it is off."""
    return float(tables.policies[tables.policy_of[pair, metric]].threshold[detector])


@inlined
def ceiling_of(tables: Tables, pair: int, metric: int, direction: int) -> int:
    """The gravest severity that is told of a departure; UNTOLD where none is to be told of."""
    return int(tables.policies[tables.policy_of[pair, metric]].ceiling[direction])


class Policies:
    """The distinct policies under some settings and overrides; `table` grows as pairs ask for theirs."""

    def __init__(self, settings: DetectionSettings, overrides: OverrideSet) -> None:
        self._settings = settings
        self._overrides = overrides
        self._rows: dict[tuple[int, Override], int] = {}
        self._of_rules: dict[tuple[int, ...], NDArray[np.int32]] = {}
        self.table = np.array([_policy(settings, metric, NOTHING) for metric in range(len(METRICS))], POLICY)

    def of(self, pair: Pair, *, muted: bool = False) -> NDArray[np.int32]:
        """The rows of `table` for the metrics of a pair: int32[METRICS]; all of them muted if it is."""
        if muted:
            return np.array([self._row(metric, MUTED) for metric in range(len(METRICS))], np.int32)
        rules = self._overrides.about(*pair)
        if rules not in self._of_rules:
            resolved = [self._overrides.resolve_among(rules, metric) for metric in METRICS]
            rows = [self._row(metric, said) for metric, said in enumerate(resolved)]
            self._of_rules[rules] = np.array(rows, np.int32)
        return self._of_rules[rules]

    def _row(self, metric: int, said: Override) -> int:
        if said == NOTHING:
            return metric
        row = self._rows.setdefault((metric, said), len(self.table))
        if row == len(self.table):
            self.table = np.append(self.table, np.array([_policy(self._settings, metric, said)], POLICY))
        return row


def _policy(settings: DetectionSettings, metric: int, said: Override) -> tuple[object, ...]:
    name = METRICS[metric]
    thresholds = [_threshold(settings, detector, name, said) for detector in DETECTORS]
    configured = settings.min_deviation.get(name, 0.0)
    deviation = configured if said.min_deviation is None else said.min_deviation
    return thresholds, deviation, [_ceiling(name, direction, said) for direction in DIRECTIONS]


def _threshold(settings: DetectionSettings, detector: str, metric: str, said: Override) -> float:
    """The threshold of a detector for a metric, after sensitivity."""
    is_blind = detector in CLASSIC and metric not in EVENT_METRICS
    if is_blind or not said.runs(detector, configured=settings.runs(detector, metric)):
        return math.inf
    sensitivity = SENSITIVITY_FACTORS[said.sensitivity or settings.sensitivity]
    if detector in CLASSIC:
        return said.threshold(detector, settings.threshold(detector)) * sensitivity
    return said.threshold(detector, 1.0) * settings.caution * sensitivity


def _ceiling(metric: str, direction: str, said: Override) -> int:
    """Drops and surges stay info, unless an override says by name that this direction counts."""
    if said.muted or not said.admits(direction):
        return UNTOLD
    is_quiet = said.direction is None and anomaly_type(metric, direction) in INFO_ONLY
    return 0 if is_quiet else len(SEVERITIES) - 1
