"""Static thresholds: from the minutes of a series to a breach that begins, goes on and ends.

A threshold looks at windows that end with each minute, so two of them that follow each other share all but a minute.
It is breached once `breaches` of the last `out_of` windows are beyond the limit, and over once none of them is: what
hovers around the limit is one breach. All is worked out anew from the minutes each time, so minutes that come late
count, and nothing is remembered but the last breach; a window that belongs to it never begins another one.

Times are whole minutes since 1970: a window of three that ends at 100 has the minutes that begin at 97, 98 and 99.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.stats.series import MINUTE_METRICS
from baselines.stats.sketch import BUCKETS, SKETCHED, quantile

QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
OVER_MINUTES = ("mean", "min", "max")
METRICS = (*SKETCHED, *MINUTE_METRICS)
AGGREGATIONS = (*QUANTILES, *(name for name in OVER_MINUTES if name not in QUANTILES))
COUNTED = ("request_rate", "cost_per_minute", "tokens_per_minute")
"""Metrics that are 0 where there are no calls."""
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
NO_DATA = ("keep", "ok", "breach")
MAX_MINUTES = 60
"""Of a window, and the most windows that are looked at."""

SETTLED_AFTER = 60
"""Seconds: a minute closes 30 s after its end; the rest is what the pipeline usually lags."""
PATIENCE = 5
"""Minutes to wait for a pipeline that has written nothing. Then it is taken for what it looks like: no calls."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What is not to be exceeded; `value` in the unit of the metric, `window` in minutes."""

    metric: str
    aggregation: str
    window: int
    operator: str
    value: float
    no_data: str = "keep"
    breaches: int = 1
    out_of: int = 1

    @property
    def direction(self) -> str:
        """Where a breach departs to: "up" or "down"."""
        return "up" if self.operator in (">", ">=") else "down"

    @property
    def reach(self) -> int:
        """How many minutes back one looks."""
        return self.window + self.out_of - 1

    def is_exceeded_by(self, value: float) -> bool:
        return OPERATORS[self.operator](value, self.value)

    def score_of(self, value: float) -> float:
        """1 at the limit, 2 where it is off by as much again."""
        return 1.0 + abs(value - self.value) / (self.value or 1.0)


def problems_of_limit(limit: Limit) -> dict[str, list[str]]:
    """What is wrong with a limit, by field; empty where it can be used."""
    found = {
        "metric": limit.metric not in METRICS and f"must be one of {', '.join(METRICS)}",
        "aggregation": _aggregation_problem(limit),
        "operator": limit.operator not in OPERATORS and f"must be one of {' '.join(OPERATORS)}",
        "window": not 1 <= limit.window <= MAX_MINUTES and f"must be 1 to {MAX_MINUTES} minutes",
        "value": _value_problem(limit),
        "out_of": not 1 <= limit.out_of <= MAX_MINUTES and f"must be 1 to {MAX_MINUTES} windows",
        "breaches": not 1 <= limit.breaches <= limit.out_of and "must be at least 1 and at most out_of",
        "no_data": _no_data_problem(limit),
    }
    return {field: [problem] for field, problem in found.items() if problem}


def _aggregation_problem(limit: Limit) -> str:
    allowed = OVER_MINUTES if limit.metric in MINUTE_METRICS else tuple(QUANTILES)
    return "" if limit.aggregation in allowed else f"of {limit.metric} must be one of {', '.join(allowed)}"


def _value_problem(limit: Limit) -> str:
    if not math.isfinite(limit.value) or limit.value < 0:
        return "must be a number that is not negative: no metric ever is"
    if limit.metric == "error_rate" and limit.value > 1:
        return "of error_rate must be 0 to 1: 0.05 is 5 %"
    return ""


def _no_data_problem(limit: Limit) -> str:
    if limit.no_data not in NO_DATA:
        return f"must be one of {', '.join(NO_DATA)}"
    if limit.no_data == "breach" and (limit.metric not in COUNTED or limit.direction == "up"):
        return f'"breach" needs a lower limit for what is 0 without calls: {", ".join(COUNTED)}'
    return ""


@dataclass(slots=True)
class Sums:
    """What is known of one minute; `histogram` of the metric's values, where a quantile is asked for."""

    count: int = 0
    errors: int = 0
    cost_usd: float = 0.0
    tokens: int = 0
    histogram: NDArray[np.uint64] = dataclass_field(default_factory=lambda: np.zeros(BUCKETS, np.uint64))

    def rate(self, metric: str) -> float:
        """The value of a metric of minutes; there must be calls."""
        if metric == "error_rate":
            return self.errors / self.count
        return float({"request_rate": self.count, "cost_per_minute": self.cost_usd}.get(metric, self.tokens))


class Outcome(Enum):
    """Of one window."""

    FINE = "fine"
    OVER = "over"
    UNKNOWN = "unknown"


class Point(NamedTuple):
    """One window, by its end; `value` is None where it has no data."""

    end: int
    value: float | None
    outcome: Outcome


class Breach(NamedTuple):
    """From the first window that was beyond the limit to the last one, how many there were, and the worst value."""

    first_end: int
    last_end: int
    windows: int
    peak: float
    is_active: bool


def judged_until(now: float, newest_minute: int | None) -> int:
    """The end of the last window to look at, at `now` (seconds); `newest_minute` is the last one that anybody wrote.

    While the pipeline is behind (a restart, a deploy) one waits for it: minutes that are not written yet look as if
    there had been no calls. Not for ever, or a broken pipeline would hide that there are none.
    """
    settled = int((now - SETTLED_AFTER) // 60)
    if newest_minute is None:
        return settled
    written = newest_minute + 1
    return written if 0 < settled - written <= PATIENCE else settled


def value_of(limit: Limit, minutes: Sequence[Sums]) -> float | None:
    """The value of one window from those of its minutes that have any; None without calls that count."""
    called = [minute for minute in minutes if minute.count]
    if not called:
        return None
    if limit.metric not in MINUTE_METRICS:
        histogram = np.stack([minute.histogram for minute in called]).sum(axis=0, dtype=np.uint64)
        return quantile(histogram, limit.metric, QUANTILES[limit.aggregation])
    if limit.aggregation == "mean":
        return _mean(limit, called)
    rates = [minute.rate(limit.metric) for minute in called]
    # A minute without calls has no error rate, but it has a request rate.
    if limit.metric in COUNTED and len(called) < limit.window:
        rates.append(0.0)
    return min(rates) if limit.aggregation == "min" else max(rates)


def _mean(limit: Limit, called: Sequence[Sums]) -> float:
    if limit.metric == "error_rate":
        return sum(minute.errors for minute in called) / sum(minute.count for minute in called)
    return math.fsum(minute.rate(limit.metric) for minute in called) / limit.window


def points_until(limit: Limit, minutes: Mapping[int, Sums], until: int) -> list[Point]:
    """The last `out_of` windows, oldest first; `minutes` by their beginning."""
    ends = range(until - limit.out_of + 1, until + 1)
    return [_point(limit, minutes, end) for end in ends]


def _point(limit: Limit, minutes: Mapping[int, Sums], end: int) -> Point:
    value = value_of(limit, [minutes[at] for at in range(end - limit.window, end) if at in minutes])
    if value is not None:
        return Point(end, value, Outcome.OVER if limit.is_exceeded_by(value) else Outcome.FINE)
    missing = {"keep": Outcome.UNKNOWN, "ok": Outcome.FINE, "breach": Outcome.OVER}
    return Point(end, None, missing[limit.no_data])


def follow(limit: Limit, points: Sequence[Point], last: Breach | None) -> Breach | None:
    """What becomes of a series, given its latest windows and its last breach; None where nothing changes."""
    over = [point for point in points if point.outcome is Outcome.OVER]
    news = [point for point in over if last is None or point.end > last.last_end]
    if last is None or not last.is_active:
        return _begin(limit, news) if news and len(news) >= limit.breaches else None
    if news:
        return _extend(limit, last, news)
    is_over = not over and any(point.outcome is Outcome.FINE for point in points)
    return last._replace(is_active=False) if is_over else None


def _begin(limit: Limit, news: Sequence[Point]) -> Breach:
    return Breach(news[0].end, news[-1].end, len(news), _worst(limit, news), is_active=True)


def _extend(limit: Limit, last: Breach, news: Sequence[Point]) -> Breach:
    worst = max if limit.direction == "up" else min
    peak = worst(last.peak, _worst(limit, news))
    return last._replace(last_end=news[-1].end, windows=last.windows + len(news), peak=peak)


def _worst(limit: Limit, points: Sequence[Point]) -> float:
    """Windows without data that count are of metrics that are 0 then."""
    values = [point.value or 0.0 for point in points]
    return max(values) if limit.direction == "up" else min(values)
