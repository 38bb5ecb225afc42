"""From what was collected of a span or a log record to a valid event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingestion.formats import validation
from ingestion.formats.cleaning import clean_identifiers, scrubbed_text
from ingestion.formats.costs import fill_cost
from ingestion.formats.event import Event
from ingestion.formats.labels import UNSPECIFIED, failure_texts, labels
from ingestion.formats.names import name_fault
from ingestion.formats.otlp.attributes import PROVIDERS, RESOURCE, collect
from ingestion.formats.otlp.json_messages import Resource, read_wanted
from ingestion.formats.tokens import unusual_tokens
from ingestion.formats.validation import Limits, Rejection

UNKNOWN_SERVICE = "unknown_service"
"""What OpenTelemetry calls a service that was not given a name."""
MAX_NAME_LENGTH = 128
NANOSECONDS_PER_MS = 1_000_000
LATEST_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose calls they are: the service and the labels of its resource; `fault` if its name cannot be used."""

    service: str
    labels: dict[str, str]
    fault: Rejection | None = None

    @classmethod
    def of(cls, resource: Any, limits: Limits) -> Origin:
        """The origin that a resource (of either encoding) describes."""
        try:
            attributes: Any = resource.attributes
            found = collect(
                read_wanted(attributes, RESOURCE) if isinstance(resource, Resource) else attributes, RESOURCE
            )
        except Rejection as rejection:
            return cls("", {}, rejection.kept())
        service = found.pop("service", UNKNOWN_SERVICE)
        return cls(service, labels(found, limits, []), name_rejection("service.name", service))


def name_rejection(field: str, name: str | None) -> Rejection | None:
    """Why a name of a service or model cannot be used; None if it can."""
    if name is None:
        return Rejection(validation.MISSING, field, "is required")
    if len(name) > MAX_NAME_LENGTH:
        return Rejection(validation.BAD_NAME, field, "must have 1 to 128 characters")
    fault = name_fault(name)
    return Rejection(validation.BAD_NAME, field, fault) if fault else None


def moment(nanoseconds: int, received_ms: int, limits: Limits, marks: list[str]) -> int:
    """The time of an event: not further ahead of its arrival than the limits allow."""
    latest = (received_ms + limits.max_future_ms) * NANOSECONDS_PER_MS
    if nanoseconds <= latest:
        return nanoseconds
    marks.append(validation.FUTURE)
    return min(latest, LATEST_NS)


def latency_within(latency_ms: float, limits: Limits, marks: list[str]) -> float:
    """The latency, clamped and marked where it is beyond the limits."""
    if limits.min_latency_ms <= latency_ms <= limits.max_latency_ms:
        return latency_ms
    marks.append(validation.CLAMPED_LATENCY)
    return min(max(latency_ms, limits.min_latency_ms), limits.max_latency_ms)


def tokens_of(found: Mapping[str, Any], limits: Limits, marks: list[str]) -> tuple[int | None, int | None, int | None]:
    """Prompt, completion and total tokens; an embedding generates none."""
    sent, received = found.get("prompt_tokens"), found.get("completion_tokens")
    if received is None and sent is not None and _is_embedding(found):
        received = 0
    if sent is not None and received is not None and sent <= limits.max_tokens >= received:
        return sent, received, sent + received
    return unusual_tokens((sent, received, None), may_lack=True, most=limits.max_tokens, marks=marks)


def _is_embedding(found: Mapping[str, Any]) -> bool:
    return found.get("operation") == "embeddings" or found.get("kind") == "EMBEDDING"


def failures_of(found: Mapping[str, Any], message: str | None, *, failed: bool, limits: Limits) -> list[str]:
    """Why a call failed, empty if it did not: the type of the error, else the message of the status."""
    kind = found.get("error_type")
    if kind:
        return failure_texts(kind, None, limits)
    return (failure_texts(message, None, limits) or [UNSPECIFIED]) if failed else []


def event_of(
    found: Mapping[str, Any],
    origin: Origin,
    limits: Limits,
    marks: list[str],
    *,
    signal: str,
    timestamp_ns: int,
    latency_ms: float | None,
    errors: list[str],
    trace_id: str,
    span_id: str,
) -> Event:
    """The event of one LLM call. Raises Rejection for a name that cannot be used."""
    model = found.get("model") or found.get("asked_model")
    fault = origin.fault or name_rejection("gen_ai.request.model", model)
    if fault:
        raise fault
    cost = found.get("cost_usd")
    if cost is not None and cost > limits.max_cost_usd:
        cost = limits.max_cost_usd
        marks.append(validation.CLAMPED_COST)
    sent, received, total = tokens_of(found, limits, marks)
    get = found.get
    provider = get("provider", "")
    event = Event(
        timestamp_ns,
        origin.service,
        model,  # type: ignore[arg-type]
        f"{trace_id}-{span_id}" if span_id else None,
        latency_ms,
        sent,
        received,
        total,
        cost,
        "unpriced" if cost is None else "reported",
        bool(errors),
        errors,
        origin.labels,
        tuple(marks),
        get("ttft_ms"),
        get("cached_tokens"),
        get("reasoning_tokens"),
        None,
        get("finish_reason", "")[:64],
        PROVIDERS.get(provider, provider)[:64],
        get("user_id", "")[:256],
        get("session_id", "")[:256],
        trace_id,
        span_id,
        scrubbed_text(found["prompt_text"], limits.max_text_length, limits) if "prompt_text" in found else "",
        scrubbed_text(found["response_text"], limits.max_text_length, limits) if "response_text" in found else "",
        get("cache_write_tokens"),
        signal,
    )
    clean(event, limits)
    return event


def clean(event: Event, limits: Limits) -> None:
    """Replace what is private in the identifiers of an event, by one look-up where they were found clean before,
    and price it where it does not say its cost."""
    if (event.user_id, event.session_id, event.finish_reason, event.provider) not in limits.clean:
        clean_identifiers(event, limits)
    fill_cost(event, limits)


def hexadecimal(identifier: Any, size: int) -> str:
    """A trace or span id of `size` bytes in small hexadecimal digits; "" if it is absent, zero or none at all."""
    if isinstance(identifier, bytes):
        return identifier.hex() if len(identifier) == size > identifier.count(0) else ""
    text = (identifier or "").lower()
    if not text.isascii() or not text.isalnum() or text.strip("0123456789abcdef"):
        return ""
    return text if len(text) == 2 * size and text.strip("0") else ""
