"""What channels over HTTP share: JSON posted to a guarded address, and what the receiver's status says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from django.conf import settings

from alerting.channels import http
from alerting.channels.base import MAX_SEND_SECONDS, Answer, DeliveryFailed

DEFAULT_SECONDS = 10.0
RETRIED = {408, 429}
GONE = 410
ONE_LINE = re.compile(r"[\x21-\x7e]+")


def post(
    url: str,
    body: bytes,
    at: datetime,
    config: Mapping[str, Any],
    *,
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
    secret: str = "",
) -> Answer:
    """Post JSON and judge the answer; `config` may hold `timeout_secs`.

    `secret` is kept out of whatever is said about the attempt: a receiver may echo it, and an error name its URL.
    Raises `DeliveryFailed`.
    """
    try:
        reply = http.request(
            method,
            url,
            {"Content-Type": "application/json", "User-Agent": "LLM-Sentinel", **(headers or {})},
            body,
            allowed=tuple(settings.SENTINEL.alerting.webhook.allowed_private_networks),
            seconds=send_seconds(config),
        )
        return without(secret, judged(reply, at))
    except DeliveryFailed as failure:
        failure.args = (hide(secret, str(failure)),)
        failure.answer = hide(secret, failure.answer)
        raise


def send_seconds(config: Mapping[str, Any]) -> float:
    """The seconds that one attempt may take by the settings of a channel."""
    return min(float(config.get("timeout_secs", DEFAULT_SECONDS)), MAX_SEND_SECONDS)


def judged(reply: http.Reply, at: datetime) -> Answer:
    """The answer of a receiver that accepted.

    2xx is success; 408, 429, 3xx and 5xx may be tried again; any other answer ends the delivery; 410 the channel.
    A redirect is not followed: the address it names was never entered by anybody here. It may be tried again
    because a page of a proxy under maintenance looks the same. Raises `DeliveryFailed` for all but success.
    """
    status = reply.status
    if 200 <= status < 300:
        return Answer(status, reply.text)
    reason = f"the receiver answered {status}{' Gone' if status == GONE else ''}"
    if 300 <= status < 400:
        reason += f"; redirects are not followed (to {reply.headers.get('location', 'nowhere')[:100]})"
    raise DeliveryFailed(
        reason,
        permanent=400 <= status < 500 and status not in RETRIED,
        retry_after=retry_after_seconds(reply.headers.get("retry-after"), at),
        status_code=status,
        answer=reply.text,
        gone=status == GONE,
    )


def retry_after_seconds(value: str | None, at: datetime) -> float | None:
    """The seconds a `Retry-After` header asks for, in either of its forms; None where it says nothing usable."""
    if not value:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max((until.replace(tzinfo=until.tzinfo or UTC) - at).total_seconds(), 0.0)


def hide(secret: str, text: str) -> str:
    """The text without any line of the secret, nor the path of one that is a URL."""
    for line in secret.splitlines():
        url = urlsplit(line) if line.startswith(("http://", "https://")) else None
        for part in (line, f"{url.path}?{url.query}" if url else "", url.path if url else ""):
            if len(part) > 1:
                text = text.replace(part, "[secret]")
    return text


def without(secret: str, answer: Answer) -> Answer:
    """The answer, with the secret hidden in its text."""
    return dataclasses.replace(answer, text=hide(secret, answer.text))


def as_object(text: str) -> dict[str, Any]:
    """A receiver's answer as a JSON object; an empty one where it is none."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return {}
    return found if isinstance(found, dict) else {}


def url_problem(url: object, example: str) -> str:
    """What is wrong with an address that a person entered; "" when fine."""
    if not isinstance(url, str) or not url:
        return f"is required: where alerts are posted, as in {example}"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises on a port that is no number
    except ValueError as error:
        return f"is not a URL: {error}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must begin with https:// or http:// and name a host"
    if parts.username is not None:
        return "must not hold a user name or password: a URL is shown to everybody who may see the channel"
    if re.search(r"[\x00-\x20\x7f]", url):
        return "must not hold spaces or control characters"
    return ""


def credential_problem(secret: str) -> str:
    """What is wrong with a token or key that goes into a header or a body as it is; "" when fine."""
    return "" if ONE_LINE.fullmatch(secret) else "must be one line of ASCII text without spaces"
