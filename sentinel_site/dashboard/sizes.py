"""How much an anomaly comes to: dollars, waiting, calls, beyond what is usual."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from anomalies import story
from anomalies.models import Anomaly
from baselines.stats.sketch import SKETCHED
from sentinel_site.dashboard.percentiles import Counts, mean

TIMES = ("latency_ms", "ttft_ms")
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


@dataclass(frozen=True)
class Seen:
    """What was seen while it lasted: sums of the pair's minutes, their number, and the sketch of the metric."""

    calls: float
    errors: float
    cost: float
    tokens: float
    minutes: int
    counts: Counts | None = None


@dataclass(frozen=True)
class Size:
    """`amount` as people say it, and what it is an amount of."""

    amount: str
    of_what: str


def size_of(anomaly: Anomaly, seen: Seen) -> Size | None:
    """What the anomaly comes to; None where the minutes do not tell, or it comes to nothing."""
    usual = anomaly.baseline_mean if anomaly.baseline_mean is not None else anomaly.baseline_median
    if usual is None or not seen.calls:
        return None
    if anomaly.metric in TIMES:
        return _waiting(anomaly.metric, usual, seen)
    if anomaly.metric in ("cost_usd", "cost_per_minute", *TOKENS):
        return _dollars(anomaly.metric, usual, seen)
    if anomaly.metric == "error_rate":
        return _calls(seen.errors - usual * seen.calls, "failed calls")
    if anomaly.metric == "request_rate":
        return _calls(seen.calls - usual * seen.minutes, "calls")
    return None


def _waiting(metric: str, usual_ms: float, seen: Seen) -> Size | None:
    if seen.counts is None or not seen.counts.sum():
        return None
    extra = (mean(seen.counts, SKETCHED.index(metric)) - usual_ms) * float(seen.counts.sum()) / 1000
    if extra < 1:
        return None
    return Size(f"{_length(extra)}", f"more waiting than usual, over {seen.calls:,.0f} calls")


def _dollars(metric: str, usual: float, seen: Seen) -> Size | None:
    if metric == "cost_per_minute":
        extra = seen.cost - usual * seen.minutes
    elif metric == "cost_usd":
        extra = seen.cost - usual * seen.calls
    elif seen.counts is not None and seen.counts.sum():
        # Dollars follow tokens: what the calls cost, less what they would have cost with the usual number.
        extra = seen.cost * (1 - usual / mean(seen.counts, SKETCHED.index(metric)))
    else:
        return None
    return Size(f"${extra:,.2f}", f"more than usual, over {seen.calls:,.0f} calls") if extra >= 0.005 else None


def _calls(extra: float, what: str) -> Size | None:
    if abs(extra) < 1:
        return None
    return Size(f"{abs(extra):,.0f}", f"{what} {'more' if extra > 0 else 'fewer'} than usual")


def _length(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return story.duration(timedelta(seconds=seconds))
    return f"{seconds / 3600:,.1f} h"
