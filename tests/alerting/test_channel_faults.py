"""Receivers that mean harm, met by every kind of channel: addresses that must not be reached, answers without end."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from pytest_django import Settings

from alerting.channels import KINDS, addresses, setting_problems
from alerting.channels.base import DeliveryFailed, Target
from tests.alerting.factories import NOW, SECRET, alerting_settings, message
from tests.alerting.mail import Office
from tests.alerting.places import HTTP_KINDS, HttpPlace, MailPlace, Place, RabbitPlace
from tests.alerting.rabbit import Broker
from tests.alerting.receivers import Receiver, Request, answer, receiver
from tests.alerting.test_addresses import FORMS, found

ACCEPTED = b'{"ok":true}'


def places(port: int) -> dict[str, Place]:
    """One place of every kind; nothing but their targets is used."""
    hook = Receiver.__new__(Receiver)
    hook.port = port
    https = {name: HttpPlace(hook=hook, **values) for name, values in HTTP_KINDS.items()}
    broker = Broker(f"amqp://guest:guest@127.0.0.1:{port}//", "sentinel.test")
    return {**https, "rabbitmq": RabbitPlace(broker), "email": MailPlace(Office(port))}


NAMES = sorted(places(1))


@pytest.fixture
def canary() -> Iterator[Receiver]:
    with receiver(answer(200, ACCEPTED)) as running:
        yield running


def send(place: Place, target: Target) -> object:
    return KINDS[place.kind].send(target, message(), NOW)


@pytest.mark.parametrize("host", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_no_spelling_of_this_machine_leads_to_a_connection(name: str, host: str, canary: Receiver) -> None:
    place = places(canary.port)[name]
    with pytest.raises(DeliveryFailed, match="allowed_private_networks") as caught:
        send(place, place.target_at(canary.port, host))
    assert caught.value.permanent
    assert canary.connections == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_turns_into_this_machine_after_the_check_is_not_connected_to(
    name: str, canary: Receiver, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SENTINEL = alerting_settings(webhook={"allowed_private_networks": (ip_network("127.0.0.2/32"),)})
    lookups: list[str] = []

    def rebinding(host: str, port: int) -> list[addresses.SocketAddress]:
        lookups.append(host)
        return found("127.0.0.2" if len(lookups) == 1 else "127.0.0.1")(host, port)

    monkeypatch.setattr(addresses, "resolve", rebinding)
    real = socket.getaddrinfo

    def rebound(host: Any, *args: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host == "rebind.example" else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    place = places(canary.port)[name]
    with pytest.raises(DeliveryFailed):
        send(place, place.target_at(canary.port, "rebind.example", timeout_secs=1))
    assert canary.connections == 0
    assert lookups == ["rebind.example"]


def hostile(name: str, hook: Receiver) -> tuple[Place, Target]:
    place = HttpPlace(hook=hook, **HTTP_KINDS[name])
    return place, place.target_at(hook.port, timeout_secs=0.5)


@pytest.mark.usefixtures("loopback_allowed")
@pytest.mark.parametrize("name", sorted(HTTP_KINDS))
class TestAnswers:
    """Of receivers over HTTP."""

    def test_a_redirect_is_not_followed(self, name: str, canary: Receiver) -> None:
        with receiver(answer(307, location=canary.url)) as hook:
            place, target = hostile(name, hook)
            with pytest.raises(DeliveryFailed, match="not followed"):
                send(place, target)
        assert canary.connections == 0

    def test_headers_without_end_end_with_the_deadline(self, name: str) -> None:
        def script(_request: Request) -> Iterable[bytes]:
            yield b"HTTP/1.1 200 OK\r\n"
            while not hooks[0].stopped.wait(0.05):
                yield b"X-More: again\r\n"

        hooks: list[Receiver] = []
        with receiver(script) as hook:
            hooks.append(hook)
            place, target = hostile(name, hook)
            began = time.monotonic()
            with pytest.raises(DeliveryFailed) as caught:
                send(place, target)
            assert time.monotonic() - began < 3
        assert not caught.value.permanent

    def test_a_body_without_end_is_read_to_64_kib_at_most(self, name: str) -> None:
        sent: list[int] = []

        def script(_request: Request) -> Iterable[bytes]:
            yield b"HTTP/1.1 500 Oops\r\n\r\n"
            while True:
                yield b"y" * 65536
                sent.append(65536)

        with receiver(script) as hook:
            place, target = hostile(name, hook)
            began = time.monotonic()
            with pytest.raises(DeliveryFailed) as caught:
                send(place, target)
            assert time.monotonic() - began < 3
        assert len(caught.value.answer) <= 2000
        assert sum(sent) < 32 * 1024 * 1024

    def test_a_compressed_bomb_is_not_unpacked(self, name: str) -> None:
        bomb = gzip.compress(b"\0" * 20_000_000)
        with receiver(answer(500, bomb, content_encoding="gzip")) as hook:
            place, target = hostile(name, hook)
            with pytest.raises(DeliveryFailed, match="500") as caught:
                send(place, target)
        assert "not unpacked" in caught.value.answer

    @pytest.mark.parametrize(
        ("status", "permanent", "gone"),
        [(500, False, False), (429, False, False), (404, True, False), (410, True, True)],
    )
    def test_a_status_says_whether_trying_again_helps(
        self, name: str, status: int, permanent: bool, gone: bool
    ) -> None:
        with receiver(answer(status, b"because", retry_after="9")) as hook:
            place, target = hostile(name, hook)
            with pytest.raises(DeliveryFailed) as caught:
                send(place, target)
        failed = caught.value
        assert (failed.status_code, failed.permanent, failed.gone, failed.retry_after) == (status, permanent, gone, 9.0)


BREAKS = "x\r\nEvil: yes"
HEADERS: list[tuple[str, dict[str, Any], str]] = [
    ("webhook", {"headers": {"X": BREAKS}}, SECRET),
    ("webhook", {"headers": {BREAKS: "x"}}, SECRET),
    ("webhook", {"url": "http://127.0.0.1/" + BREAKS}, SECRET),
    ("slack", {}, "http://127.0.0.1/" + BREAKS),
    ("slack", {"channel": BREAKS}, "xoxb-1"),
    ("slack", {"channel": "C1"}, "xoxb-1" + BREAKS),
    ("pagerduty", {}, BREAKS),
    ("teams", {}, "http://127.0.0.1/" + BREAKS),
    ("alertmanager", {"url": "http://127.0.0.1/"}, BREAKS),
    ("email", {"to": [f"a@example.com{BREAKS}"]}, ""),
    ("email", {"from": f"a@example.com{BREAKS}"}, ""),
    ("email", {"from": f"{BREAKS} <a@example.com>"}, ""),
    ("email", {"host": f"mail.example{BREAKS}"}, ""),
    ("email", {"username": BREAKS}, ""),
]


@pytest.mark.parametrize(("kind", "changes", "secret"), HEADERS)
def test_line_breaks_are_refused_in_every_setting_that_becomes_a_header(
    kind: str, changes: dict[str, Any], secret: str
) -> None:
    base = {"webhook": {"url": "https://x.example/"}, "email": {"to": ["a@example.com"], "host": "mail.example"}}
    config = base.get(kind, {}) | ({"from": "a@example.com"} if kind == "email" else {}) | changes
    assert setting_problems(kind, config, secret)


@pytest.mark.usefixtures("loopback_allowed")
@pytest.mark.parametrize(
    ("name", "config", "secret"),
    [
        ("webhook", {"headers": {"X": BREAKS}}, SECRET),
        ("alertmanager", {}, BREAKS),
        ("pagerduty", {}, BREAKS),
        ("slack bot", {}, "xoxb-1" + BREAKS),
    ],
)
def test_a_row_that_holds_line_breaks_all_the_same_sends_nothing(
    name: str, config: dict[str, Any], secret: str, canary: Receiver
) -> None:
    place = HttpPlace(hook=canary, **HTTP_KINDS[name])
    target = place.target()
    with pytest.raises(DeliveryFailed) as caught:
        send(place, Target("x", target.config | config, secret))
    assert caught.value.permanent
    assert "Evil" not in str(caught.value)
    assert canary.requests == []
