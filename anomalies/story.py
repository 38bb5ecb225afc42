"""An anomaly told to a person: one sentence with units, and the numbers behind it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from anomalies.models import THRESHOLD, Anomaly

SUBJECTS = {
    "latency_ms": "Latency",
    "ttft_ms": "Time to the first token",
    "prompt_tokens": "Prompt tokens per call",
    "completion_tokens": "Completion tokens per call",
    "total_tokens": "Tokens per call",
    "cost_usd": "Cost per call",
    "quality_score": "Quality",
    "error_rate": "Error rate",
    "request_rate": "Request rate",
    "cost_per_minute": "Cost per minute",
    "tokens_per_minute": "Tokens per minute",
    "prompt_tokens_distribution": "The median of prompt tokens",
    "completion_tokens_distribution": "The median of completion tokens",
    "finish_reason": "The change of finish reasons (population stability index)",
    "embedding": "The cosine distance of embeddings",
}

# How a call has a value of each dimension.
_HAVE = {
    "user": "come from user",
    "region": "come from region",
    "prompt_version": "use prompt version",
    "finish_reason": "finish with",
}


def quantity(value: float | None, metric: str) -> str:
    """A value in the unit of its metric, in as many digits as a person reads: "1.23 s", "$0.0042", "—" for None."""
    if value is None:
        return "—"
    if metric.endswith("_ms"):
        return f"{value / 1000:.3g} s" if abs(value) >= 1000 else f"{value:.3g} ms"
    if metric in ("cost_usd", "cost_per_minute"):
        return f"${value:,.2f}" if abs(value) >= 100 else f"${value:.3g}"
    if metric == "error_rate":
        return f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def band(anomaly: Anomaly) -> str:
    """What was expected: "0.8 s to 1.9 s", or the edge that is known."""
    low, high = (quantity(edge, anomaly.metric) for edge in (anomaly.lower, anomaly.upper))
    if anomaly.lower is None and anomaly.upper is None:
        median = anomaly.baseline_median
        return "unknown" if median is None else f"about {quantity(median, anomaly.metric)}"
    if anomaly.lower is None:
        return f"at most {high}"
    return f"at least {low}" if anomaly.upper is None else f"{low} to {high}"


def times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def duration(length: timedelta) -> str:
    """As people say it: "40 s", "4 min"."""
    seconds = length.total_seconds()
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def common(anomaly: Anomaly) -> str:
    """What its calls have in common: "60 % of the calls come from region eu-west-1 (usually 30 %)."; may be empty."""
    return f"{'; '.join(map(_excess, anomaly.dimensions))}." if anomaly.dimensions else ""


def _excess(found: dict[str, Any]) -> str:
    share, usual = (f"{100 * found[name]:.0f} %" for name in ("share", "usual_share"))
    usually = f"usually {usual}" if found["usual_share"] > 0 else "never seen before"
    return f"{share} of the calls {_HAVE[found['dimension']]} {found['value']} ({usually})"


def _beyond(anomaly: Anomaly) -> str:
    """What was usual, or what somebody has set: “slow”: p95 over 5 min at most 2 s."""
    if anomaly.detector != THRESHOLD or not anomaly.details:
        return f"expected {band(anomaly)}"
    said = anomaly.details
    return (
        f"the threshold “{said['threshold']}” allows {band(anomaly)} ({said['aggregation']} over {said['window']} min)"
    )


def sentence(anomaly: Anomaly) -> str:
    """What happened, where, how far from normal, how often, from when to when (UTC)."""
    if "text" in anomaly.details:
        return str(anomaly.details["text"])
    subject = SUBJECTS.get(anomaly.metric, anomaly.metric)
    moved = "rose" if anomaly.direction == "up" else "fell"
    peak = quantity(anomaly.value, anomaly.metric)
    happened = f"{subject} of {anomaly.service.name} ({anomaly.model}) {moved} to {peak}, {_beyond(anomaly)}."
    seen = f"Seen {times(anomaly.occurrences)}, {anomaly.first_seen:%Y-%m-%d %H:%M:%S}"
    until = f" to {anomaly.last_seen:%Y-%m-%d %H:%M:%S}" if anomaly.last_seen != anomaly.first_seen else ""
    return f"{happened} {seen}{until} UTC."
