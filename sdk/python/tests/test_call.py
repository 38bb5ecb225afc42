"""Calls that are timed: with a block or a decorator, plain or asynchronous, streamed, failed."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from standins import Kept
from test_usage import CHAT, MESSAGE, as_object

from llm_sentinel import TelemetryProducer
from llm_sentinel import call as call_module

CHUNKS = [
    {"model": "gpt-4o", "choices": [{"delta": {"content": "Hi"}, "finish_reason": None}]},
    {"model": "gpt-4o", "choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}},
]
READ = {"model_name": "gpt-4o", "prompt_tokens": 5, "completion_tokens": 2, "finish_reason": "stop"}


class Ticking:
    """A clock that goes on by a second whenever it is read."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def perf_counter(self) -> float:
        self.seconds += 1
        return self.seconds


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "time", Ticking())


def only(producer: TelemetryProducer, kept: Kept) -> dict[str, Any]:
    """The one event that was sent."""
    assert producer.flush(10)
    assert (len(kept.events), producer.statistics.invalid) == (1, 0), producer.statistics
    return kept.events[0]


def test_a_block_is_timed_and_its_answer_read(producer: TelemetryProducer, kept: Kept) -> None:
    with producer.call(user_id=7, metadata={"region": "eu"}) as call:
        answer = as_object(CHAT)
        assert call.record(answer) is answer
    event = only(producer, kept)
    told = {"service_name": "chat", "model_name": "gpt-4o-2024-08-06", "latency_ms": 1000.0, "user_id": "7"}
    read = {"prompt_tokens": 100, "completion_tokens": 40, "cached_tokens": 64, "reasoning_tokens": 16}
    assert event.items() >= {**told, **read, "finish_reason": "stop", "request_id": "chatcmpl-1"}.items()
    assert event["metadata"] == {"region": "eu"}


def test_what_is_said_by_hand_goes_before_what_is_read(producer: TelemetryProducer, kept: Kept) -> None:
    with producer.call("other", "my-name-for-it") as call:
        call.record(CHAT)
        call.set(cost_usd=0.5, finish_reason="mine")
    expected = {"service_name": "other", "model_name": "my-name-for-it", "cost_usd": 0.5, "finish_reason": "mine"}
    assert only(producer, kept).items() >= expected.items()


def test_an_exception_goes_on_and_is_named_without_its_text(producer: TelemetryProducer, kept: Kept) -> None:
    with pytest.raises(TimeoutError, match="secret"), producer.call(model_name="gpt-4"):
        raise TimeoutError("secret")
    event = only(producer, kept)
    assert event["errors"] == ["TimeoutError"]
    assert "secret" not in str(event)


def test_a_block_may_be_asynchronous(producer: TelemetryProducer, kept: Kept) -> None:
    async def ask() -> None:
        async with producer.call() as call:
            call.record(MESSAGE)

    asyncio.run(ask())
    assert only(producer, kept)["prompt_tokens"] == 3210


def test_a_stream_within_a_block_gives_the_time_to_the_first_token(producer: TelemetryProducer, kept: Kept) -> None:
    with producer.call() as call:
        assert list(call.stream(CHUNKS)) == CHUNKS
    assert only(producer, kept).items() >= {**READ, "ttft_ms": 1000.0, "latency_ms": 2000.0}.items()


def test_a_function_is_timed(producer: TelemetryProducer, kept: Kept) -> None:
    @producer.timed("chat", user_id="u")
    def ask(question: str) -> Any:
        """Ask it."""
        return CHAT

    assert ask("why?") is CHAT
    assert (ask.__name__, ask.__doc__) == ("ask", "Ask it.")
    assert only(producer, kept).items() >= {"latency_ms": 1000.0, "user_id": "u", "prompt_tokens": 100}.items()


def test_an_asynchronous_function_stays_one(producer: TelemetryProducer, kept: Kept) -> None:
    @producer.timed()
    async def ask() -> Any:
        await asyncio.sleep(0)
        return CHAT

    assert inspect.iscoroutinefunction(ask)
    assert asyncio.run(ask()) is CHAT
    assert only(producer, kept)["prompt_tokens"] == 100


def test_a_plain_function_may_return_an_awaitable(producer: TelemetryProducer, kept: Kept) -> None:
    async def answer() -> Any:
        return CHAT

    ask = producer.timed()(lambda **_: answer())
    assert asyncio.run(ask(model="gpt-4o")) is CHAT
    assert only(producer, kept)["prompt_tokens"] == 100


def test_the_model_asked_for_names_a_failed_call(producer: TelemetryProducer, kept: Kept) -> None:
    @producer.timed()
    def ask(*, model: str) -> Any:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        ask(model="gpt-4o")
    assert only(producer, kept).items() >= {"model_name": "gpt-4o", "errors": ["ConnectionError"]}.items()


def test_an_asynchronous_failure_is_one_too(producer: TelemetryProducer, kept: Kept) -> None:
    @producer.timed(model_name="gpt-4")
    async def ask() -> Any:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(ask())
    assert only(producer, kept)["errors"] == ["ConnectionError"]


class Stream:
    """As client libraries have them: an iterator, a context, with things of its own."""

    extra = "of the stream"

    def __init__(self, fail_after: int = 99) -> None:
        self._left = iter(CHUNKS[:fail_after])
        self._fails = fail_after < 99
        self.closed = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        for chunk in self._left:
            return chunk
        if self._fails:
            raise ConnectionError
        raise StopIteration

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


def test_a_call_that_streams_ends_with_its_stream(producer: TelemetryProducer, kept: Kept) -> None:
    stream = Stream()
    answer = producer.timed()(lambda: stream)()
    assert answer.extra == "of the stream"
    with answer as entered:
        assert list(entered) == CHUNKS
    assert stream.closed
    assert only(producer, kept).items() >= {**READ, "ttft_ms": 1000.0, "latency_ms": 2000.0}.items()


def test_a_stream_that_breaks_is_a_failed_call(producer: TelemetryProducer, kept: Kept) -> None:
    answer = producer.timed()(lambda: Stream(fail_after=1))()
    with pytest.raises(ConnectionError):
        list(answer)
    assert only(producer, kept).items() >= {"errors": ["ConnectionError"], "model_name": "gpt-4o"}.items()


@pytest.mark.parametrize("leave", [lambda answer: answer.close(), lambda answer: None])
def test_a_stream_that_is_left_early_ends_its_call(producer: TelemetryProducer, kept: Kept, leave: Any) -> None:
    answer = producer.timed()(Stream)()
    for _ in CHUNKS:
        next(answer)
    leave(answer)
    del answer
    gc.collect()
    assert only(producer, kept).items() >= READ.items()


def test_a_generator_function_is_a_stream(producer: TelemetryProducer, kept: Kept) -> None:
    @producer.timed()
    def ask() -> Iterator[Any]:
        yield from CHUNKS

    assert list(ask()) == CHUNKS
    assert only(producer, kept).items() >= READ.items()


def test_asynchronous_streams_are_read_along(producer: TelemetryProducer, kept: Kept) -> None:
    @producer.timed()
    async def ask() -> AsyncIterator[Any]:
        async def chunks() -> AsyncIterator[Any]:
            for chunk in CHUNKS:
                yield chunk

        return chunks()

    async def consume() -> list[Any]:
        return [chunk async for chunk in await ask()]

    assert asyncio.run(consume()) == CHUNKS
    assert only(producer, kept).items() >= {**READ, "ttft_ms": 1000.0}.items()


def test_an_answer_that_says_nothing_is_counted_as_invalid(producer: TelemetryProducer) -> None:
    assert producer.timed(model_name="gpt-4")(lambda: "just text")() == "just text"
    assert producer.statistics.invalid == 1
    assert "prompt_tokens is required" in producer.statistics.last_problem


def test_an_answer_that_raises_when_looked_at_disturbs_nobody(producer: TelemetryProducer) -> None:
    class Nasty:
        @property
        def usage(self) -> object:
            raise RuntimeError

    nasty = Nasty()
    assert producer.timed(model_name="gpt-4")(lambda: nasty)() is nasty
    assert producer.statistics.invalid == 1


def test_a_call_ends_once(producer: TelemetryProducer, kept: Kept) -> None:
    with producer.call() as call:
        call.record(CHAT)
        call.end()
    assert only(producer, kept)["latency_ms"] == 1000.0


def test_a_detail_that_events_do_not_have_is_told_at_once(producer: TelemetryProducer) -> None:
    with pytest.raises(TypeError, match="usr_id: no such detail"):
        producer.timed(usr_id=7)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="with parentheses"):
        producer.timed(lambda: None)  # type: ignore[arg-type]
