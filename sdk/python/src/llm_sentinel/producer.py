"""What an application holds: makes events of LLM calls and sends them in the background."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable

from llm_sentinel.call import Call
from llm_sentinel.event import InvalidEvent, TelemetryEvent
from llm_sentinel.outbox import EXIT_SECONDS, Outbox, Statistics
from llm_sentinel.timing import Function, timed
from llm_sentinel.transport import Transport
from llm_sentinel.transport_http import HttpTransport
from llm_sentinel.transport_kafka import KafkaTransport

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from llm_sentinel.event import Details

log = logging.getLogger("llm_sentinel")


class TelemetryProducer:
    """Sends events over Kafka (`brokers`, `topic`), over HTTP (`url`, `token`) or over a `transport` of your own.

    Sending never waits and never raises: an event goes into a queue of at most `max_queued_events` and
    `max_queued_bytes`, which a thread empties. What does not fit is dropped; `statistics` counts that and everything
    else that went wrong, and the log (`llm_sentinel`) says so at most twice a minute. What is pending when the
    interpreter ends is delivered for up to 5 seconds; a process that is killed by a signal loses it, unless `close`
    was called. After a fork the child's producer works, with a queue and connections of its own.

    Args:
        brokers: Kafka's bootstrap servers, "host:port" each, or one text of them with commas.
        topic: the telemetry topic.
        service_name: of events that do not name theirs.
        url: the server's address, for HTTP.
        token: an API token with the scope `ingest`, for HTTP.
        kafka_settings: librdkafka's properties, such as `security.protocol`.
        max_queued_events: the most events that are queued or on their way.
        max_queued_bytes: the most bytes of them.

    Raises:
        ValueError: not exactly one way to send was named, or it cannot be used as it is.
    """

    def __init__(
        self,
        brokers: str | Sequence[str] | None = None,
        topic: str = "llm.telemetry",
        *,
        service_name: str = "",
        url: str | None = None,
        token: str = "",
        transport: Transport | None = None,
        kafka_settings: Mapping[str, Any] | None = None,
        max_queued_events: int = 10_000,
        max_queued_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        if sum(bool(way) for way in (brokers, url, transport)) != 1:
            raise ValueError("name exactly one of brokers (Kafka), url (HTTP) and transport")
        if kafka_settings and not brokers:
            raise ValueError("kafka_settings are for brokers (Kafka)")
        if min(max_queued_events, max_queued_bytes) < 1:
            raise ValueError("max_queued_events and max_queued_bytes must be 1 or more")
        if brokers:
            transport = KafkaTransport(brokers, topic, settings=kafka_settings)
        elif url:
            transport = HttpTransport(url, token)
        assert transport is not None
        self._service_name = service_name
        self._outbox = Outbox(transport, max_events=max_queued_events, max_bytes=max_queued_bytes)

    def create_telemetry_event(
        self,
        service_name: str | None = None,
        model_name: str = "",
        latency_ms: float = 0.0,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        **details: Unpack[Details],
    ) -> TelemetryEvent:
        """An event of a call that ended now, unless `timestamp` says when. It is checked when it is sent."""
        names = (self._service_name if service_name is None else service_name, model_name)
        return TelemetryEvent(*names, latency_ms, prompt_tokens, completion_tokens, **details)

    def send_event(self, event: TelemetryEvent) -> bool:
        """Queue an event; false if it was dropped, or is one that the server would refuse. Never raises."""
        try:
            message = event.encode()
        except InvalidEvent as error:
            self._outbox.refuse(f"invalid event: {error}")
            return False
        except Exception as error:  # noqa: BLE001 - values may do anything when they are made into text
            self._outbox.refuse(f"invalid event: {type(error).__name__}: {error}")
            return False
        return self._outbox.put(message)

    def call(self, service_name: str | None = None, model_name: str | None = None, **details: Unpack[Details]) -> Call:
        """A call that begins now: `with producer.call("chat") as call: call.record(client.create(...))`.

        Without `model_name`, the answer's. Raises TypeError for a detail that events do not have.
        """
        return Call(self.send_event, self._service_name if service_name is None else service_name, model_name, details)

    def timed(
        self, service_name: str | None = None, model_name: str | None = None, **details: Unpack[Details]
    ) -> Callable[[Function], Function]:
        """Decorator: every call of the function, plain or asynchronous, streaming or not, is an LLM call.

        The function returns the provider's answer, from which tokens and model are read; without `model_name` and a
        model in the answer, the function's argument `model` names it. A method of a client may be wrapped too:
        `create = producer.timed("chat")(client.chat.completions.create)`.
        """
        if callable(service_name):
            raise TypeError("write @producer.timed(), with parentheses")
        self.call(service_name, model_name, **details)  # so that a wrong detail is told now, not in a request
        return lambda function: timed(function, lambda: self.call(service_name, model_name, **details))

    @property
    def statistics(self) -> Statistics:
        """What became of the events so far."""
        return self._outbox.statistics

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything sent so far is delivered, rejected or lost; false if `timeout` seconds are over."""
        return self._outbox.flush(timeout)

    def close(self, timeout: float = EXIT_SECONDS) -> bool:
        """Deliver what is pending for up to `timeout` seconds; false if something had to be given up."""
        return self._outbox.close(timeout)

    def __enter__(self) -> TelemetryProducer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
