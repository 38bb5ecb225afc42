"""Webhook: a signed HTTP request (Standard Webhooks 1.0.0) to a URL."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings

from alerting.channels import http
from alerting.channels.base import (
    MAX_SEND_SECONDS,
    Answer,
    DeliveryFailed,
    Message,
    Target,
    seconds_problem,
    unknown_keys,
)
from alerting.rules.signing import SecretError, signature_headers, signing_keys

SETTINGS = ("url", "method", "headers", "timeout_secs")
RETRIED = {408, 429}
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
OWN_HEADERS = {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}
CREDENTIAL_HEADERS = {"authorization", "proxy-authorization", "cookie", "x-api-key"}
SIGNATURE_HEADERS = {"webhook-id", "webhook-timestamp", "webhook-signature", "x-sentinel-signature"}


class Webhook:
    """2xx is success; 408, 429, 3xx and 5xx may be tried again; any other answer ends the delivery; 410 the channel.

    A redirect is not followed: the address it names was never entered by anybody here. It may be tried again
    because a page of a proxy under maintenance looks the same.
    """

    name: ClassVar[str] = "webhook"

    def problems(self, config: dict[str, Any], secret: str) -> dict[str, str]:
        found = unknown_keys(config, SETTINGS) | _url_problem(config) | seconds_problem(config, "timeout_secs")
        if config.get("method", "POST") not in ("POST", "PUT"):
            found["method"] = "must be POST or PUT"
        found |= _header_problem(config.get("headers", {}))
        try:
            signing_keys(secret)
        except SecretError as error:
            found["secret"] = str(error)
        return found

    def send(self, target: Target, message: Message, at: datetime) -> Answer:
        config = target.config
        try:
            signatures = signature_headers(target.secret, message.id, int(at.timestamp()), message.body)
        except SecretError as error:
            raise DeliveryFailed(str(error), permanent=True) from None
        reply = http.request(
            config.get("method", "POST"),
            config["url"],
            {**config.get("headers", {}), "Content-Type": "application/json", "User-Agent": "LLM-Sentinel"}
            | signatures,
            message.body,
            allowed=tuple(settings.SENTINEL.alerting.webhook.allowed_private_networks),
            seconds=min(float(config.get("timeout_secs", 10.0)), MAX_SEND_SECONDS),
        )
        return _judge(reply, at)


def _judge(reply: http.Reply, at: datetime) -> Answer:
    status = reply.status
    if 200 <= status < 300:
        return Answer(status, reply.text)
    reason = f"the receiver answered {status}"
    if 300 <= status < 400:
        reason += f"; redirects are not followed (to {reply.headers.get('location', 'nowhere')[:100]})"
    raise DeliveryFailed(
        reason,
        permanent=400 <= status < 500 and status not in RETRIED,
        retry_after=retry_after_seconds(reply.headers.get("retry-after"), at),
        status_code=status,
        answer=reply.text,
        gone=status == 410,
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


def _url_problem(config: dict[str, Any]) -> dict[str, str]:
    url = config.get("url")
    if not isinstance(url, str) or not url:
        return {"url": "is required: where alerts are posted, as in https://alerts.example.com/hook"}
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises on a port that is no number
    except ValueError as error:
        return {"url": f"is not a URL: {error}"}
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return {"url": "must begin with https:// or http:// and name a host"}
    if parts.username is not None:
        return {"url": "must not hold a user name or password: a URL is shown to everybody who may see the channel"}
    if re.search(r"[\x00-\x20\x7f]", url):
        return {"url": "must not hold spaces or control characters"}
    return {}


def _header_problem(headers: object) -> dict[str, str]:
    if not isinstance(headers, dict):
        return {"headers": 'must be an object of texts, as in {"X-Team": "llm"}'}
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            return {"headers": f"{name!r} is no header name"}
        if name.lower() in OWN_HEADERS | SIGNATURE_HEADERS:
            return {"headers": f"{name} is set by LLM-Sentinel itself"}
        if name.lower() in CREDENTIAL_HEADERS:
            return {"headers": f"{name} would be stored in the clear; receivers verify the signature instead"}
        if not isinstance(value, str) or not HEADER_VALUE.fullmatch(value):
            return {"headers": f"the value of {name} must be one line of ASCII text"}
    return {}
