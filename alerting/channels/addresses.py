"""The address guard: which addresses an alert may be sent to, decided on the very address that is connected to.

A host name is resolved once; every address it stands for is judged; the connection goes to a judged address, never
to the name again. So a name that resolves to something else a moment later (DNS rebinding) wins nothing, and odd
spellings (`127.1`, `2130706433`, `0`) are judged as what the system makes of them.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from alerting.channels.base import DeliveryFailed

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
# (family, address and port as the socket wants them)
SocketAddress = tuple[socket.AddressFamily, tuple[str | int, ...]]
Resolver = Callable[[str, int], list[SocketAddress]]

# From the IANA special-purpose registries. Not `ipaddress.is_global`: it calls several of these global, and
# differently so from one Python to the next.
FORBIDDEN: tuple[tuple[IPNetwork, str], ...] = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier (CGNAT)"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "this host"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        ("64:ff9b:1::/48", "a local translation"),
        ("2001::/23", "reserved (Teredo and others)"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "for documentation"),
    )
)
GLOBAL_IPV6 = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(DeliveryFailed):
    """The address is one that alerts must not be sent to."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, permanent=True)


def judged_as(address: IPAddress) -> IPAddress:
    """The address that is really reached: the IPv4 one within an IPv4-mapped or NAT64 address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def objection(address: IPAddress, allowed: Iterable[IPNetwork] = ()) -> str | None:
    """Why `address` may not be connected to, or None where it may."""
    address = judged_as(address)
    if any(address in network for network in allowed):
        return None
    for network, kind in FORBIDDEN:
        if address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in GLOBAL_IPV6:
        return "not a public address"
    return None


def resolve(host: str, port: int) -> list[SocketAddress]:
    """What the system makes of the name, for TCP. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [(socket.AddressFamily(family), address) for family, _, _, _, address in found]


def checked_addresses(
    host: str, port: int, allowed: Iterable[IPNetwork], timeout: float, resolver: Resolver | None = None
) -> list[SocketAddress]:
    """The addresses of `host`, all of them judged and found good.

    One bad address among them refuses the host: whoever mixes them is up to something. Raises `AddressRefused`,
    or a `DeliveryFailed` that may be tried again where the name cannot be resolved in `timeout` seconds.
    """
    networks = tuple(allowed)
    addresses = resolve_within(host, port, timeout, resolver or resolve)
    for _, address in addresses:
        text = str(address[0]).partition("%")[0]
        reason = objection(ip_address(text), networks)
        if reason is not None:
            raise AddressRefused(
                f"{host} is {text}, which is {reason}; "
                "a network that may be reached belongs in alerting.webhook.allowed_private_networks"
            )
    return addresses


def connect(addresses: list[SocketAddress], remaining: Callable[[], float]) -> socket.socket:
    """A connection to the first of the judged addresses that answers; `remaining` gives the seconds left.

    Raises the last `OSError`.
    """
    error: OSError = TimeoutError("no time was left to connect")
    for family, address in addresses:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(remaining(), 0.001))
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError as reason:
            connection.close()
            error = reason
    raise error


def resolve_within(host: str, port: int, timeout: float, resolver: Resolver | None = None) -> list[SocketAddress]:
    """The addresses of `host`, unjudged: for what the configuration names. Raises a `DeliveryFailed` to try again."""
    # getaddrinfo knows no time-out, so a thread that nobody has to wait for asks.
    ask_system = resolver or resolve
    result: queue.SimpleQueue[list[SocketAddress] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            result.put(ask_system(host, port))
        except Exception as error:  # noqa: BLE001 (whatever it is, the asker reports it)
            result.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    seconds = max(0.0, timeout)  # a machine that was busy may have used it up before anybody asked
    try:
        found = result.get(timeout=seconds)
    except queue.Empty:
        raise DeliveryFailed(f"{host} could not be resolved in {seconds:.0f} s", permanent=False) from None
    if isinstance(found, Exception) or not found:
        reason = found if found else "it has no address"
        raise DeliveryFailed(f"{host} could not be resolved: {reason}", permanent=False)
    return found
