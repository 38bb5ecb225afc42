"""API keys: of the shapes that vendors give them, and values whose own name calls them a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator

import re2

from ingestion.privacy.findings import API_KEY, Budget, Finding, Recogniser
from ingestion.privacy.recognisers.vendors import SHAPES

# Searched for with RE2: it steps over the characters that begin nothing ten times faster than `re` does.
OPTIONS = re2.Options()
OPTIONS.max_mem = 32 << 20
SHAPED = re2.compile(
    r"(?:^|[^0-9A-Za-z_\-]|\\[nrt]|%[0-9A-Fa-f]{2})(" + "|".join(f"(?:{shape})" for _, shape in SHAPES) + ")", OPTIONS
)
QUOTE = r"""(?:\\{0,3}["'`]|%22|%27)?"""
NAME = (
    r"(?:(?:api|access|secret|auth|private|account|shared|signing|encryption|subscription)[_\-\s.]{0,2}"
    r"(?:access[_\-\s.]{0,2})?(?:key|token|secret)(?:[_\-]?(?:id|v?[0-9]))?"
    r"|\b(?:apikey|authtoken|client[_\-]?secret|x-api-key|token|passw(?:or)?d|pwd))"
)
NAMED = re2.compile(
    rf"(?i){NAME}{QUOTE}\s{{0,4}}(?::=|:|=>?|%3A|%3D|\bis\b)\s{{0,4}}{QUOTE}([0-9A-Za-z_\-+/.~]{{16,512}}=*)", OPTIONS
)
URL_PASSWORD = re2.compile(r"""://[^\s:/@"'<>]{0,64}:([^\s/@"'<>]{1,128})@""", OPTIONS)
MIXED = re.compile(r"(?=[^0-9]{0,512}[0-9])(?=[^A-Za-z]{0,512}[A-Za-z])")
DIGIT = re.compile("[0-9]")


def find(text: str, budget: Budget) -> Iterator[Finding]:
    """Keys of the vendors' shapes."""
    for match in SHAPED.finditer(text):
        budget.spend(3)
        if DIGIT.search(match[1]):  # words that hyphens join have none
            yield Finding(API_KEY, *match.span(1))


def find_named(text: str, budget: Budget) -> Iterator[Finding]:
    """Values after `api_key=`, `"access_token": `, …"""
    for match in NAMED.finditer(text):
        budget.spend(3)
        if _is_random(match[1]):
            yield Finding(API_KEY, *match.span(1))


def find_in_urls(text: str, budget: Budget) -> Iterator[Finding]:
    """Passwords in `scheme://user:password@host`."""
    for match in URL_PASSWORD.finditer(text):
        budget.spend(3)
        yield Finding(API_KEY, *match.span(1))


def _is_random(value: str) -> bool:
    """Letters and digits mixed, as in a key; not a path, a host or words."""
    return MIXED.match(value) is not None and value.count(".") + value.count("/") <= len(value) // 12


# Shorter than the shapes, so that the gate's automaton stays small; every shape passes one of these.
GATE = (
    r"[0-9A-Za-z](?:[_\-.][0-9A-Za-z_\-.]{16}|[0-9A-Za-z]{29})|[0-9A-Za-z_\-.]{32}|A[A-Z]{3}[0-9A-Z]{12}|AKID|LTAI|hooks\.slack|"
    r"api/webhooks|:AA|1//0|key-[0-9a-z]|_live_|_test_"
)
RECOGNISER = Recogniser(gate=GATE, find=find)
NAMED_RECOGNISER = Recogniser(
    gate=rf"(?i)(?:key|token|secret|passw(?:or)?d|pwd)(?:[_\-]?(?:id|v?[0-9]))?{QUOTE}\s{{0,4}}(?::|=|%3|is\b)",
    find=find_named,
)
URL_RECOGNISER = Recogniser(gate=r"""://[^\s:/@"'<>]{0,64}:[^\s/@"'<>:]""", find=find_in_urls)
