"""RabbitMQ: a persistent message to a topic exchange, confirmed by the broker and refused if no queue takes it."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import structlog
from amqp.exceptions import AccessRefused, AMQPError, ChannelError, MessageNacked, PreconditionFailed
from django.conf import settings
from kombu import Connection, Exchange, Producer, Queue
from kombu.exceptions import OperationalError
from kombu.transport import pyamqp

from alerting.channels.addresses import checked_addresses
from alerting.channels.base import (
    MAX_SEND_SECONDS,
    TIMEOUT,
    Answer,
    DeliveryFailed,
    Message,
    Setting,
    Target,
    seconds_problem,
    unknown_keys,
)
from alerting.channels.deadline import Deadline
from alerting.rules.payload import routing_key

log = structlog.get_logger(__name__)

NO_ROUTE = 312
QUEUE_ARGUMENTS = {"x-max-length": 10_000, "x-max-length-bytes": 64 * 1024 * 1024, "x-overflow": "drop-head"}
MEMORY_QUEUE_LENGTH = 1_000


class RabbitMQ:
    """Exchange and default queue are declared before each message: a broker that lost its disk delivers again.

    The secret is the password. A nack, a message no queue takes and a missing confirm may all be tried again.
    """

    name: ClassVar[str] = "rabbitmq"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("url", "The broker and virtual host, as in amqp://rabbitmq:5672/vhost.", required=True),
        Setting("username", "User name, unless the URL has one."),
        Setting("exchange", "Durable topic exchange; sentinel.alerts if empty."),
        Setting("routing_key_prefix", "First word of <prefix>.<severity>.<service>.<type>; alert if empty."),
        Setting("persistent", "Whether messages survive a restart of the broker.", type="switch"),
        TIMEOUT,
    )
    credential: ClassVar[str] = "The password."

    def problems(self, config: dict[str, Any], secret: str) -> dict[str, str]:
        found = unknown_keys(config, self.settings) | _url_problem(config.get("url"))
        found |= seconds_problem(config, "timeout_secs")
        if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,127}", str(config.get("exchange", "sentinel.alerts"))):
            found["exchange"] = "must be 1 to 127 letters, digits, _ . : or -"
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", str(config.get("routing_key_prefix", "alert"))):
            found["routing_key_prefix"] = "must be 1 to 32 letters, digits, _ or -"
        if not isinstance(config.get("persistent", True), bool):
            found["persistent"] = "must be true or false"
        if not isinstance(config.get("username", ""), str):
            found["username"] = "must be a text"
        return found

    def send(self, target: Target, message: Message, at: datetime) -> Answer:
        try:
            with _connection(target) as connection:
                _publish(connection, target.config, message, at)
        except (AMQPError, MessageNacked, OperationalError, OSError) as error:
            raise _failure(error) from None
        return Answer(None, "confirmed" if not _in_memory(target.config["url"]) else "published in memory")


def _in_memory(url: str) -> bool:
    return url.startswith("memory:")


def _seconds(config: dict[str, Any]) -> float:
    return min(float(config.get("timeout_secs", 10.0)), MAX_SEND_SECONDS)


@contextlib.contextmanager
def _connection(target: Target) -> Iterator[Connection]:
    """A connection of its own for one message: after a time-out or an error its state would be anybody's guess."""
    seconds = _seconds(target.config)
    deadline = Deadline(2 * seconds)
    if _in_memory(target.config["url"]):
        options: dict[str, Any] = {"transport_options": {"polling_interval": 0.05}}
        hostname = target.config["url"]
    else:
        limits = dict.fromkeys(("confirm_timeout", "read_timeout", "write_timeout"), seconds)
        options = {"transport_options": {"confirm_publish": True, **limits}, "heartbeat": 0}
        hostname, options["ssl"] = _address(target, seconds)
        options["transport"] = _watched(deadline)
    connection = Connection(hostname, connect_timeout=seconds, **options)
    with deadline.kept():
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=seconds)
            yield connection
        except (AMQPError, OperationalError, OSError):
            if deadline.passed:
                raise TimeoutError from None
            raise
        finally:
            with contextlib.suppress(Exception):
                connection.close()


def _watched(deadline: Deadline) -> type[pyamqp.Transport]:
    """A transport whose connection is cut when the time is up: its own time-outs begin anew with every byte."""

    class WatchedConnection(pyamqp.Connection):  # type: ignore[misc]
        def Transport(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 (overrides)
            transport = super().Transport(*args, **kwargs)
            connect = transport._connect

            def connect_and_watch(*where: Any) -> None:
                connect(*where)
                deadline.watch(transport.sock)

            transport._connect = connect_and_watch
            return transport

    return type("WatchedTransport", (pyamqp.Transport,), {"Connection": WatchedConnection})


def _address(target: Target, seconds: float) -> tuple[str, dict[str, Any] | bool]:
    """The URL to connect to, with credentials, and TLS settings; what a person entered becomes a judged address."""
    url = urlsplit(target.config["url"])
    host, port = url.hostname or "localhost", url.port or (5671 if url.scheme == "amqps" else 5672)
    tls: dict[str, Any] | bool = False
    if url.scheme == "amqps":
        tls = {"server_hostname": host, "cert_reqs": ssl.CERT_REQUIRED}
    if not target.trusted:
        allowed = settings.SENTINEL.alerting.webhook.allowed_private_networks
        host = str(checked_addresses(host, port, allowed, seconds)[0][1][0])
    user = unquote(url.username or "") or target.config.get("username") or "guest"
    password = target.secret or unquote(url.password or "")
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit(("amqp", f"{credentials}@{place}", url.path, "", "")), tls


def _publish(connection: Connection, config: dict[str, Any], message: Message, at: datetime) -> None:
    prefix = config.get("routing_key_prefix", "alert")
    exchange = Exchange(config.get("exchange", "sentinel.alerts"), type="topic", durable=True)
    queue = _declare(connection, exchange, prefix)
    with connection.channel() as channel:
        if not _in_memory(config["url"]):
            channel.confirm_select()
        # No return handler: with one a message that no queue took would count as published.
        Producer(channel, exchange).publish(
            message.body,
            routing_key=routing_key(prefix, message.severity, message.service, message.anomaly_type),
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2 if config.get("persistent", True) else 1,
            mandatory=True,
            confirm_timeout=_seconds(config),
            message_id=message.id,
            type=message.event,
            timestamp=int(at.timestamp()),
            retry=False,
        )
        if _in_memory(config["url"]):
            _keep_short(queue(channel))


def _declare(connection: Connection, exchange: Exchange, prefix: str) -> Queue:
    """The exchange and a bounded queue that takes everything, so that a fresh installation delivers.

    Where they exist with other arguments, or the user may not declare, they are used as they are: whoever set the
    broker up so, knew why. If nothing takes the message the broker will say so.
    """
    queue = Queue(exchange.name, exchange, f"{prefix}.#", durable=True, queue_arguments=QUEUE_ARGUMENTS)
    channel = connection.channel()
    try:
        queue(channel).declare()
    except (PreconditionFailed, AccessRefused) as error:
        log.info("rabbitmq_declare_refused", exchange=exchange.name, reason=error.reply_text)
    finally:
        with contextlib.suppress(Exception):
            channel.close()
    return queue


def _keep_short(queue: Queue) -> None:
    # The memory transport knows no x-max-length, and nobody may ever read this queue.
    for _ in range(queue.queue_declare(passive=True)[1] - MEMORY_QUEUE_LENGTH):
        queue.get(no_ack=True)


def _failure(error: Exception) -> DeliveryFailed:
    code = getattr(error, "reply_code", None) or None
    if isinstance(error, MessageNacked):
        return DeliveryFailed("the broker refused the message (nack)", permanent=False, status_code=code)
    if isinstance(error, ChannelError) and code == NO_ROUTE:
        return DeliveryFailed("no queue takes messages of this routing key", permanent=False, status_code=code)
    if isinstance(error, AccessRefused):
        return DeliveryFailed(f"the broker refuses access: {error.reply_text}", permanent=False, status_code=code)
    if isinstance(error, OperationalError):
        return DeliveryFailed(f"the broker cannot be reached: {error}", permanent=False, status_code=code)
    if isinstance(error, TimeoutError):
        return DeliveryFailed("the broker did not confirm in time", permanent=False)
    return DeliveryFailed(f"{type(error).__name__}: {error}", permanent=False, status_code=code)


def _url_problem(url: object) -> dict[str, str]:
    if not isinstance(url, str) or not url:
        return {"url": "is required: the broker's address, as in amqp://rabbitmq:5672/vhost"}
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises on a port that is no number
    except ValueError as error:
        return {"url": f"is not a URL: {error}"}
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        return {"url": "must begin with amqp:// or amqps:// and name a host"}
    if parts.password is not None:
        return {"url": "must not hold a password; it belongs in the secret"}
    return {}
