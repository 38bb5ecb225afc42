"""A corner of a real RabbitMQ for one test: an exchange and queue of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError

from alerting.channels.base import Target


@dataclass(frozen=True)
class Found:
    """One message as it lies in a queue."""

    body: bytes
    properties: dict[str, Any]
    delivery_info: dict[str, Any]


@dataclass(frozen=True)
class Broker:
    url: str
    exchange: str

    @classmethod
    @contextlib.contextmanager
    def fresh(cls, url: str) -> Iterator[Broker]:
        """An exchange nobody else uses, deleted with its queue afterwards."""
        broker = cls(url, f"sentinel.test.{uuid.uuid4().hex[:12]}")
        try:
            yield broker
        finally:
            with contextlib.suppress(OperationalError, OSError), broker.connection() as connection:
                channel = connection.channel()
                channel.queue_delete(broker.exchange)
                channel.exchange_delete(broker.exchange)

    def connection(self) -> Connection:
        return Connection(self.url, connect_timeout=5)

    def target(self, **config: Any) -> Target:
        """Where a channel would send, as a person might enter it."""
        parts = urlsplit(self.url)
        location = f"amqp://{parts.hostname}:{parts.port}{parts.path}"
        values = {"url": location, "username": unquote(parts.username or "guest"), "exchange": self.exchange}
        return Target("rabbit", values | {"timeout_secs": 3} | config, unquote(parts.password or "guest"))

    def bind(self, queue: str, routing_key: str, **arguments: Any) -> None:
        """A queue of the receiver's own."""
        with self.connection() as connection:
            exchange = Exchange(self.exchange, type="topic", durable=True)
            Queue(queue, exchange, routing_key, durable=True, queue_arguments=arguments)(connection.channel()).declare()

    def drain(self, queue: str | None = None) -> list[Found]:
        """Take every message out of a queue; by default the one that takes everything."""
        found = []
        with self.connection() as connection, connection.channel() as channel:
            while taken := self._get(channel, queue or self.exchange):
                body = taken.body.encode() if isinstance(taken.body, str) else bytes(taken.body)
                found.append(Found(body, taken.properties, taken.delivery_info))
        return found

    @staticmethod
    def _get(channel: Any, queue: str) -> Any:
        try:
            return channel.basic_get(queue, no_ack=True)
        except channel.connection.channel_errors:
            return None  # nobody has declared it yet


@contextlib.contextmanager
def mute_after(url: str, marker: bytes) -> Iterator[str]:
    """A broker's address behind which the broker falls silent as soon as a client has sent `marker`."""
    place = urlsplit(url)
    silent = threading.Event()
    sockets: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket, outgoing: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if outgoing and marker in data:
                    silent.set()
                if outgoing or not silent.is_set():
                    sink.sendall(data)

    def accept(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                broker = socket.create_connection((place.hostname, place.port))
                sockets.extend((client, broker))
                threading.Thread(target=pump, args=(client, broker, True), daemon=True).start()
                threading.Thread(target=pump, args=(broker, client, False), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        try:
            yield url.replace(f":{place.port}", f":{listener.getsockname()[1]}")
        finally:
            for each in [listener, *sockets]:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
