"""Bearer tokens and other values of `Authorization`, and JSON web tokens (RFC 7519)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingestion.privacy.findings import BEARER, JWT, Budget, Finding, Recogniser

# `eyJ` is `{"` in base64: the header of every web token is an object.
WEB_TOKEN = re.compile(
    r"e(?:(?<![0-9A-Za-z_\-].)|(?<=\\[nrt].)|(?<=%[0-9A-Fa-f]{2}.))yJ[0-9A-Za-z_\-]{8,}+"
    r"(?:\.[0-9A-Za-z_\-]*+){1,4}+"
)
BEARER_TOKEN = re.compile(
    r"(?i)[btb](?<![0-9a-z].)(?:earer|oken|asic)(?:\s|%20|\+){1,3}+(?P<value>[0-9a-z._~+/\-]{8,}+=*+)"
)
# In a header everything is a secret; elsewhere only what looks like one ("the bearer of good news").
HEADER = re.compile(r"(?i)auth(?:orization)?[\"'\\\s:=]{0,6}\Z")
LONG = 16
MIXED = re.compile(r"(?=[^0-9]{0,512}[0-9])(?=[^A-Za-z]{0,512}[A-Za-z])")
BEFORE = 24


def find_web_tokens(text: str, budget: Budget) -> Iterator[Finding]:
    for match in WEB_TOKEN.finditer(text):
        budget.spend(2)
        token = match[0].rstrip(".")
        if "." in token:
            yield Finding(JWT, match.start(), match.start() + len(token))


def find_bearers(text: str, budget: Budget) -> Iterator[Finding]:
    for match in BEARER_TOKEN.finditer(text):
        budget.spend(3)
        value = match["value"]
        is_header = HEADER.search(text[max(0, match.start() - BEFORE) : match.start()]) is not None
        if is_header or (len(value) >= LONG and MIXED.match(value)):
            yield Finding(BEARER, *match.span("value"))


WEB_RECOGNISER = Recogniser(gate=r"eyJ[0-9A-Za-z_\-]{8,64}", find=find_web_tokens)
BEARER_RECOGNISER = Recogniser(
    gate=r"(?i)(?:bearer|token|basic)(?:\s|%20|\+){1,3}[0-9A-Za-z._~+/\-]{8}", find=find_bearers
)
