"""One LLM call while it lasts: how long it takes, what its answer says, how it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from llm_sentinel.event import TelemetryEvent
from llm_sentinel.streams import AsyncObserved, Observed
from llm_sentinel.usage import Usage, usage_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from llm_sentinel.event import Details

Answer = TypeVar("Answer")
KNOWN = frozenset(TelemetryEvent.__dataclass_fields__)

log = logging.getLogger("llm_sentinel")


class Call:
    """Measures from its making to its end and then sends one event, once; nothing it does raises.

    Usable with `with` and `async with`: an exception that leaves the block makes a failed call of it, named by the
    exception's class (its text may hold what is nobody's business), and goes on.
    """

    def __init__(
        self,
        send: Callable[[TelemetryEvent], bool],
        service_name: str,
        model_name: str | None,
        details: Mapping[str, Any],
    ) -> None:
        if unknown := details.keys() - KNOWN:
            raise TypeError(f"{', '.join(sorted(unknown))}: no such detail; known are {', '.join(sorted(KNOWN))}")
        self._send = send
        self._service_name = service_name
        self._model_name = model_name
        self._requested_model = ""
        self._details = dict(details)
        self._usage = Usage()
        self._ended = False
        self._ttft_ms: float | None = None
        self._began = time.perf_counter()

    def record(self, answer: Answer) -> Answer:
        """Take tokens, model and finish reason from an answer of OpenAI's or Anthropic's shape; returns the answer."""
        try:
            self._usage.update(usage_of(answer))
        except Exception:
            log.debug("an answer could not be read", exc_info=True)
        return answer

    def set(self, **details: Unpack[Details]) -> None:
        """Say more of the call: what was counted or priced by hand. Goes before what `record` found."""
        self._details.update(details)

    def request(self, model_name: object) -> None:
        """The model that was asked for, in case the answer does not name the one that answered."""
        self._requested_model = model_name if isinstance(model_name, str) else ""

    def first_token(self) -> None:
        """The first part of the answer is here; `stream` says so by itself."""
        if self._ttft_ms is None:
            self._ttft_ms = self._elapsed_ms()

    def part(self, chunk: object) -> None:
        """Take what one part of a streamed answer says."""
        self.first_token()
        self.record(chunk)

    def stream(self, chunks: Iterable[Any]) -> Observed:
        """The same stream, read along; the call still ends with its block."""
        return Observed(chunks, self.part, lambda error: None)

    def astream(self, chunks: AsyncIterable[Any]) -> AsyncObserved:
        """The same asynchronous stream, read along; the call still ends with its block."""
        return AsyncObserved(chunks, self.part, lambda error: None)

    def end(self, error: BaseException | None = None) -> None:
        """The call is over, with an exception or an answer: send its event. Later ends do nothing."""
        if self._ended:
            return
        self._ended = True
        latency_ms = self._elapsed_ms()
        try:
            self._send(self._event(latency_ms, error))
        except Exception:
            log.debug("an event could not be made", exc_info=True)

    def _event(self, latency_ms: float, error: BaseException | None) -> TelemetryEvent:
        found = {name: value for name, value in vars(self._usage).items() if value is not None}
        model = self._model_name or found.pop("model_name", "") or self._requested_model
        found.pop("model_name", None)
        if self._ttft_ms is not None:
            found["ttft_ms"] = self._ttft_ms
        if error is not None:
            found["errors"] = [type(error).__name__]
        said = {"service_name": self._service_name, "model_name": model, "latency_ms": latency_ms}
        return TelemetryEvent(**{**said, **found, **self._details})

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._began) * 1000

    def __enter__(self) -> Call:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end(error)

    async def __aenter__(self) -> Call:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.end(error)
