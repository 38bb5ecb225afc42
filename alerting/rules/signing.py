"""Signatures of webhooks: Standard Webhooks 1.0.0 and the plain body signature beside it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)
MIN_RAW_BYTES = 8


class SecretError(ValueError):
    """A secret that cannot sign; its text says what is wrong, never what the secret is."""


def signing_keys(secret: str) -> tuple[bytes, ...]:
    """The keys of a secret text, newest first: one per line, several while a secret rotates.

    A line `whsec_<base64 of 24 to 64 bytes>` is decoded; any other is used as the bytes it is written in.
    """
    lines = [line.strip() for line in secret.splitlines() if line.strip()]
    if not lines:
        raise SecretError("the secret is empty; give whsec_ and base64 of 24 to 64 random bytes")
    return tuple(_key(line) for line in lines)


def _key(line: str) -> bytes:
    if not line.startswith(PREFIX):
        raw = line.encode()
        if len(raw) < MIN_RAW_BYTES:
            raise SecretError(f"a secret of {len(raw)} bytes can be guessed; at least {MIN_RAW_BYTES} are needed")
        return raw
    try:
        key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise SecretError("what follows whsec_ in the secret is not base64") from None
    if len(key) not in KEY_BYTES:
        raise SecretError(f"what follows whsec_ in the secret is {len(key)} bytes; 24 to 64 are allowed")
    return key


def signature_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt at unix second `timestamp`; `message_id` stays the same over all attempts.

    `webhook-signature` holds one signature per key, so a receiver may hold either secret while one replaces the
    other. `X-Sentinel-Signature` has room for one: the newest.
    """
    keys = signing_keys(secret)
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join("v1," + base64.b64encode(_hmac(key, signed)).decode() for key in keys),
        "X-Sentinel-Signature": "sha256=" + _hmac(keys[0], body).hex(),
    }


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)
