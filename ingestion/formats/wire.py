"""What is read of a native message: one struct whose fields are the union of both shapes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ingestion.formats.embeddings import NO_EMBEDDING

NO_METADATA = msgspec.Raw()
SIGNALS = ("span", "metric", "log")

Tokens = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Amount = Annotated[float, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text16 = Annotated[str, Meta(max_length=16)]
Text32 = Annotated[str, Meta(max_length=32)]
Text64 = Annotated[str, Meta(max_length=64)]
Text128 = Annotated[str, Meta(max_length=128)]
Text256 = Annotated[str, Meta(max_length=256)]
Failure = str | list[str] | bool | None


class Half(msgspec.Struct, gc=False):
    """`prompt` or `response` of the nested shape."""

    tokens: Tokens | None = None
    finish_reason: Text64 | None = None
    embedding: msgspec.Raw = NO_EMBEDDING


class SpokenHalf(Half, gc=False):
    """The same with its text, for installations that capture texts."""

    text: str | None = None


class Message(msgspec.Struct, kw_only=True, gc=False):
    """What is read of a message: the union of both shapes, without texts (skipped by the decoder, never held).

    The fields stand in the order in which `flat.encode` and the SDK write them: the decoder looks for a key first where
    it found the one before. Metadata is left as JSON, because few texts of it recur all the time.
    """

    timestamp: str
    service_name: Name
    model_name: Name | None = None
    latency_ms: Amount
    event_id: Text128 | None = None
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    total_tokens: Tokens | None = None
    cost_usd: Amount | None = None
    cost_source: Text16 | None = None
    errors: Failure = None
    metadata: msgspec.Raw = NO_METADATA
    ttft_ms: Amount | None = None
    cached_tokens: Tokens | None = None
    reasoning_tokens: Tokens | None = None
    quality_score: float | None = None
    finish_reason: Text64 | None = None
    provider: Text64 | None = None
    user_id: Text256 | None = None
    session_id: Text256 | None = None
    trace_id: Text64 | None = None
    span_id: Text32 | None = None
    cache_write_tokens: Tokens | None = None
    otlp_signal: Any = None
    embedding: msgspec.Raw = NO_EMBEDDING
    request_id: Text128 | None = None
    model: Name | None = None
    error: Failure = None
    # A flat event may carry an unknown key of these names, with text or a list of messages.
    prompt: Half | str | list[Any] | None = None
    response: Half | str | list[Any] | None = None


class SpokenMessage(Message, kw_only=True, gc=False):
    """The same with the texts."""

    prompt_text: str | None = None
    response_text: str | None = None
    prompt: SpokenHalf | str | list[Any] | None = None
    response: SpokenHalf | str | list[Any] | None = None


class UntimedMessage(SpokenMessage, kw_only=True, gc=False):
    """What was made of a signal that need not tell how long a call took."""

    latency_ms: Amount | None = None  # type: ignore[assignment]
    otlp_signal: Literal["span", "metric", "log"]  # type: ignore[assignment]
