"""Streamed answers, read along while the caller consumes them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Any, Callable, Optional

Part = Callable[[object], None]
End = Callable[[Optional[BaseException]], None]


class _Stands:
    """Stands for a stream: whatever else one asks of it, the stream itself answers."""

    def __init__(self, stream: Any, part: Part, end: End) -> None:
        self._stream = stream
        self._part = part
        self._end = end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Observed(_Stands):
    """An iterable whose items are shown to `part`; `end` is told how it ended: to its end, by an error, or early."""

    _items: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            if self._items is None:
                self._items = iter(self._stream)
            item = next(self._items)
        except StopIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._part(item)
        return item

    def close(self) -> None:
        self._end(None)
        close_stream = getattr(self._stream, "close", None)
        if close_stream:
            close_stream()

    def __enter__(self) -> Observed:
        enter = getattr(self._stream, "__enter__", None)
        if enter:
            self._stream = enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> Any:
        self._end(error)
        leave = getattr(self._stream, "__exit__", None)
        return leave(kind, error, at) if leave else None

    def __del__(self) -> None:
        self._end(None)


class AsyncObserved(_Stands):
    """The same for an asynchronous iterable."""

    _items: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            if self._items is None:
                self._items = self._stream.__aiter__()
            item = await self._items.__anext__()
        except StopAsyncIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._part(item)
        return item

    async def aclose(self) -> None:
        await self._close("aclose")

    async def close(self) -> None:
        await self._close("close")

    async def _close(self, name: str) -> None:
        self._end(None)
        close_stream = getattr(self._stream, name, None)
        if close_stream:
            await close_stream()

    async def __aenter__(self) -> AsyncObserved:
        enter = getattr(self._stream, "__aenter__", None)
        if enter:
            self._stream = await enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> Any:
        self._end(error)
        leave = getattr(self._stream, "__aexit__", None)
        return await leave(kind, error, at) if leave else None

    def __del__(self) -> None:
        self._end(None)


def is_stream(answer: object) -> bool:
    """Whether an answer comes piece by piece: it is its own iterator, as streams and generators are."""
    return isinstance(answer, Iterator) and isinstance(answer, Iterable)


def is_async_stream(answer: object) -> bool:
    return isinstance(answer, AsyncIterator) and isinstance(answer, AsyncIterable)
