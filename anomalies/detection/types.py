"""What an anomaly is called, by metric and direction, and how loud its kind may be."""

from __future__ import annotations

_SPIKE_AND_DROP = {
    "latency_ms": ("latency_spike", "latency_drop"),
    "ttft_ms": ("latency_spike", "latency_drop"),
    "prompt_tokens": ("token_usage_spike", "token_usage_drop"),
    "completion_tokens": ("token_usage_spike", "token_usage_drop"),
    "total_tokens": ("token_usage_spike", "token_usage_drop"),
    "cost_usd": ("cost_anomaly", "cost_drop"),
    "tokens_per_minute": ("token_usage_spike", "token_usage_drop"),
    "cost_per_minute": ("cost_anomaly", "cost_drop"),
    "request_rate": ("traffic_surge", "throughput_degradation"),
    "error_rate": ("error_rate_increase", "error_rate_decrease"),
    "quality_score": ("quality_improvement", "quality_degradation"),
    "user_request_rate": ("usage_pattern", "usage_pattern"),
    "silence": ("silence", "silence"),
    "prompt_tokens_distribution": ("input_drift", "input_drift"),
    "completion_tokens_distribution": ("output_drift", "output_drift"),
    "finish_reason": ("concept_drift", "concept_drift"),
    "embedding": ("embedding_drift", "embedding_drift"),
}
TYPES: tuple[str, ...] = tuple(sorted({kind for kinds in _SPIKE_AND_DROP.values() for kind in kinds}))
# Worth knowing, but nobody is woken because something became faster, smaller, cheaper or better.
INFO_ONLY = frozenset(
    {"latency_drop", "token_usage_drop", "cost_drop", "quality_improvement", "traffic_surge", "error_rate_decrease"}
)


def anomaly_type(metric: str, direction: str) -> str:
    """The type of a departure of `metric` in `direction` ("up" or "down"). Raises KeyError for an unknown metric."""
    up, down = _SPIKE_AND_DROP[metric]
    return up if direction == "up" else down
