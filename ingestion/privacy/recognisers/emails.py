"""E-mail addresses, also internationalised, and percent-encoded in URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingestion.privacy.findings import EMAIL, Budget, Finding, Recogniser

# Latin, Greek and Cyrillic words are set off by spaces, so their letters belong to the name; of scripts that are
# written without spaces only a name that ends in them does.
NAME = r"0-9A-Za-z_.+\-\u00c0-\u024f\u0370-\u052f"
RARE = r"!#$'*^`~"  # of what else RFC 5321 allows, what is not more often around an address
LABEL = r"(?:[0-9A-Za-z\-\u00c0-\u052f]++|[^\W\x00-\u052f](?:[^\W_]|-)*+)"
TOP = r"(?:xn--[0-9A-Za-z\-]{1,59}|[A-Za-z]{2,24}(?![0-9A-Za-z])|[\u00c0-\u052f]{2,24}|[^\W\d_\x00-\u052f]{2,24})"
AT = r"(?:@|%40|\\u0040|&#64;)"
DOMAIN = rf"(?:{LABEL}\.){{1,8}}{TOP}|\[(?:IPv6:)?[0-9A-Fa-f.:]{{3,45}}\]"
ADDRESS = re.compile(
    rf"""(?:(?<!["{NAME}])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{{2}})|(?<=["]))"""
    rf"""(?P<name>[{NAME}]++(?:[{RARE}][{NAME}]++){{0,8}}+|"[^"\\\n@]{{1,64}}+"|(?<=[^\x00-\x7f])(?=@))"""
    rf"""{AT}(?:{DOMAIN})"""
)
FOREIGN_NAME = re.compile(r"[^\W\x00-\x7f]{1,64}+\Z")
LONGEST_NAME = 64
HEXADECIMAL = re.compile("[0-9A-Fa-f]{2}")
REPOSITORY = re.compile(":|%3A")
LOGINS = ("git", "hg")  # `git@host:path` is where a repository is, and the same for everybody


def find(text: str, budget: Budget) -> Iterator[Finding]:
    for match in ADDRESS.finditer(text):
        budget.spend(2)
        start = match.start()
        if not match["name"]:
            start = _begin_of_foreign_name(text, start)
        noise = _leading_noise(text, start, match["name"])
        if match["name"][noise:] in LOGINS and REPOSITORY.match(text, match.end()):
            continue
        start += noise
        yield Finding(EMAIL, start, match.end())


def _begin_of_foreign_name(text: str, at: int) -> int:
    match = FOREIGN_NAME.search(text[max(0, at - LONGEST_NAME) : at])
    return at - len(match[0]) if match else at


def _leading_noise(text: str, start: int, name: str) -> int:
    """Signs before an address that are not of it: dots (`...user@`), the rest of an escape (`\\nuser@`, `%20user@`)."""
    before = text[start - 1 : start]
    escape = int(before == "\\" and name[:1] in "nrt") or (2 if before == "%" and HEXADECIMAL.match(name) else 0)
    return escape + len(name[escape:]) - len(name[escape:].lstrip(".-+"))


RECOGNISER = Recogniser(gate=r"@|%40|\\u0040|&#64;", find=find)
