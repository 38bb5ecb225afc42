"""Signatures, verified by the reference implementation of Standard Webhooks."""

import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from alerting.rules.signing import SecretError, signature_headers, signing_keys

BODY = b'{"type":"anomaly.opened"}'


def whsec(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


@given(st.binary(min_size=24, max_size=64), st.text(alphabet=st.characters(codec="utf-8")), st.uuids())
def test_the_reference_implementation_accepts_what_is_signed(key: bytes, text: str, message_id: object) -> None:
    body = text.encode()
    headers = signature_headers(whsec(key), str(message_id), int(time.time()), body)
    Webhook(whsec(key)).verify(body, headers, json_parse=False)


@pytest.mark.parametrize("changed", ["body", "webhook-id", "webhook-timestamp", "secret"])
def test_the_reference_implementation_refuses_what_was_changed(changed: str) -> None:
    now = int(time.time())
    headers = signature_headers(whsec(b"k" * 32), "msg", now, BODY)
    if changed in headers:
        headers[changed] = str(now + 1)
    receiver = Webhook(whsec(b"j" * 32 if changed == "secret" else b"k" * 32))
    with pytest.raises(WebhookVerificationError):
        receiver.verify(BODY + b" " if changed == "body" else BODY, headers)


def test_while_a_secret_rotates_holders_of_either_one_can_verify() -> None:
    new, old = whsec(b"n" * 32), whsec(b"o" * 24)
    headers = signature_headers(f"{new}\n  {old}  \n\n", "msg", int(time.time()), BODY)
    Webhook(new).verify(BODY, headers)
    Webhook(old).verify(BODY, headers)
    assert len(headers["webhook-signature"].split(" ")) == 2


def test_a_secret_without_the_prefix_signs_with_its_own_bytes() -> None:
    headers = signature_headers("correct horse", "msg", 1_700_000_000, BODY)
    expected = hmac.new(b"correct horse", b"msg.1700000000." + BODY, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()


def test_the_body_signature_is_that_of_the_exact_body_under_the_newest_key() -> None:
    headers = signature_headers(f"{whsec(b'n' * 32)}\n{whsec(b'o' * 32)}", "msg", 0, BODY)
    assert headers["X-Sentinel-Signature"] == "sha256=" + hmac.new(b"n" * 32, BODY, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("", "empty"),
        ("\n  \n", "empty"),
        ("whsec_", "0 bytes"),
        ("whsec_!!!", "not base64"),
        (whsec(b"k" * 23), "23 bytes; 24 to 64"),
        (whsec(b"k" * 65), "65 bytes; 24 to 64"),
        ("hunter2", "guessed"),
        (whsec(b"k" * 32) + "\nwhsec_!", "not base64"),
    ],
)
def test_a_secret_that_cannot_sign_is_refused_without_repeating_it(secret: str, reason: str) -> None:
    with pytest.raises(SecretError, match=reason) as caught:
        signing_keys(secret)
    assert "hunter2" not in str(caught.value)
    assert "whsec_!" not in str(caught.value)
