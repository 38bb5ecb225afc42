"""IP addresses of both versions. Loopback and the unspecified address identify nobody and stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address

from ingestion.privacy.findings import IP, Budget, Finding, Recogniser
from ingestion.privacy.recognisers.edges import BEGUN

OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
V4 = re.compile(
    rf"[0-9]{BEGUN}(?<![0-9A-Za-z_]\.[0-9])(?<![.\-_][0-9])[0-9]{{0,2}}(?:\.{OCTET}){{3}}"
    r"(?![0-9A-Za-z_]|\.[0-9A-Za-z]|-[0-9A-Za-z])"
)
# What a hexadecimal run with colons may be; which runs are addresses, the standard library knows.
V6 = re.compile(
    r"(?:(?<![0-9A-Za-z_:.])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"
    r"(?P<bare>(?:[0-9A-Fa-f]|:|%3[Aa]){2,84}+(?:(?:\.[0-9]{1,3}){3})?)"
    r"(?P<zone>%[A-Za-z][0-9A-Za-z]{1,14})?(?![0-9A-Za-z_])"
)
COLONS = re.compile(r"(?::|%3[Aa])[0-9A-Fa-f]{0,4}+(?::|%3[Aa])")
RUN_BEFORE = re.compile(r"(?:%3[Aa]|[0-9A-Fa-f:])++\Z")
LONGEST_V6 = 60  # characters before the second colon of an address, percent-encoded
VERSION = re.compile(
    r"(?i)(?:version|ver|release|build|firmware|driver|assembly|file|v|revision|rev|kb)(?:[\s\"':=.]|%20){0,4}\Z"
)
ENCODED_COLON = re.compile("%3[Aa]")
LONGEST_WORD = 16


def find(text: str, budget: Budget) -> Iterator[Finding]:
    yield from _find_v4(text, budget)
    yield from _find_v6(text, budget)


def _find_v4(text: str, budget: Budget) -> Iterator[Finding]:
    for match in V4.finditer(text):
        budget.spend(2)
        if int(match[0].partition(".")[0]) > 255 or match[0].startswith("127.") or match[0] == "0.0.0.0":  # noqa: S104 - told apart, not bound to
            continue
        if not VERSION.search(text[max(0, match.start() - LONGEST_WORD) : match.start()]):
            yield Finding(IP, match.start(), match.end())


def _find_v6(text: str, budget: Budget) -> Iterator[Finding]:
    after = 0
    for colons in COLONS.finditer(text):
        budget.spend(1)
        if colons.start() < after:
            continue
        budget.spend(7)
        match = V6.match(text, _begin_of_run(text, colons.start()))
        after = match.end() if match else colons.end()
        if match is None:
            continue
        bare = match["bare"]
        # A colon that ends a clause is not of the address.
        kept = bare[:-1] if bare.endswith(":") and not bare.endswith("::") else bare
        if _is_v6(ENCODED_COLON.sub(":", kept)):
            yield Finding(IP, match.start(), match.end() if kept == bare else match.start() + len(kept))


def _begin_of_run(text: str, at: int) -> int:
    """Where the run of hexadecimal digits and colons around a place begins, as far as an address could reach."""
    match = RUN_BEFORE.search(text[max(0, at - LONGEST_V6) : at])
    begin = at - len(match[0]) if match else at
    # In `%20::1` the digits are of the sign before.
    return begin + 2 if begin + 2 <= at and text[begin - 1 : begin] == "%" else begin


def _is_v6(text: str) -> bool:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return False
    # `Ad::Be` is an address to the parser and a name in a program to everybody else.
    is_plain_name = text.count(":") == 2 and not any(sign.isdigit() for sign in text)
    return not (is_plain_name or address.is_loopback or address.is_unspecified)


RECOGNISER = Recogniser(
    gate=r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[0-9A-Fa-f]:(?::|(?:[0-9A-Fa-f]{1,4}:){2})|::[0-9A-Fa-f]|(?i:%3A[0-9A-F]{0,4}%3A)",
    find=find,
)
