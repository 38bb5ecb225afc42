"""Events over HTTP: POST /api/v1/events, in gzipped batches, with retries."""

from __future__ import annotations

import email.utils
import gzip
import http.client
import json
import random
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from llm_sentinel.transport import Delivery, Message, Pause

PATH = "/api/v1/events"
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
LONGEST_RETRY_AFTER_SECONDS = 300.0
WORTH_A_RETRY = {408, 425, 429, 500, 502, 503, 504}
TOO_LARGE = 413
UNSUPPORTED = 415
MOST_OF_ANSWER = 4 * 1024 * 1024
EXCERPT = 300


class Answer(NamedTuple):
    """Status (0: no answer came), what the body says, and the seconds of Retry-After, if it was given."""

    status: int
    body: Any
    text: str
    retry_after: float | None


class HttpTransport:
    """Batches to `url`, the server's address, authorised by an API token with the scope `ingest`.

    A failure that may pass (no connection, 408, 429, 5xx) is retried with exponential backoff and full jitter, not
    before `Retry-After`, for `delivery_seconds`; the server counts an event that came twice once. Redirects are not
    followed, so that the token goes nowhere else. Raises ValueError for an address that is not http(s).
    """

    batch_events = 1_000
    batch_bytes = 2 * 1024 * 1024
    linger_seconds = 0.2

    def __init__(
        self,
        url: str,
        token: str,
        *,
        delivery_seconds: float = 60.0,
        request_seconds: float = 10.0,
        compress: bool = True,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ValueError(f'url must be like "https://sentinel.example.com", not "{url}"')
        self._url = url.rstrip("/") + PATH
        self._headers = {"Content-Type": "application/json", "User-Agent": "llm-sentinel-python"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._delivery_seconds = delivery_seconds
        self._request_seconds = request_seconds
        self._compress = compress
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=ssl_context))

    def deliver(self, batch: Sequence[Message], pause: Pause) -> Delivery:
        """Post a batch until it is accepted, refused for good, or `delivery_seconds` are over."""
        end = time.monotonic() + self._delivery_seconds
        attempt = 0
        while True:
            answer = self._post(batch)
            if answer.status == TOO_LARGE and len(batch) > 1:
                return self._in_halves(batch, pause)
            if answer.status == UNSUPPORTED and self._compress:
                self._compress = False  # an older server
                continue
            if answer.status and answer.status not in WORTH_A_RETRY:
                return _judged(answer, len(batch))
            wait = _wait(attempt, answer.retry_after)
            attempt += 1
            if time.monotonic() + wait > end or pause(wait):
                return Delivery(lost=len(batch), reason=_described(answer))

    def _in_halves(self, batch: Sequence[Message], pause: Pause) -> Delivery:
        middle = len(batch) // 2
        first, second = self.deliver(batch[:middle], pause), self.deliver(batch[middle:], pause)
        return Delivery(first.rejected + second.rejected, first.lost + second.lost, second.reason or first.reason)

    def _post(self, batch: Sequence[Message]) -> Answer:
        body = b"[" + b",".join(message.value for message in batch) + b"]"
        headers = dict(self._headers)
        if self._compress:
            body, headers["Content-Encoding"] = gzip.compress(body, 5), "gzip"
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310 - http(s), checked above
        try:
            with self._opener.open(request, timeout=self._request_seconds) as response:
                return _read(response.status, response)
        except urllib.error.HTTPError as error:
            with error:
                return _read(error.code, error)
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, None, f"{type(error).__name__}: {error}", None)

    def after_fork(self) -> None:
        """Every request has a connection of its own: there is nothing to make anew."""

    def close(self) -> None:
        """Every request has a connection of its own: there is nothing to let go of."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Not followed; the answer comes back as an error with its 3xx status."""


def _read(status: int, response: Any) -> Answer:
    text = response.read(MOST_OF_ANSWER).decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    return Answer(status, body, text, _seconds(response.headers.get("Retry-After")))


def _seconds(retry_after: str | None) -> float | None:
    """Seconds from now of a Retry-After header, which holds seconds or a date."""
    if not retry_after:
        return None
    if retry_after.strip().isdigit():
        return min(float(retry_after), LONGEST_RETRY_AFTER_SECONDS)
    try:
        moment = email.utils.parsedate_to_datetime(retry_after).timestamp()
    except (TypeError, ValueError):
        return None
    return min(max(0.0, moment - time.time()), LONGEST_RETRY_AFTER_SECONDS)


def _wait(attempt: int, retry_after: float | None) -> float:
    backoff: float = random.random() * min(FIRST_BACKOFF_SECONDS * 2**attempt, LONGEST_BACKOFF_SECONDS)
    return backoff if retry_after is None else retry_after + backoff


def _judged(answer: Answer, sent: int) -> Delivery:
    """What a final answer says of a batch; without a receipt a success counts for all, anything else for none."""
    receipt = answer.body if isinstance(answer.body, dict) else {}
    rejected = receipt.get("rejected")
    if isinstance(rejected, list) and rejected:
        first = rejected[0] if isinstance(rejected[0], dict) else {}
        return Delivery(rejected=min(len(rejected), sent), reason=f"rejected: {first.get('error', '')}")
    if 200 <= answer.status < 300:
        return Delivery()
    if answer.status == TOO_LARGE:
        return Delivery(rejected=sent, reason=_described(answer))
    return Delivery(lost=sent, reason=_described(answer))


def _described(answer: Answer) -> str:
    detail = answer.body.get("detail") if isinstance(answer.body, dict) else None
    text = str(detail or answer.text)[:EXCERPT]
    return f"HTTP {answer.status}: {text}" if answer.status else text
