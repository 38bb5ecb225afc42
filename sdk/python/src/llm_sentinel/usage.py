"""What an answer of an LLM says of itself, read by its shape: no client library is needed, and none is imported.

Known shapes, as objects or as dictionaries: OpenAI chat and text completions, embeddings and responses; Anthropic
messages; the events of their streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any


@dataclass
class Usage:
    """Tokens and names of one answer; None means that it did not say.

    `prompt_tokens` include `cached_tokens`, `completion_tokens` include `reasoning_tokens`, whoever counted.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reason: str | None = None
    model_name: str | None = None
    request_id: str | None = None

    def update(self, later: Usage) -> None:
        """Take over what a later part of the same answer says: streams tell piece by piece."""
        for name in (each.name for each in fields(later)):
            value = getattr(later, name)
            if value is not None:
                setattr(self, name, value)


def usage_of(answer: object) -> Usage:
    """What an answer, or one event of a stream, says. What has no known shape says nothing."""
    # Stream events wrap what they are about: Anthropic's message_start and message_delta, OpenAI's response.completed.
    inner = _first(answer, "message", "response")
    if inner is not None and _get(answer, "usage") is None:
        answer = inner
    usage = _get(answer, "usage")
    prompt, cached = _prompt_tokens(usage)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=_completion_tokens(usage, prompt),
        cached_tokens=cached,
        reasoning_tokens=_count(
            _first(usage, "completion_tokens_details", "output_tokens_details"), "reasoning_tokens"
        ),
        finish_reason=_finish_reason(answer),
        model_name=_text(answer, "model"),
        request_id=_text(answer, "id"),
    )


def _prompt_tokens(usage: object) -> tuple[int | None, int | None]:
    """Prompt tokens with those read from a cache, and the latter.

    Anthropic's `input_tokens` leave out what was read from or written to its cache; OpenAI's include it.
    """
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    read, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    if prompt is not None and (read is not None or written is not None):
        return prompt + (read or 0) + (written or 0), read
    return prompt, _count(_first(usage, "prompt_tokens_details", "input_tokens_details"), "cached_tokens")


def _completion_tokens(usage: object, prompt: int | None) -> int | None:
    """Embeddings have no completion: what the total adds to the prompt, which is nothing."""
    completion = _count(usage, "completion_tokens", "output_tokens")
    total = _count(usage, "total_tokens")
    if completion is None and prompt is not None and total is not None:
        return max(0, total - prompt)
    return completion


def _finish_reason(answer: object) -> str | None:
    choices = _get(answer, "choices")
    if isinstance(choices, Sequence) and choices:
        return _text(choices[0], "finish_reason")
    stopped = _text(answer, "stop_reason") or _text(_get(answer, "delta"), "stop_reason")
    if stopped or _get(answer, "object") != "response":
        return stopped
    return _text(_get(answer, "incomplete_details"), "reason") or _text(answer, "status")


def _get(thing: object, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _first(thing: object, *names: str) -> Any:
    return next((value for value in (_get(thing, name) for name in names) if value is not None), None)


def _count(thing: object, *names: str) -> int | None:
    value = _first(thing, *names)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(thing: object, name: str) -> str | None:
    value = _get(thing, name)
    return value if isinstance(value, str) and value else None
