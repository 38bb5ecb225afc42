"""Many native messages at once: events as `native.decode` makes them, at half its cost for what is usual.

What is usual is decided here in line, by comparisons with what was found clean before; whatever may need a repair, a
closer look or a refusal goes to `native`, which alone says what becomes of it. At this rate each call costs a twentieth
of the whole, so for what is usual there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import astuple

from ingestion.formats.embeddings import NO_EMBEDDING
from ingestion.formats.event import Event
from ingestion.formats.moments import moments
from ingestion.formats.names import name_fault
from ingestion.formats.native import BACKSLASH, cost_by_table, decode, finished, has_nul
from ingestion.formats.validation import Limits, Rejection
from ingestion.formats.wire import SIGNALS, Message

AT_ONCE = 512  # messages, or what was made of the first has left the caches when it is looked at
UNREAD = Message(timestamp="", service_name="", latency_ms=0.0)
USUAL_SIGNALS = (None, *SIGNALS)

Sifted = tuple[list[Any], list[int]]
Names = tuple[str, str | None, str | None, str | None]

_read = msgspec.json.Decoder(Message).decode


def decode_all(payloads: Sequence[bytes], received_ms: Sequence[int], limits: Limits) -> list[Event | Rejection]:
    """For each message its event, or why there is none; see `native.decode`."""
    if limits.capture_text:  # cleaning texts takes longer than all the rest
        return [_decoded(UNREAD, *each, limits) for each in zip(payloads, received_ms, strict=True)]
    found: list[Event | Rejection] = []
    for start in range(0, len(payloads), AT_ONCE):
        some, arrivals = payloads[start : start + AT_ONCE], received_ms[start : start + AT_ONCE]
        messages = _messages(some)
        events, unusual = _usual(messages, some, (min(arrivals) + limits.max_future_ms) * 1_000_000, limits)
        for place in unusual:
            events[place] = _decoded(messages[place], some[place], arrivals[place], limits)
        found += events
    return found


def _messages(payloads: Sequence[bytes]) -> list[Message]:
    """The messages; UNREAD for each that cannot be read."""
    try:
        return list(map(_read, payloads))
    except (ValueError, RecursionError, TypeError):
        return [_message(payload) for payload in payloads]


def _message(payload: bytes) -> Message:
    try:
        return _read(payload)
    except (ValueError, RecursionError, TypeError):
        return UNREAD


def _decoded(message: Message, payload: bytes, received_ms: int, limits: Limits) -> Event | Rejection:
    try:
        if message is UNREAD:
            return decode(payload, received_ms=received_ms, limits=limits)
        return finished(message, payload, [], received_ms, limits)
    except Rejection as rejection:
        return rejection


def _usual(messages: Sequence[Message], payloads: Sequence[bytes], latest_ns: int, limits: Limits) -> Sifted:
    """The events of the messages, and the places of those in which something is unusual: there the messages stand."""
    shortest, longest, most = limits.min_latency_ms, limits.max_latency_ms, limits.max_tokens
    dearest, clean, known_labels = limits.max_cost_usd, limits.clean, limits.labels
    found: list[Any] = []
    unusual: list[int] = []
    times = moments([message.timestamp for message in messages])
    for message, payload, moment in zip(messages, payloads, times, strict=True):
        (
            _, service, model, latency, event_id, sent, received, total, cost, source, errors, metadata, ttft, cached,
            reasoning, quality, finish, provider, user, session, trace, span, written, signal, embedding, request_id,
            alias, error, prompt, response,
        ) = astuple(message)  # fmt: skip
        model, event_id = model or alias, event_id or request_id or None
        if cost is None:
            cost, source = cost_by_table(message, model or "", moment, (sent, received), limits)
        elif source != "table":
            source = "reported"
        names = (service, model, finish, provider)
        labels = known_labels.get(bytes(metadata))
        if (
            not 0 <= moment <= latest_ns or not shortest <= latency <= longest
            or sent is None or received is None or sent > most or received > most
            or (total != sent + received and total is not None) or (cost is not None and cost > dearest)
            or errors or error or labels is None
            or not ((names in clean and user in clean and session in clean) or _are_clean(names, user, session, limits))
            or not (prompt is response is None) or embedding is not NO_EMBEDDING or signal not in USUAL_SIGNALS
            or (event_id and "@" in event_id) or (BACKSLASH in payload and has_nul(payload))
        ):  # fmt: skip
            unusual.append(len(found))
            found.append(message)
            continue
        event = Event(
            moment, service, model, event_id, latency, sent, received, sent + received, cost, source,
            False, [], labels, (), ttft, cached, reasoning, quality, finish or "", provider or "", user or "",
            session or "", trace or "", span or "", "", "", written, signal or "",
        )  # fmt: skip
        found.append(event)
    return found, unusual


def _are_clean(names: Names, user: str | None, session: str | None, limits: Limits) -> bool:
    """Whether nothing need be changed in these texts; noted, if so.

    `names` are those of service, model, finish reason and provider, which come in few combinations.
    """
    service, model, *said = names
    if model is None or name_fault(service) or name_fault(model):
        return False
    for text in (*said, user, session):
        if text not in limits.clean:
            if text and not limits.scrubber.is_clean(text):
                return False
            limits.remember(text)
    limits.remember(names)
    return True
