"""A function, or a method of a client, each of whose calls is one LLM call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable
from typing import Any, Callable, TypeVar, cast

from llm_sentinel.call import Call
from llm_sentinel.streams import AsyncObserved, Observed, is_async_stream, is_stream

Function = TypeVar("Function", bound=Callable[..., Any])


def timed(function: Function, begin: Callable[[], Call]) -> Function:
    """`function`, plain or asynchronous, with a call begun before it and ended with its answer.

    An answer that is streamed ends the call when the stream ends, is closed or forgotten.
    """
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def measured_async(*args: Any, **kwargs: Any) -> Any:
            call = _begun(begin, kwargs)
            return await _awaited(_made(call, function, args, kwargs), call)

        return cast("Function", measured_async)

    @functools.wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        call = _begun(begin, kwargs)
        answer = _made(call, function, args, kwargs)
        # Clients wrap their asynchronous methods so that only the answer tells what they are.
        return _awaited(answer, call) if inspect.isawaitable(answer) else _answered(answer, call)

    return cast("Function", measured)


def _begun(begin: Callable[[], Call], kwargs: dict[str, Any]) -> Call:
    call = begin()
    call.request(kwargs.get("model"))
    return call


def _made(call: Call, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        call.end(error)
        raise


async def _awaited(answer: Awaitable[Any], call: Call) -> Any:
    try:
        result = await answer
    except BaseException as error:
        call.end(error)
        raise
    return _answered(result, call)


def _answered(answer: Any, call: Call) -> Any:
    if is_stream(answer):
        return Observed(answer, call.part, call.end)
    if is_async_stream(answer):
        return AsyncObserved(answer, call.part, call.end)
    call.record(answer)
    call.end()
    return answer
