"""What people read of an anomaly on the pages."""

from __future__ import annotations

from anomalies import story
from anomalies.models import Anomaly


def departure(anomaly: Anomaly) -> str:
    """What moved where, against what: "Latency rose to 7.5 s, expected 2.31 s to 5.1 s"."""
    subject = story.SUBJECTS.get(anomaly.metric, anomaly.metric.replace("_", " ").capitalize())
    moved = "rose" if anomaly.direction == "up" else "fell"
    return f"{subject} {moved} to {actual(anomaly)}, expected {expected(anomaly)}"


def actual(anomaly: Anomaly) -> str:
    return story.quantity(anomaly.value, anomaly.metric)


def expected(anomaly: Anomaly) -> str:
    """The band, unless the peak lies in it: what shifts, departs as a whole while each value may be a usual one."""
    if is_within(anomaly):
        for usual in (anomaly.baseline_median, anomaly.baseline_mean):
            if usual is not None and (anomaly.value - usual) * _sign(anomaly) > 0:
                return f"about {story.quantity(usual, anomaly.metric)}"
    return story.band(anomaly)


def is_within(anomaly: Anomaly) -> bool:
    """Whether the peak lies between the edges of what is expected of one value."""
    low = -float("inf") if anomaly.lower is None else anomaly.lower
    high = float("inf") if anomaly.upper is None else anomaly.upper
    return low <= anomaly.value <= high


def times_usual(anomaly: Anomaly) -> str:
    """How far it went: "3.1 times the usual"; empty where that says nothing."""
    usual = anomaly.baseline_median or anomaly.baseline_mean
    if not usual or usual <= 0 or anomaly.value <= 0 or (anomaly.value - usual) * _sign(anomaly) <= 0:
        return ""
    ratio = anomaly.value / usual
    return f"{ratio:.2g} times the usual" if ratio < 100 else f"{ratio:,.0f} times the usual"


def _sign(anomaly: Anomaly) -> int:
    return 1 if anomaly.direction == "up" else -1
