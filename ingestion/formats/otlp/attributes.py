"""The names under which OpenTelemetry's attributes say what an event holds: one table, every generation in it.

Whoever follows the conventions to a new generation adds a name here, before the older ones; nothing else changes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from ingestion.formats import validation
from ingestion.formats.validation import Rejection

LARGEST = 2**63 - 1
MAX_DIGITS = 24  # of a number written as text
MAX_DEPTH = 32  # of structured text


def text(value: Any) -> str | None:
    """A text; numbers and booleans as they would be written."""
    found = value.string_value
    if found:
        # PostgreSQL holds no NUL in text.
        return found.replace("\0", "\ufffd") if "\0" in found else found  # type: ignore[no-any-return]
    kind = value.WhichOneof("value")
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    return str(getattr(value, kind)) if kind in ("int_value", "double_value") else None


def whole(value: Any) -> int | None:
    """A count. Raises ValueError with what is wrong in words, Rejection for a negative or impossible one."""
    number = value.int_value
    kind = "int_value"
    if not number or type(number) is not int:
        kind = value.WhichOneof("value")
        if kind is None:
            return None
        number = _number(getattr(value, kind), kind)
    if number < 0:
        raise Rejection(validation.NEGATIVE, "", "must not be negative")
    if number > LARGEST:
        raise Rejection(validation.OUT_OF_RANGE, "", "is a number too large to hold")
    if number != int(number):
        raise Rejection(validation.WRONG_TYPE, "", "must be an integer, not a number")
    return int(number)


def amount(value: Any) -> float | None:
    """A number that is not negative."""
    number = value.double_value
    if not number or type(number) is not float or not math.isfinite(number):
        kind = value.WhichOneof("value")
        if kind is None:
            return None
        number = _number(getattr(value, kind), kind)
    if number < 0:
        raise Rejection(validation.NEGATIVE, "", "must not be negative")
    if number > LARGEST:
        raise Rejection(validation.OUT_OF_RANGE, "", "is a number too large to hold")
    return float(number)


def seconds(value: Any) -> float | None:
    """A duration in seconds, as milliseconds."""
    found = amount(value)
    return None if found is None else found * 1000


def first(value: Any) -> str | None:
    """The first text of an array; a text by itself counts as one."""
    if value.WhichOneof("value") != "array_value":
        return text(value)
    values = value.array_value.values
    return text(values[0]) if len(values) else None


def rendered(value: Any) -> str | None:
    """A text; what is structured as JSON."""
    if value.WhichOneof("value") in ("array_value", "kvlist_value"):
        return json.dumps(_plain(value, 0), ensure_ascii=False)  # which escapes NUL
    return text(value)


def asked_for(value: Any) -> str | None:
    """The model among the parameters of a call, written as JSON."""
    try:
        return _parameters(value.string_value or "{}").model
    except (ValueError, RecursionError):
        return None


def _number(value: Any, kind: str) -> int | float:
    """A finite number, also from a text: some instrumentations write all attributes as text."""
    if kind not in ("int_value", "double_value", "string_value"):
        raise Rejection(validation.WRONG_TYPE, "", f"must be a number, not {kind.removesuffix('_value')}")
    if isinstance(value, str):
        value = _parsed(value)
    if not math.isfinite(value):
        raise Rejection(validation.NOT_FINITE, "", "must be a finite number")
    return value  # type: ignore[no-any-return]


def _parsed(written: str) -> int | float:
    try:
        if len(written) <= MAX_DIGITS:
            return int(written) if written.removeprefix("-").isdecimal() else float(written)
    except ValueError:
        pass
    raise Rejection(validation.WRONG_TYPE, "", "must be a number, not text")


def _plain(value: Any, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind is None or kind == "bytes_value" or depth > MAX_DEPTH:
        return None
    if kind == "array_value":
        return [_plain(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _plain(pair.value, depth + 1) for pair in value.kvlist_value.values}
    return getattr(value, kind)


class Parameters(msgspec.Struct):
    """What is read of the parameters of a call."""

    model: str | None = None


_parameters = msgspec.json.Decoder(Parameters).decode

Reader = Callable[[Any], Any]

# What an event holds, how it is read, and the attributes that say it, newest first.
NAMES: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "model": (
        text,
        (
            "gen_ai.response.model",
            "gen_ai.request.model",
            "llm.model_name",
            "embedding.model_name",
            "llm.model",
        ),
    ),
    # Where a call failed, OpenInference names the model here alone.
    "asked_model": (asked_for, ("llm.invocation_parameters", "embedding.invocation_parameters")),
    "provider": (text, ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")),
    "prompt_tokens": (
        whole,
        ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.prompt.tokens"),
    ),
    "completion_tokens": (
        whole,
        (
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.token_count.completion",
            "llm.response.tokens",
        ),
    ),
    "cached_tokens": (
        whole,
        (
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "llm.token_count.prompt_details.cache_read",
        ),
    ),
    "cache_write_tokens": (
        whole,
        (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "llm.token_count.prompt_details.cache_write",
        ),
    ),
    "reasoning_tokens": (
        whole,
        ("gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning"),
    ),
    "cost_usd": (amount, ("gen_ai.usage.cost", "gen_ai.usage.total_cost", "llm.cost.total", "llm.cost_usd")),
    "ttft_ms": (seconds, ("gen_ai.response.time_to_first_chunk",)),
    "finish_reason": (first, ("gen_ai.response.finish_reasons", "llm.response.finish_reason", "llm.finish_reason")),
    "error_type": (text, ("error.type",)),
    "user_id": (text, ("user.id", "enduser.id")),
    "session_id": (text, ("gen_ai.conversation.id", "session.id")),
    # Whether it is an LLM call at all.
    "operation": (text, ("gen_ai.operation.name",)),
    "kind": (text, ("openinference.span.kind",)),
}
LOG_NAMES: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "latency_ms": (amount, ("llm.latency_ms",)),
    "duration": (seconds, ("gen_ai.client.operation.duration",)),
}
TEXT_NAMES: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "prompt_text": (rendered, ("gen_ai.input.messages", "gen_ai.prompt", "llm.prompt", "input.value")),
    "response_text": (rendered, ("gen_ai.output.messages", "gen_ai.completion", "llm.response", "output.value")),
}
# Attributes of the resource that become labels (metadata) of its events.
LABELS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "service": (text, ("service.name",)),
    "environment": (text, ("deployment.environment.name", "deployment.environment")),
    "service_version": (text, ("service.version",)),
    "region": (text, ("cloud.region",)),
}
PROVIDERS = {
    "az.ai.openai": "azure.ai.openai",
    "az.ai.inference": "azure.ai.inference",
    "vertex_ai": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
}
LLM_OPERATIONS = frozenset({"chat", "generate_content", "text_completion", "embeddings"})
LLM_KINDS = frozenset({"LLM", "EMBEDDING"})


class Place(NamedTuple):
    """Where the value of an attribute goes: the field, how new the name is (0 the newest), how it is read."""

    field: str
    rank: int
    read: Reader


Wanted = dict[str, Place]


def wanted(*tables: Mapping[str, tuple[Reader, tuple[str, ...]]]) -> Wanted:
    """Tables of names, turned round: the place of each attribute."""
    return {
        name: Place(field, rank, read)
        for table in tables
        for field, (read, names) in table.items()
        for rank, name in enumerate(names)
    }


SPAN = wanted(NAMES)
SPAN_WITH_TEXTS = wanted(NAMES, TEXT_NAMES)
LOG = wanted(NAMES, LOG_NAMES)
LOG_WITH_TEXTS = wanted(NAMES, LOG_NAMES, TEXT_NAMES)
RESOURCE = wanted(LABELS)


def collect(attributes: Iterable[Any], places: Wanted) -> dict[str, Any]:
    """The wanted values by field; of several names for one field the newest that holds something counts.

    `attributes` have a `key` and a `value`, as OTLP's `KeyValue`. Raises Rejection, which names the attribute.
    """
    found: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    place_of = places.get
    for attribute in attributes:
        place = place_of(attribute.key)
        if place is None:
            continue
        field, rank, read = place
        if field in found and ranks[field] <= rank:
            continue
        holder = attribute.value
        try:
            # Most are texts: those are read without a call.
            value = holder.string_value if read is text else None
            if not value or "\0" in value:
                value = read(holder)
        except Rejection as rejection:
            raise Rejection(rejection.code, attribute.key, rejection.detail) from None
        if value is not None:
            found[field] = value
            ranks[field] = rank
    return found


def is_llm_call(found: Mapping[str, Any]) -> bool:
    """Whether what has these fields is one call of a model.

    Agents, workflows, chains and tools report the tokens of the calls they made: counting them too would double them.
    """
    operation, kind = found.get("operation"), found.get("kind")
    if operation is not None or kind is not None:
        return operation in LLM_OPERATIONS or kind in LLM_KINDS
    return "prompt_tokens" in found or "completion_tokens" in found
