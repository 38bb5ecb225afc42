"""What a query says, as a small tree: terms that all must hold."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

PLAIN = frozenset("._-")
"""What a word may hold without quotes, beside letters and digits."""


class Pattern(NamedTuple):
    """A text with gaps: the literal parts around each `*`. One part is the text itself."""

    parts: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        return len(self.parts) == 1

    def matches(self, text: str) -> bool:
        """Whether the whole `text` is of this form; looks at each character once for each part at most."""
        if self.is_exact:
            return text == self.parts[0]
        first, *middle, last = self.parts
        if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for part in middle:  # the earliest place leaves most room for the rest
            at = text.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True

    def anywhere(self) -> Pattern:
        """A text that has this somewhere in it; a pattern with gaps already says where, and stays."""
        return Pattern(("", *self.parts, "")) if self.is_exact else self

    def __str__(self) -> str:
        """As it is written in a query."""
        if self.parts == ("",):
            return '""'
        return "*".join(_quoted(part) for part in self.parts)


class Span(NamedTuple):
    """A moment (both ends are the same), or a day: from its start to the start of the next (UTC)."""

    start: datetime
    end: datetime


Value = Pattern | Span | timedelta | UUID | tuple[str, ...] | str | float | int
"""By kind of field: TEXT Pattern, MOMENT Span, AGE timedelta, IDENTITY UUID, CHOICE and RANK the words that satisfy
the term, ELEMENT str, NUMBER float, COUNT int."""


@dataclasses.dataclass(frozen=True)
class Term:
    """One condition. `field` is None for words that are looked for in the names of service and model."""

    field: str | None
    operator: str
    pattern: Pattern
    """The value as it was written."""
    value: Value
    """The value as the field understands it."""
    negated: bool = False
    position: int = dataclasses.field(default=1, compare=False)
    """Where the term begins in the text, counted from 1."""

    def __str__(self) -> str:
        return f"{'-' if self.negated else ''}{self.field or ''}{self.operator}{self.pattern}"


@dataclasses.dataclass(frozen=True)
class Query:
    """All of its terms must hold; without terms everything is meant. `str` writes it so that it parses to itself."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))


def is_plain(character: str) -> bool:
    return character.isalnum() or character in PLAIN


def _quoted(part: str) -> str:
    if not part or (all(map(is_plain, part)) and not part.startswith("-")):
        return part
    escaped = part.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
