"""Events as native messages of the flat shape."""

from __future__ import annotations

import msgspec

from ingestion.formats.embeddings import NO_EMBEDDING
from ingestion.formats.event import Event
from ingestion.formats.timestamps import rfc3339


class Flat(msgspec.Struct, omit_defaults=True, gc=False):
    """The flat shape as we write it: defaults are left out."""

    timestamp: str
    service_name: str
    model_name: str
    latency_ms: float | None
    event_id: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cost_usd: float | None = None
    cost_source: str = "unpriced"
    errors: list[str] = []
    metadata: dict[str, str] = {}
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
    embedding: msgspec.Raw = NO_EMBEDDING


_encode = msgspec.json.Encoder().encode


def encode(event: Event) -> bytes:
    """The event as a native message of the flat shape; `decode` returns it unchanged, without its marks."""
    return _encode(
        Flat(
            rfc3339(event.timestamp_ns),
            event.service,
            event.model,
            event.latency_ms,
            event.event_id,
            event.prompt_tokens,
            event.completion_tokens,
            event.total_tokens,
            event.cost_usd,
            event.cost_source,
            event.errors,
            event.metadata,
            event.ttft_ms,
            event.cached_tokens,
            event.reasoning_tokens,
            event.quality_score,
            event.finish_reason,
            event.provider,
            event.user_id,
            event.session_id,
            event.trace_id,
            event.span_id,
            event.prompt_text,
            event.response_text,
            event.cache_write_tokens,
            event.otlp_signal,
            msgspec.Raw(event.embedding) if event.embedding else NO_EMBEDDING,
        )
    )
