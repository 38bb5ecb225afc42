"""One LLM call, as the native events of LLM-Sentinel describe it."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypedDict

from llm_sentinel.transport import Message

MAX_NAME_LENGTH = 128
MAX_TEXT_LENGTH = 10_000
MAX_TOKENS = 2**63 - 1
# Control characters, line separators and direction marks: the server refuses names that hold one.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
TEXTS = (
    "user_id",
    "session_id",
    "request_id",
    "trace_id",
    "span_id",
    "provider",
    "finish_reason",
    "prompt_text",
    "response_text",
)
AMOUNTS = ("cost_usd", "ttft_ms")
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")


class InvalidEvent(ValueError):
    """An event that the server would refuse: `field` and what is wrong with it."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name} {detail}")
        self.field = name
        self.detail = detail


class Details(TypedDict, total=False):
    """What may be said of a call beside its service, model, latency and tokens."""

    total_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    user_id: object
    session_id: object
    request_id: object
    trace_id: object
    span_id: object
    event_id: str
    timestamp: datetime | str
    provider: str | None
    finish_reason: str | None
    ttft_ms: float | None
    quality_score: float | None
    prompt_text: str | None
    response_text: str | None
    errors: Sequence[str]
    metadata: Mapping[str, object]


@dataclass
class TelemetryEvent:
    """One call. Times are milliseconds, costs US dollars; None means "not known".

    `timestamp` is when the call ended (a naive time is UTC). Identifiers may be of any type that has a text. A call
    with `errors` failed and needs no tokens. `event_id` lets the server count an event once that was sent twice.
    """

    service_name: str
    model_name: str
    latency_ms: float
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    user_id: object = None
    session_id: object = None
    request_id: object = None
    trace_id: object = None
    span_id: object = None
    event_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    timestamp: datetime | str = field(default_factory=lambda: datetime.now(timezone.utc))
    provider: str | None = None
    finish_reason: str | None = None
    ttft_ms: float | None = None
    quality_score: float | None = None
    prompt_text: str | None = None
    response_text: str | None = None
    errors: Sequence[str] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)

    def encode(self) -> Message:
        """The message for the telemetry topic, keyed `service|model`. Raises InvalidEvent."""
        service, model = _name("service_name", self.service_name), _name("model_name", self.model_name)
        said: dict[str, Any] = {
            "event_id": str(self.event_id),
            "timestamp": _rfc3339(self.timestamp),
            "service_name": service,
            "model_name": model,
            "latency_ms": _amount("latency_ms", self.latency_ms, required=True),
            **{name: _count(name, getattr(self, name)) for name in COUNTS},
            **{name: _amount(name, getattr(self, name)) for name in AMOUNTS},
            **{name: _text(getattr(self, name)) for name in TEXTS},
            "quality_score": _number("quality_score", self.quality_score),
            "errors": [_text(error) for error in self.errors],
            "metadata": {str(name): _label(value) for name, value in self.metadata.items() if value is not None},
        }
        if not said["errors"]:
            _require_tokens(said)
        kept = {name: value for name, value in said.items() if value not in (None, [], {})}
        text = json.dumps(kept, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return Message(_utf8(f"{service}|{model}"), _utf8(text))


def _require_tokens(said: Mapping[str, Any]) -> None:
    for name in ("prompt_tokens", "completion_tokens"):
        if said[name] is None:
            raise InvalidEvent(name, "is required unless the call failed (has `errors`)")


def _utf8(text: str) -> bytes:
    """Half a surrogate pair, which no encoding of Unicode knows, becomes a question mark."""
    return text.encode("utf-8", "replace")


def _name(field_name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidEvent(field_name, "must be a text that is not blank")
    name = _utf8(value).decode()
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidEvent(field_name, f"has {len(name)} characters; at most {MAX_NAME_LENGTH} are allowed")
    if UNPRINTABLE.search(name):
        raise InvalidEvent(field_name, "must not hold control characters")
    return name


def _rfc3339(moment: object) -> str:
    if isinstance(moment, str):
        return moment
    if not isinstance(moment, datetime):
        raise InvalidEvent("timestamp", "must be a datetime or an RFC 3339 text")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidEvent(name, f"must be a number, not {type(value).__name__}") from None
    if not math.isfinite(number):
        raise InvalidEvent(name, f"must be finite, not {number}")
    return number


def _amount(name: str, value: Any, required: bool = False) -> float | None:
    number = _number(name, value)
    if number is None and required:
        raise InvalidEvent(name, "is required")
    if number is not None and number < 0:
        raise InvalidEvent(name, f"must not be negative, but is {number}")
    return number


def _count(name: str, value: Any) -> int | None:
    number = _amount(name, value)
    if number is None:
        return None
    count = int(value)
    if count != number and abs(count) < 2**53:
        raise InvalidEvent(name, f"must be a whole number, not {value}")
    if count > MAX_TOKENS:
        raise InvalidEvent(name, "is larger than any number of tokens")
    return count


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:MAX_TEXT_LENGTH]


def _label(value: object) -> object:
    if isinstance(value, (bool, int, str)):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)
