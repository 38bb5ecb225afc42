"""Secrets known by the name of their key: `sanitize_patterns` over metadata and over running text."""

from __future__ import annotations

import re
from functools import lru_cache

REDACTED = "[redacted]"

# What follows a sensitive key: a quoted value to its closing quote (also where the quotes are themselves escaped,
# JSON within a JSON string), else one word. Every alternative begins differently, so matching is linear.
VALUE = r"""("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|\\+["'][^"'\\]*|[^\s"'\\,;&}\]]+)"""


def _folded(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


@lru_cache(maxsize=8192)
def is_sensitive(key: str, patterns: tuple[str, ...]) -> bool:
    """Whether a key contains one of the patterns; case and punctuation do not matter (X-API-Key has api_key)."""
    folded = _folded(key)
    return any(_folded(pattern) in folded for pattern in patterns)


@lru_cache(maxsize=16)
def _assignment(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Matches `key = value`, `key: value` and `"key": "value"` for the sensitive keys."""
    words = (r"[\W_]?".join(map(re.escape, re.findall(r"[^\W_]+", pattern))) for pattern in patterns)
    keys = "|".join(word for word in words if word)
    return re.compile(rf"""((?:{keys})[\w.-]{{0,64}}["'\\]{{0,8}}\s{{0,8}}[:=]\s{{0,8}}){VALUE}""", re.IGNORECASE)


def redact(text: str, patterns: tuple[str, ...]) -> str:
    """The text with the values of sensitive keys replaced; doing it twice changes nothing more."""
    if not patterns:
        return text
    return _assignment(patterns).sub(_redacted_value, text)


def _redacted_value(match: re.Match[str]) -> str:
    value = match[2]
    # A quote that was open is closed again, so that JSON stays JSON.
    quote = value[0] if value[0] in "\"'" else ""
    closing = quote if quote and len(value) > 1 and value.endswith(quote) else ""
    lead = value[: len(value) - len(value.lstrip("\\")) + 1] if value[0] == "\\" else quote
    return f"{match[1]}{lead}{REDACTED}{closing}"
