"""The address guard: no spelling of a forbidden address leads to a connection."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from alerting.channels import addresses, http
from alerting.channels.addresses import AddressRefused, checked_addresses, objection
from alerting.channels.base import DeliveryFailed, Target
from alerting.channels.webhook import Webhook
from tests.alerting.factories import LOOPBACK, NOW, SECRET, alerting_settings, message
from tests.alerting.receivers import answer, receiver

FORMS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "localhost",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
]


def found(*texts: str) -> addresses.Resolver:
    """A resolver that finds these addresses whatever it is asked."""

    def resolver(_host: str, port: int) -> list[addresses.SocketAddress]:
        families = [socket.AF_INET6 if ":" in text else socket.AF_INET for text in texts]
        return [(family, (text, port)) for family, text in zip(families, texts, strict=True)]

    return resolver


@pytest.mark.parametrize("host", FORMS)
def test_no_spelling_of_this_machine_leads_to_a_connection(host: str) -> None:
    with receiver(answer(200)) as canary:
        target = Target("hook", {"url": f"http://{host}:{canary.port}/"}, SECRET)
        with pytest.raises(DeliveryFailed) as caught:
            Webhook().send(target, message(), NOW)
    assert caught.value.permanent
    assert canary.connections == 0


def test_a_network_that_is_allowed_is_reached_also_by_another_spelling(loopback_allowed: None) -> None:
    with receiver(answer(200)) as hook:
        for host in ("127.0.0.1", "127.1", "2130706433"):
            Webhook().send(Target("hook", {"url": f"http://{host}:{hook.port}/"}, SECRET), message(), NOW)
    assert hook.connections == 3


@pytest.mark.parametrize(
    "address",
    [
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.19.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:0:7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:a00:1::",
        "2002:808:808::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert objection(ip_address(address)) is not None


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_a_public_address_is_let_through(address: str) -> None:
    assert objection(ip_address(address)) is None


@given(st.ip_addresses(v=4))
def test_an_address_python_calls_private_is_never_let_through_in_any_wrapping(address: object) -> None:
    plain = ip_address(str(address))
    wrapped = [plain, ip_address(f"::ffff:{address}"), ip_address((0x64FF9B << 96) | int(plain))]
    objections = {objection(each) is not None for each in wrapped}
    assert len(objections) == 1
    if not plain.is_global or plain.is_multicast:
        assert objections == {True}


@given(st.ip_addresses())
def test_an_allowed_network_lets_its_addresses_through(address: object) -> None:
    each = ip_address(str(address))
    inner = addresses.judged_as(each)
    assert objection(each, (ip_network(f"{inner}/{inner.max_prefixlen}"),)) is None


def test_one_forbidden_address_among_good_ones_refuses_the_host() -> None:
    with pytest.raises(AddressRefused, match=r"mixed\.example is 10\.0\.0\.1, which is private"):
        checked_addresses("mixed.example", 443, (), 1.0, found("8.8.8.8", "10.0.0.1"))


def test_a_link_local_address_with_a_zone_is_judged_by_its_address() -> None:
    with pytest.raises(AddressRefused, match="link-local"):
        checked_addresses("zone.example", 443, (), 1.0, found("fe80::1%1"))


def test_a_name_that_turns_into_this_machine_after_the_check_is_not_connected_to(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What rebinding does: the first look-up is harmless, every later one is the target.
    settings.SENTINEL = alerting_settings(webhook={"allowed_private_networks": (ip_network("127.0.0.2/32"),)})
    lookups: list[str] = []

    def rebinding(host: str, port: int) -> list[addresses.SocketAddress]:
        lookups.append(host)
        return found("127.0.0.2" if len(lookups) == 1 else "127.0.0.1")(host, port)

    monkeypatch.setattr(addresses, "resolve", rebinding)
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: real("127.0.0.1", *a[1:], **k))
    with receiver(answer(200)) as canary:
        target = Target("hook", {"url": f"http://rebind.example:{canary.port}/", "timeout_secs": 1}, SECRET)
        with pytest.raises(DeliveryFailed):
            Webhook().send(target, message(), NOW)
    assert canary.connections == 0
    assert lookups == ["rebind.example"]


def test_the_host_header_names_the_host_and_not_the_address(
    loopback_allowed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "resolve", found("127.0.0.1"))
    with receiver(answer(200)) as hook:
        target = Target("hook", {"url": f"http://hook.example:{hook.port}/"}, SECRET)
        Webhook().send(target, message(), NOW)
    assert hook.requests[0].headers["host"] == f"hook.example:{hook.port}"


def test_a_name_that_does_not_resolve_may_be_tried_again() -> None:
    def nobody(_host: str, _port: int) -> list[addresses.SocketAddress]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(DeliveryFailed, match="could not be resolved") as caught:
        checked_addresses("absent.example", 443, (), 1.0, nobody)
    assert not caught.value.permanent


@pytest.mark.parametrize("left", [0.05, 0.0, -0.12])
def test_a_resolver_that_hangs_ends_with_the_deadline_even_a_past_one(left: float) -> None:
    import threading

    released = threading.Event()

    def hanging(_host: str, _port: int) -> list[addresses.SocketAddress]:
        released.wait()
        return []

    with pytest.raises(DeliveryFailed, match="could not be resolved in"):
        checked_addresses("slow.example", 443, (), left, hanging)
    released.set()


def test_proxies_of_the_environment_are_not_asked(loopback_allowed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(answer(200)) as proxy, receiver(answer(200)) as hook:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        http.request("POST", hook.url, {}, b"{}", allowed=LOOPBACK, seconds=2)
    assert proxy.connections == 0
    assert hook.connections == 1
