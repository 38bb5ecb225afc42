"""Text that is only text: names come from outside, and receivers make much of control characters."""

from __future__ import annotations

import re

# C0 and C1 controls but the line feed, line and paragraph separators, and what turns the direction of writing round.
UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
SURROGATES = re.compile("[\ud800-\udfff]")
ELLIPSIS = "…"


def plain(text: str, limit: int) -> str:
    """`text` in at most `limit` characters that any receiver can store and no terminal obeys; lines stay lines."""
    text = text.replace("\r\n", "\n").replace("\t", " ")
    text = SURROGATES.sub("\N{REPLACEMENT CHARACTER}", UNPRINTABLE.sub("", text))
    return cut(text.strip(), limit)


def one_line(text: str, limit: int) -> str:
    """The same on one line, for titles and headers."""
    return cut(" ".join(plain(text, 4 * limit).split()), limit)


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` characters, with an ellipsis where some are missing."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + ELLIPSIS
