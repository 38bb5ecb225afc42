"""What is read from answers: the shapes are those that the providers' documentation gives."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from llm_sentinel import Usage, usage_of

CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 140,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 16},
    },
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-5",
    "status": "incomplete",
    "incomplete_details": {"reason": "max_output_tokens"},
    "usage": {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 12,
        "output_tokens_details": {"reasoning_tokens": 8},
        "total_tokens": 42,
    },
}
EMBEDDINGS: dict[str, Any] = {
    "object": "list",
    "data": [],
    "model": "embed",
    "usage": {"prompt_tokens": 9, "total_tokens": 9},
}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "model": "claude-sonnet-4",
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 10,
        "cache_creation_input_tokens": 200,
        "cache_read_input_tokens": 3000,
        "output_tokens": 50,
    },
}
EXPECTED = [
    (CHAT, Usage(100, 40, 64, 16, "stop", "gpt-4o-2024-08-06", "chatcmpl-1")),
    (RESPONSE, Usage(30, 12, 0, 8, "max_output_tokens", "gpt-5", "resp_1")),
    (EMBEDDINGS, Usage(9, 0, model_name="embed")),
    (MESSAGE, Usage(3210, 50, 3000, None, "end_turn", "claude-sonnet-4", "msg_1")),
]


def as_object(answer: dict[str, Any]) -> Any:
    """The same with attributes, as client libraries have it."""
    return json.loads(json.dumps(answer), object_hook=lambda fields: SimpleNamespace(**fields))


@pytest.mark.parametrize(("answer", "usage"), EXPECTED)
def test_answers_are_read_as_dictionaries_and_as_objects(answer: dict[str, Any], usage: Usage) -> None:
    assert usage_of(answer) == usage
    assert usage_of(as_object(answer)) == usage


@pytest.mark.parametrize("answer", [None, "text", 7, [], {}, {"usage": "none"}, {"usage": {"prompt_tokens": "9"}}])
def test_what_has_no_known_shape_says_nothing(answer: object) -> None:
    assert usage_of(answer) == Usage()


def streamed(parts: list[dict[str, Any]]) -> Usage:
    usage = Usage()
    for part in parts:
        usage.update(usage_of(as_object(part)))
    return usage


def test_the_parts_of_a_chat_completion_add_up() -> None:
    begin: dict[str, Any] = {"id": "c", "model": "gpt-4o"}
    parts: list[dict[str, Any]] = [
        {**begin, "choices": [{"delta": {"content": "Hi"}, "finish_reason": None}], "usage": None},
        {**begin, "choices": [{"delta": {}, "finish_reason": "length"}], "usage": None},
        {**begin, "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}},
    ]
    assert streamed(parts) == Usage(5, 2, None, None, "length", "gpt-4o", "c")


def test_the_events_of_a_message_add_up() -> None:
    start = {**MESSAGE, "stop_reason": None, "usage": {**MESSAGE["usage"], "output_tokens": 1}}
    parts: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 77}},
        {"type": "message_stop"},
    ]
    assert streamed(parts) == Usage(3210, 77, 3000, None, "tool_use", "claude-sonnet-4", "msg_1")


def test_the_events_of_a_response_add_up() -> None:
    begun = {**RESPONSE, "status": "in_progress", "incomplete_details": None, "usage": None}
    parts: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": "response.incomplete", "response": RESPONSE},
    ]
    assert streamed(parts) == EXPECTED[1][1]
