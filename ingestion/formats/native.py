"""Native JSON events, flat and nested: one message is one LLM call.

Both shapes are decoded by one struct whose fields are the union of theirs, so the decoder checks types, bounds and
lengths in one pass in C; what is left for Python is what depends on several fields or on the configured limits.
Unknown keys are ignored, and of a key that appears twice the last one counts, as in most JSON parsers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from ingestion.formats import validation
from ingestion.formats.cleaning import clean_identifiers, clean_ids, scrubbed_text
from ingestion.formats.embeddings import NO_EMBEDDING, first_given
from ingestion.formats.event import CostSource, Event, partition_key
from ingestion.formats.flat import encode
from ingestion.formats.labels import failure_texts, labels_of
from ingestion.formats.names import name_fault
from ingestion.formats.refusals import refusal, too_long
from ingestion.formats.timestamps import unix_nanoseconds
from ingestion.formats.tokens import corrected, unusual_tokens
from ingestion.formats.validation import Limits, Rejection
from ingestion.formats.wire import SIGNALS, Message, SpokenMessage, UntimedMessage

__all__ = ["Event", "Limits", "Message", "Rejection", "decode", "encode", "finished", "partition_key"]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BACKSLASH = ord("\\")
ESCAPED_NUL = b"\\u0000"
SIGNAL_KEY = b'"otlp_signal"'

# Longer texts are cut; a longer identifier is replaced by its digest, so that it still identifies.
CUT = {
    "user_id": 256,
    "session_id": 256,
    "finish_reason": 64,
    "provider": 64,
    "trace_id": 64,
    "span_id": 32,
    "cost_source": 16,
}
DIGESTED = {"event_id": 128, "request_id": 128}


_decode_silent = msgspec.json.Decoder(Message).decode
_decode_spoken = msgspec.json.Decoder(SpokenMessage).decode
_decode_untimed = msgspec.json.Decoder(UntimedMessage).decode


def decode(payload: bytes | None, *, received_ms: int, limits: Limits) -> Event:
    """The event that a message holds; `received_ms` (unix time) is when it arrived, which bounds its own time.

    Raises Rejection for what is impossible or incomplete. What is merely too large is clamped and marked.
    """
    marks: list[str] = []
    read = _decode_spoken if limits.capture_text else _decode_silent
    try:
        message = read(payload)  # type: ignore[arg-type]
    except (ValueError, RecursionError, TypeError) as error:
        message = _read_again(payload, error, read, marks)
    return finished(message, payload, marks, received_ms, limits)  # type: ignore[arg-type]


def finished(message: Message, payload: bytes, marks: list[str], received_ms: int, limits: Limits) -> Event:
    """The event of a message that was read of `payload`, for what `decode` says. `marks` name what was repaired."""
    event = _event(message, marks, received_ms, limits)
    # One look-up: almost every event has a combination that was found clean before.
    if (event.user_id, event.session_id, event.finish_reason, event.provider) not in limits.clean:
        clean_identifiers(event, limits)
    if event.event_id and "@" in event.event_id:
        clean_ids(event, limits)
    if limits.capture_text:
        _keep_texts(event, message, limits)
    if message.prompt is not None or message.response is not None or message.embedding is not NO_EMBEDDING:
        _keep_embedding(event, message)
    if has_nul(payload):
        _replace_nul(event)
    return event


def _event(message: Message, marks: list[str], received_ms: int, limits: Limits) -> Event:
    """The canonical event of a decoded message.

    The most frequent code of all: what is usual is decided in line, calls are for what is not, and the event is
    made of positional arguments, which takes half the time of keywords.
    """
    model = message.model_name or message.model
    service = message.service_name
    if model is None or name_fault(model) or name_fault(service):
        raise _bad_name(service, model)
    errors = failure_texts(message.error, message.errors, limits) if message.error or message.errors else []
    sent, received, total = _tokens(message, bool(errors), limits.max_tokens, marks)
    latency = message.latency_ms
    if latency is not None and not limits.min_latency_ms <= latency <= limits.max_latency_ms:
        latency = min(max(latency, limits.min_latency_ms), limits.max_latency_ms)
        marks.append(validation.CLAMPED_LATENCY)
    cost = message.cost_usd
    moment = _moment(message.timestamp, received_ms, limits, marks)
    source: CostSource = "table" if message.cost_source == "table" else "reported"
    if cost is None:
        cost, source = cost_by_table(message, model, moment, (sent, received), limits)
    if cost is not None and cost > limits.max_cost_usd:
        cost = limits.max_cost_usd
        marks.append(validation.CLAMPED_COST)
    return Event(
        moment,
        service,
        model,
        message.event_id or message.request_id or None,
        latency,
        sent,
        received,
        total,
        cost,
        source,
        bool(errors),
        errors,
        labels_of(message.metadata, limits, marks),
        tuple(marks) if marks else (),
        message.ttft_ms,
        message.cached_tokens,
        message.reasoning_tokens,
        message.quality_score,
        message.finish_reason or getattr(message.response, "finish_reason", None) or "",
        message.provider or "",
        message.user_id or "",
        message.session_id or "",
        message.trace_id or "",
        message.span_id or "",
        "",
        "",
        message.cache_write_tokens,
        message.otlp_signal if message.otlp_signal in SIGNALS else "",
    )


def cost_by_table(
    message: Message, model: str, moment: int, tokens: tuple[int | None, int | None], limits: Limits
) -> tuple[float | None, CostSource]:
    """What a call that does not say so costs, at the prices of its own time."""
    if not limits.prices:
        return None, "unpriced"
    cost = limits.prices.cost(
        message.provider or "",
        model,
        moment,
        *tokens,
        message.cached_tokens,
        message.cache_write_tokens,
        message.reasoning_tokens,
    )
    return cost, "unpriced" if cost is None else "table"


def _bad_name(service: str, model: str | None) -> Rejection:
    if model is None:
        return Rejection(validation.MISSING, "model_name", "is required (or its alias `model`)")
    field, fault = ("service_name", name_fault(service)) if name_fault(service) else ("model_name", name_fault(model))
    return Rejection(validation.BAD_NAME, field, fault or "")


def _moment(timestamp: str, received_ms: int, limits: Limits, marks: list[str]) -> int:
    try:
        nanoseconds = unix_nanoseconds(timestamp)
    except ValueError:
        detail = 'must be an RFC 3339 time such as "2024-11-06T10:25:00Z"'
        raise Rejection(validation.BAD_TIMESTAMP, "timestamp", detail) from None
    latest = (received_ms + limits.max_future_ms) * 1_000_000
    if 0 <= nanoseconds <= latest:
        return nanoseconds
    if nanoseconds < 0:
        raise Rejection(validation.BAD_TIMESTAMP, "timestamp", "lies before 1970")
    marks.append(validation.FUTURE)
    return latest


def _tokens(message: Message, failed: bool, most: int, marks: list[str]) -> tuple[int | None, int | None, int | None]:
    """Prompt, completion and total tokens, of whichever shape; the total is the sum, whatever was said."""
    sent, received, total = message.prompt_tokens, message.completion_tokens, message.total_tokens
    if sent is None:
        sent = getattr(message.prompt, "tokens", None)
    if received is None:
        received = getattr(message.response, "tokens", None)
    if sent is None or received is None or sent > most or received > most:
        may_lack = failed or message.otlp_signal in SIGNALS
        return unusual_tokens((sent, received, total), may_lack=may_lack, most=most, marks=marks)
    if total != sent + received:
        total = corrected(total, sent + received, marks)
    return sent, received, total


def _keep_texts(event: Event, message: Message, limits: Limits) -> None:
    spoken = getattr(message, "prompt_text", None) or getattr(message.prompt, "text", None) or ""
    answered = getattr(message, "response_text", None) or getattr(message.response, "text", None) or ""
    event.prompt_text = scrubbed_text(spoken, limits.max_text_length, limits)
    event.response_text = scrubbed_text(answered, limits.max_text_length, limits)


def _keep_embedding(event: Event, message: Message) -> None:
    """That of the prompt first: inputs drift before answers do."""
    halves = getattr(message.prompt, "embedding", None), getattr(message.response, "embedding", None)
    found = first_given(*halves, message.embedding)
    if found is None:
        event.marks = (*event.marks, validation.EMBEDDING_DROPPED)
    else:
        event.embedding = found


def has_nul(payload: bytes) -> bool:
    """Whether a text of a message may hold NUL."""
    return BACKSLASH in payload and ESCAPED_NUL in payload  # one character is found faster than several


def _replace_nul(event: Event) -> None:
    """PostgreSQL holds no NUL in text, so what is not a name has its NULs replaced, and is marked if it had any."""
    found = False
    for field in event.__struct_fields__:
        value = getattr(event, field)
        repaired = _without_nul(value)
        if repaired != value:
            found = True
            setattr(event, field, repaired)
    if found:
        event.marks = (*event.marks, validation.NUL_REPLACED)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def _read_again(payload: bytes | None, error: Exception, read: Callable[[bytes], Message], marks: list[str]) -> Message:
    """Second chance for what the fast path refused: a byte order mark, texts longer than their columns."""
    if payload is None:
        raise Rejection(validation.EMPTY, "", "is empty (a tombstone)") from None
    payload = payload.removeprefix(BYTE_ORDER_MARK)
    if SIGNAL_KEY in payload:
        with suppress(ValueError, RecursionError):
            return _read_untimed(payload, marks)
    try:
        if _cuttable(too_long(error)):
            payload = _cut(payload)
            marks.append(validation.TRUNCATED)
        return read(payload)
    except (ValueError, RecursionError) as again:
        raise refusal(again, payload) from None


def _read_untimed(payload: bytes, marks: list[str]) -> UntimedMessage:
    try:
        return _decode_untimed(payload)
    except msgspec.ValidationError as error:
        if not _cuttable(too_long(error)):
            raise
    found = _decode_untimed(_cut(payload))
    marks.append(validation.TRUNCATED)
    return found


def _cuttable(field: str | None) -> bool:
    return field is not None and field.rpartition(".")[2] in CUT | DIGESTED


def _cut(payload: bytes) -> bytes:
    message = msgspec.json.decode(payload)
    for part in (message, message.get("prompt"), message.get("response")):
        for field in part if isinstance(part, dict) else ():
            if isinstance(part[field], str):
                part[field] = _fitting(field, part[field])
    return msgspec.json.encode(message)


def _fitting(field: str, text: str) -> str:
    if len(text) > DIGESTED.get(field, len(text)):
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return text[: CUT.get(field, len(text))]
