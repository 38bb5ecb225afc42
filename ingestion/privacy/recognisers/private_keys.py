"""Private keys in PEM (RFC 7468) and in OpenSSH's and OpenPGP's armour."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingestion.privacy.findings import PRIVATE_KEY, Budget, Finding, Recogniser

SPACE = r"(?: |%20|\+)"
BEGIN = re.compile(rf"-----BEGIN{SPACE}(?:[0-9A-Z]{{1,16}}{SPACE}){{0,3}}PRIVATE{SPACE}KEY(?:{SPACE}BLOCK)?-----")
END = re.compile(r"-----END[^-\n]{0,60}PRIVATE[^-\n]{0,20}-----")


def find(text: str, budget: Budget) -> Iterator[Finding]:
    begin = BEGIN.search(text)
    while begin:
        budget.spend(3)
        end = END.search(text, begin.end())
        # A key that was cut off is still a key: it runs to the end of the text.
        yield Finding(PRIVATE_KEY, begin.start(), end.end() if end else len(text))
        begin = BEGIN.search(text, end.end()) if end else None


RECOGNISER = Recogniser(gate=r"-----BEGIN[^-]{1,60}PRIVATE", find=find)
