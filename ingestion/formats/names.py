"""Names of services and models: they become keys, labels and routing keys, so they hold printable text only."""

from __future__ import annotations

import re
from functools import lru_cache

# Control characters, line separators, and the marks that make text run backwards on a page.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@lru_cache(maxsize=8192)
def name_fault(name: str) -> str | None:
    """What is wrong with a name of 1 to 128 characters, None if nothing."""
    if UNPRINTABLE.search(name):
        return "must not hold control characters"
    return None if name.strip() else "must not be blank"
