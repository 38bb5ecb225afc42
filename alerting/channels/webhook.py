"""Webhook: a signed HTTP request (Standard Webhooks 1.0.0) to a URL."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, ClassVar

from alerting.channels.base import (
    TIMEOUT,
    Answer,
    DeliveryFailed,
    Message,
    Setting,
    Target,
    seconds_problem,
    unknown_keys,
)
from alerting.channels.posting import post, url_problem
from alerting.rules.signing import SecretError, signature_headers, signing_keys

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
OWN_HEADERS = {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}
CREDENTIAL_HEADERS = {"authorization", "proxy-authorization", "cookie", "x-api-key"}
SIGNATURE_HEADERS = {"webhook-id", "webhook-timestamp", "webhook-signature", "x-sentinel-signature"}


class Webhook:
    """What programs read (`Message.body`), under signatures that prove where it comes from."""

    name: ClassVar[str] = "webhook"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("url", "Where alerts are posted.", required=True),
        Setting("method", "HTTP method.", type="choice", choices=("POST", "PUT")),
        Setting("headers", 'Headers beside our own, as in {"X-Team": "llm"}.', type="json"),
        TIMEOUT,
    )
    credential: ClassVar[str] = "The key that signs: whsec_ and base64 of 24 to 64 bytes, or any text of 8 or more."

    def problems(self, config: dict[str, Any], secret: str) -> dict[str, str]:
        found = unknown_keys(config, self.settings) | seconds_problem(config, "timeout_secs")
        url = url_problem(config.get("url"), "https://alerts.example.com/hook")
        if url:
            found["url"] = url
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
        return post(
            config["url"],
            message.body,
            at,
            config,
            headers={**config.get("headers", {}), **signatures},
            method=config.get("method", "POST"),
            secret=target.secret,
        )


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
