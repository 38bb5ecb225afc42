"""The names of things that are measured: a series is one metric of one model as one service calls it."""

from __future__ import annotations

from typing import NamedTuple

# Measured by each event, in the order of the columns of a batch.
EVENT_METRICS: tuple[str, ...] = (
    "latency_ms",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cost_usd",
    "ttft_ms",
    "quality_score",
)
# Measured by each closed minute.
MINUTE_METRICS: tuple[str, ...] = ("request_rate", "error_rate", "cost_per_minute", "tokens_per_minute")
# Without a window of samples: what a detector knows of them is in a state of its own.
OTHER_METRICS: tuple[str, ...] = (
    "user_request_rate",
    "silence",
    "prompt_tokens_distribution",
    "completion_tokens_distribution",
    "finish_reason",
    "embedding",
)
METRICS: tuple[str, ...] = EVENT_METRICS + MINUTE_METRICS + OTHER_METRICS
METRIC_INDEX: dict[str, int] = {name: index for index, name in enumerate(METRICS)}

LATENCY, PROMPT_TOKENS, COMPLETION_TOKENS, TOTAL_TOKENS, COST, TTFT, QUALITY = range(len(EVENT_METRICS))
REQUEST_RATE, ERROR_RATE, COST_RATE, TOKEN_RATE = range(len(EVENT_METRICS), len(EVENT_METRICS + MINUTE_METRICS))
USER_RATE, SILENCE, INPUT_DRIFT, OUTPUT_DRIFT, FINISH_REASON, EMBEDDING = range(
    len(EVENT_METRICS + MINUTE_METRICS), len(METRICS)
)


class Pair(NamedTuple):
    """A service and a model it calls."""

    service: str
    model: str

    @property
    def kafka_key(self) -> bytes:
        return f"{self.service}|{self.model}".encode()


FREE = Pair("", "")  # in place of a pair, where a row of the state has none


class SeriesKey(NamedTuple):
    """A service, a model and a metric."""

    service: str
    model: str
    metric: str

    def __str__(self) -> str:
        return f"{self.service}:{self.model}:{self.metric}"
