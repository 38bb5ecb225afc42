"""The canonical event: one LLM call, whatever format it arrived in."""

from __future__ import annotations

from typing import Literal

import msgspec

CostSource = Literal["reported", "table", "unpriced"]


class Event(msgspec.Struct, gc=False):
    """One LLM call, valid and normalised.

    Times are nanoseconds since 1970 (UTC) or milliseconds, costs US dollars; None means "not known", an empty string
    "not given". A failed call (`error`) has at least one text in `errors` and counts for the error and request
    rates only, not for latency, tokens and cost. `otlp_signal` says of what signal of OpenTelemetry the event was made
    ("span", "metric" or "log"; "" for native events): only such an event may lack its latency or, though it succeeded,
    tokens. `marks` names what was repaired on the way in (see
    `ingestion.formats.validation`). `embedding` is that of its prompt, else of its response, as JSON (see
    `ingestion.formats.embeddings`).
    """

    timestamp_ns: int
    service: str
    model: str
    event_id: str | None = None
    latency_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cost_usd: float | None = None
    cost_source: CostSource = "unpriced"
    error: bool = False
    errors: list[str] = []
    metadata: dict[str, str] = {}
    marks: tuple[str, ...] = ()
    ttft_ms: float | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    quality_score: float | None = None
    finish_reason: str = ""
    provider: str = ""
    user_id: str = ""
    session_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    prompt_text: str = ""
    response_text: str = ""
    cache_write_tokens: int | None = None
    otlp_signal: str = ""
    embedding: bytes = b""


def partition_key(service: str, model: str) -> bytes:
    """The Kafka key of a series: all events of one (service, model) meet in one partition."""
    return f"{service}|{model}".encode()
