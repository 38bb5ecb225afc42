"""How a webhook meets receivers of every kind; each scripted receiver is a real one on loopback."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterable
from datetime import timedelta
from email.utils import format_datetime

import pytest
from pytest_django import Settings
from standardwebhooks.webhooks import Webhook as ReferenceReceiver

from alerting.channels.base import DeliveryFailed, Target
from alerting.channels.posting import retry_after_seconds
from alerting.channels.webhook import Webhook
from tests.alerting.factories import NOW, SECRET, message
from tests.alerting.receivers import Receiver, Request, answer, receiver

pytestmark = pytest.mark.usefixtures("loopback_allowed")


def send(hook: Receiver, seconds: float = 2.0, **config: object) -> object:
    return Webhook().send(Target("hook", {"url": hook.url, "timeout_secs": seconds, **config}, SECRET), message(), NOW)


def failure(hook: Receiver, seconds: float = 2.0) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        send(hook, seconds)
    return caught.value


def test_what_arrives_is_the_signed_body_under_the_message_id() -> None:
    sent = message(b'{"data":{"title":"\xc3\xa9"}}')
    with receiver(answer(200, b"thanks")) as hook:
        said = Webhook().send(Target("hook", {"url": hook.url}, SECRET), sent, NOW)
    (request,) = hook.requests
    assert (said.status_code, said.text) == (200, "thanks")
    assert request.line == "POST /hook HTTP/1.1"
    assert request.body == sent.body
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == sent.id
    assert request.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    expected = ReferenceReceiver(SECRET).sign(sent.id, NOW.replace(tzinfo=None), sent.body.decode())
    assert request.headers["webhook-signature"] == expected
    assert request.headers["x-sentinel-signature"].startswith("sha256=")


def test_method_and_headers_of_the_channel_are_used() -> None:
    with receiver(answer(204)) as hook:
        send(hook, method="PUT", headers={"X-Team": "llm"})
    assert hook.requests[0].line.startswith("PUT ")
    assert hook.requests[0].headers["x-team"] == "llm"


@pytest.mark.parametrize(
    ("status", "permanent", "gone"),
    [
        (500, False, False),
        (503, False, False),
        (429, False, False),
        (408, False, False),
        (302, False, False),
        (400, True, False),
        (404, True, False),
        (410, True, True),
    ],
)
def test_a_status_says_whether_trying_again_helps(status: int, permanent: bool, gone: bool) -> None:
    with receiver(answer(status, b"because")) as hook:
        failed = failure(hook)
    assert (failed.status_code, failed.permanent, failed.gone, failed.answer) == (status, permanent, gone, "because")


def test_the_time_a_receiver_asks_for_is_passed_on() -> None:
    with receiver(answer(429, retry_after="7")) as hook:
        assert failure(hook).retry_after == 7.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("9" * 5000, None),
        ("Sun, 99 Foo 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_nonsense_is_nothing(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


def test_a_redirect_is_not_followed() -> None:
    with receiver(answer(200)) as elsewhere, receiver(answer(307, location=elsewhere.url)) as hook:
        failed = failure(hook)
    assert "not followed" in str(failed)
    assert elsewhere.connections == 0


def drip(pieces: Iterable[bytes], hook: list[Receiver]) -> Iterable[bytes]:
    """The pieces, one every 50 ms: each well within any time-out of a single read."""
    for piece in pieces:
        yield piece
        if hook[0].stopped.wait(0.05):
            return


def timed_failure(script: object, seconds: float) -> tuple[DeliveryFailed, float]:
    hooks: list[Receiver] = []
    with receiver(lambda request: script(request, hooks)) as hook:  # type: ignore[operator]
        hooks.append(hook)
        began = time.monotonic()
        failed = failure(hook, seconds)
        return failed, time.monotonic() - began


def test_an_answer_that_drips_its_headers_ends_with_the_deadline() -> None:
    def script(_request: Request, hooks: list[Receiver]) -> Iterable[bytes]:
        yield b"HTTP/1.1 200 OK\r\nX-Slow: "
        yield from drip([b"x"] * 400, hooks)

    failed, seconds = timed_failure(script, 0.5)
    assert "no answer within 0.5 s" in str(failed)
    assert not failed.permanent
    assert seconds < 2


def test_a_receiver_that_never_answers_ends_with_the_deadline() -> None:
    def script(_request: Request, hooks: list[Receiver]) -> Iterable[bytes]:
        hooks[0].stopped.wait(20)
        return []

    failed, seconds = timed_failure(script, 0.3)
    assert "no answer within 0.3 s" in str(failed)
    assert seconds < 2


def test_an_endless_row_of_preliminary_answers_ends_with_the_deadline() -> None:
    def script(_request: Request, hooks: list[Receiver]) -> Iterable[bytes]:
        while True:
            yield b"HTTP/1.1 100 Continue\r\n\r\n"
            if hooks[0].stopped.wait(0.01):
                return

    failed, seconds = timed_failure(script, 0.5)
    assert not failed.permanent
    assert seconds < 2


def test_an_accepted_message_stays_accepted_when_its_answer_drips_past_the_deadline() -> None:
    hooks: list[Receiver] = []

    def script(_request: Request) -> Iterable[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        yield from drip([b"x"] * 1000, hooks)

    with receiver(script) as hook:
        hooks.append(hook)
        began = time.monotonic()
        said = send(hook, 0.5)
        assert time.monotonic() - began < 2
    assert said.status_code == 200  # type: ignore[attr-defined]
    assert said.text.startswith("x")  # type: ignore[attr-defined]


def test_no_more_than_64_kib_of_an_endless_answer_is_read() -> None:
    sent: list[int] = []

    def script(_request: Request) -> Iterable[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            yield b"y" * 65536
            sent.append(65536)

    with receiver(script) as hook:
        said = send(hook, 5)
    assert said.status_code == 200  # type: ignore[attr-defined]
    assert len(said.text) == 2000  # type: ignore[attr-defined]
    # Beyond what was read only the buffers of the two sockets can have taken some.
    assert sum(sent) < 32 * 1024 * 1024


def test_a_compressed_bomb_is_never_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    with receiver(answer(200, bomb, content_encoding="gzip")) as hook:
        said = send(hook)
    assert said.text == f"({len(bomb)} bytes in Content-Encoding gzip, not unpacked)"  # type: ignore[attr-defined]
    assert hook.requests[0].headers["accept-encoding"] == "identity"


def test_garbage_for_an_answer_is_a_failure_that_may_be_tried_again() -> None:
    with receiver(b"\x00\x01\x02 not http\r\n\r\n") as hook:
        assert not failure(hook).permanent


def test_a_channel_cannot_wait_longer_than_any_channel_may(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerting.channels.posting.MAX_SEND_SECONDS", 0.2)

    def script(_request: Request, hooks: list[Receiver]) -> Iterable[bytes]:
        hooks[0].stopped.wait(20)
        return []

    failed, _ = timed_failure(script, 3600)
    assert "within 0.2 s" in str(failed)


@pytest.mark.parametrize(
    ("config", "key", "words"),
    [
        ({}, "url", "required"),
        ({"url": "ftp://x/"}, "url", "https://"),
        ({"url": "https://"}, "url", "host"),
        ({"url": "https://user:pw@x/"}, "url", "password"),
        ({"url": "https://x:99999/"}, "url", "not a URL"),
        ({"url": "https://x/\r\nX: y"}, "url", "control"),
        ({"url": "https://x/", "method": "GET"}, "method", "POST or PUT"),
        ({"url": "https://x/", "timeout_secs": 60}, "timeout_secs", "at most 15"),
        ({"url": "https://x/", "timeout_secs": True}, "timeout_secs", "number"),
        ({"url": "https://x/", "colour": "red"}, "colour", "allowed are url, method, headers, timeout_secs"),
        ({"url": "https://x/", "headers": ["a"]}, "headers", "object"),
        ({"url": "https://x/", "headers": {"X\r\nY": "a"}}, "headers", "no header name"),
        ({"url": "https://x/", "headers": {"X": "a\r\nEvil: b"}}, "headers", "one line"),
        ({"url": "https://x/", "headers": {"Webhook-Id": "a"}}, "headers", "itself"),
        ({"url": "https://x/", "headers": {"Authorization": "Bearer a"}}, "headers", "in the clear"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_what_is_allowed(config: dict, key: str, words: str) -> None:  # type: ignore[type-arg]
    assert words in Webhook().problems(config, SECRET)[key]


def test_good_settings_have_no_problems() -> None:
    config = {"url": "https://x.example:8443/a?b=c", "method": "PUT", "headers": {"X-A": "b"}, "timeout_secs": 2.5}
    assert Webhook().problems(config, SECRET) == {}
    assert "secret" in Webhook().problems(config, "")
