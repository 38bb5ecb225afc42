"""One guarded HTTP request: a judged address, no redirects, no proxies, one deadline over everything."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from alerting.channels import addresses
from alerting.channels.base import MAX_ANSWER_CHARACTERS, DeliveryFailed
from alerting.channels.deadline import Deadline

MAX_ANSWER_BYTES = 64 * 1024


class GuardedAdapter(HTTPAdapter):
    """Connects only to addresses that the guard has judged; host name and TLS name stay those of the URL."""

    def __init__(self, allowed: tuple[addresses.IPNetwork, ...], deadline: Deadline) -> None:
        self._allowed = allowed
        self._deadline = deadline
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.poolmanager.pool_classes_by_scheme = {
            "http": self._guarded(HTTPConnectionPool, HTTPConnection),
            "https": self._guarded(HTTPSConnectionPool, HTTPSConnection),
        }

    def _guarded(self, pool: type, connection: type) -> type:
        adapter = self

        def _new_conn(self: Any) -> socket.socket:
            return adapter.open(self._dns_host, self.port)

        guarded = type(f"Guarded{connection.__name__}", (connection,), {"_new_conn": _new_conn})
        return type(f"Guarded{pool.__name__}", (pool,), {"ConnectionCls": guarded})

    def open(self, host: str, port: int) -> socket.socket:
        """A connection to one judged address of `host`; the only way this adapter opens one."""
        deadline = self._deadline
        judged = addresses.checked_addresses(host.strip("[]"), port, self._allowed, deadline.remaining())
        connection = addresses.connect(judged, deadline.remaining)
        deadline.watch(connection)
        return connection


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, lower-case headers and the beginning of the text."""

    status: int
    headers: dict[str, str]
    text: str


def request(
    method: str,
    url: str,
    headers: dict[str, str],
    body: bytes,
    *,
    allowed: tuple[addresses.IPNetwork, ...],
    seconds: float,
) -> Reply:
    """One request, over within `seconds`. Any answer is a `Reply`; no answer is a `DeliveryFailed`.

    `Accept-Encoding: identity` is sent and nothing is ever unpacked, so an answer takes 64 KiB at most.
    """
    deadline = Deadline(seconds)
    with deadline.kept(), requests.Session() as session:
        session.trust_env = False  # no proxy, no .netrc: both would send secrets elsewhere
        session.mount("https://", GuardedAdapter(allowed, deadline))
        session.mount("http://", GuardedAdapter(allowed, deadline))
        try:
            response = session.request(
                method,
                url,
                data=body,
                headers={"Accept-Encoding": "identity", **headers},
                timeout=seconds,
                allow_redirects=False,
                stream=True,
            )
        except (requests.RequestException, HTTPError, OSError, UnicodeError) as error:
            raise _failure(error, deadline) from None
        with response:
            # http.client takes headers that were cut off for headers that ended.
            if deadline.passed:
                raise _failure(TimeoutError(), deadline)
            return _reply(response)


def _failure(error: Exception, deadline: Deadline) -> DeliveryFailed:
    if deadline.passed or isinstance(error, requests.Timeout | TimeoutError):
        return DeliveryFailed(f"no answer within {deadline.seconds:g} s", permanent=False)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader | UnicodeError):
        # Not its text, which repeats the URL or the header: either may be a secret.
        return DeliveryFailed(f"{type(error).__name__}: no such request can be sent", permanent=True)
    return DeliveryFailed(f"{type(error).__name__}: {_root(error)}", permanent=False)


def _root(error: BaseException) -> BaseException:
    """The innermost reason: the outer ones only repeat it, with addresses of objects in memory."""
    inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
    inner = getattr(error, "reason", None) or inner or error.__cause__ or error.__context__
    return _root(inner) if isinstance(inner, BaseException) else error


def _reply(response: requests.Response) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    pieces = bytearray()
    # The status is the verdict; an answer that breaks off or drips until the deadline does not change it.
    with contextlib.suppress(HTTPError, OSError, ValueError):
        while len(pieces) < MAX_ANSWER_BYTES:
            piece = response.raw.read1(MAX_ANSWER_BYTES - len(pieces), decode_content=False)
            if not piece:
                break
            pieces += piece
    return Reply(response.status_code, headers, _text(bytes(pieces), headers))


def _text(data: bytes, headers: dict[str, str]) -> str:
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        return f"({len(data)} bytes in Content-Encoding {encoding[:32]}, not unpacked)"
    return data.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")[:MAX_ANSWER_CHARACTERS]
