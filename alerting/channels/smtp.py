"""One guarded SMTP conversation: a judged address, replies of bounded length, one deadline over everything."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from django.conf import settings

from alerting.channels import addresses
from alerting.channels.base import DeliveryFailed
from alerting.channels.deadline import Deadline

MAX_REPLY_BYTES = 64 * 1024
Open = Callable[[str, int], socket.socket]


class BoundedReplies:
    """Lines of a server that may say so much in one conversation and then is taken to have hung up."""

    def __init__(self, lines: BinaryIO) -> None:
        self._lines = lines
        self._left = MAX_REPLY_BYTES

    def readline(self, limit: int) -> bytes:
        line = self._lines.readline(limit)
        self._left -= len(line)
        return line if self._left >= 0 else b""

    def close(self) -> None:
        self._lines.close()


class Client(smtplib.SMTP):
    """Connects by `open_` alone and remembers what the server said to the mail."""

    said: tuple[int, str] = (0, "")

    def __init__(self, open_: Open, host: str, port: int, timeout: float, **options: Any) -> None:
        self._open = open_
        # Its own name without asking DNS, which knows no deadline.
        super().__init__(host, port, local_hostname=socket.gethostname() or "localhost", timeout=timeout, **options)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._open(host, port)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = BoundedReplies(self.sock.makefile("rb"))
        return super().getreply()

    def data(self, msg: Any) -> tuple[int, bytes]:
        code, text = super().data(msg)
        self.said = code, f"{code} {text.decode('utf-8', 'replace')}"
        return code, text


class TLSClient(smtplib.SMTP_SSL, Client):
    """The same with TLS from the first byte; certificate and name are those of the host, not of the address."""

    def __init__(self, open_: Open, host: str, port: int, timeout: float) -> None:
        self._open = open_
        name = socket.gethostname() or "localhost"
        smtplib.SMTP_SSL.__init__(self, host, port, name, timeout=timeout, context=ssl.create_default_context())


@contextlib.contextmanager
def open_client(host: str, port: int, security: str, trusted: bool, seconds: float) -> Iterator[Client]:
    """A conversation with the server that is over within `seconds`.

    What a person entered is connected to only where the address guard allows it. Raises `DeliveryFailed` where no
    conversation comes about, or where the deadline ended it.
    """
    deadline = Deadline(seconds)

    def connect(name: str, at_port: int) -> socket.socket:
        connection = addresses.connect(_addresses(name, at_port, trusted, deadline), deadline.remaining)
        deadline.watch(connection)
        return connection

    with deadline.kept():
        client = None
        try:
            client = (TLSClient if security == "tls" else Client)(connect, host, port, seconds)
            yield client
            # The mail is delivered by now, whatever a server makes of a good-bye.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                client.quit()
        except (smtplib.SMTPException, OSError, DeliveryFailed) as error:
            raise _failure(error, deadline) from None
        finally:
            if client is not None:
                client.close()


def _addresses(host: str, port: int, trusted: bool, deadline: Deadline) -> list[addresses.SocketAddress]:
    if trusted:
        return addresses.resolve_within(host, port, deadline.remaining())
    allowed = tuple(settings.SENTINEL.alerting.webhook.allowed_private_networks)
    return addresses.checked_addresses(host, port, allowed, deadline.remaining())


def _failure(error: Exception, deadline: Deadline) -> DeliveryFailed:
    if deadline.passed:
        return DeliveryFailed(f"no answer within {deadline.seconds:g} s", permanent=False)
    if isinstance(error, DeliveryFailed):
        return error
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return DeliveryFailed("the server hung up", permanent=False)
    return DeliveryFailed(f"{type(error).__name__}: {error}", permanent=False)
