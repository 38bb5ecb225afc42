"""From text to terms, in one pass over its characters; what cannot be read is said with its position."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

from anomalies.queries.fields import FIELDS, Field
from anomalies.queries.terms import Pattern, Query, Term, is_plain
from anomalies.queries.values import read

LONGEST = 1000
MOST_TERMS = 30

_HEAD = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,63})(:|[<>=!~]{1,2})")
_BARE = 'letters, digits, ".", "_", "-" and "*"; put anything else into double quotes'
_SHOWN = 40


class QueryError(ValueError):
    """A query that cannot be read: where (`position`, counted from 1), what stands there, what is allowed."""

    def __init__(self, position: int, found: str, allowed: str) -> None:
        super().__init__(f"At character {position}: {found}. Allowed: {allowed}.")
        self.position, self.found, self.allowed = position, found, allowed


def parse(text: str) -> Query:
    """The terms of `text`; none where it is blank. Raises QueryError."""
    if len(text) > LONGEST:
        raise QueryError(LONGEST + 1, f"{len(text)} characters", f"{LONGEST} characters")
    for position, character in enumerate(text, 1):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise QueryError(position, f"the character U+{ord(character):04X}", "any text without it")
    return Query(tuple(_terms(text)))


def _terms(text: str) -> Iterator[Term]:
    at = count = 0
    while (at := _next_word(text, at)) < len(text):
        count += 1
        if count > MOST_TERMS:
            raise QueryError(at + 1, f"term number {count}", f"{MOST_TERMS} terms")
        term, at = _term(text, at)
        yield term


def _next_word(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _term(text: str, start: int) -> tuple[Term, int]:
    """The term that begins at `start`, and where it ends."""
    negated = text[start] == "-"
    at = start + negated
    head = _HEAD.match(text, at)
    if head is None:
        if text.startswith("-", at):
            raise QueryError(at + 1, "a second -", "one - before a term; a name that begins with it stands in quotes")
        pattern, end = _word(text, at, is_bare=True)
        return Term(None, "", pattern, pattern, negated, start + 1), end
    name, operator = head.groups()
    field = _field(name, at)
    if operator not in field.kind.operators:
        raise QueryError(head.start(2) + 1, f'"{operator}"', f"{field.name} with {', '.join(field.kind.operators)}")
    pattern, end = _word(text, head.end())
    try:
        value = read(field, operator, pattern)
    except ValueError as error:
        raise QueryError(head.end() + 1, _shown(text[head.end() : end]), str(error)) from None
    return Term(field.name, operator, pattern, value, negated, start + 1), end


def _field(name: str, at: int) -> Field:
    if name in FIELDS:
        return FIELDS[name]
    near = get_close_matches(name.lower(), FIELDS, 1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise QueryError(at + 1, f"the field {_shown(name)}{meant}", ", ".join(sorted(FIELDS)))


def _word(text: str, at: int, *, is_bare: bool = False) -> tuple[Pattern, int]:
    """A value from `at` to the next space: characters as they are, "quoted" ones, and `*` for gaps.

    A bare word takes less unquoted: what looks like a condition must not pass for a name.
    """
    start = at
    parts: list[list[str]] = [[]]
    while at < len(text) and not (character := text[at]).isspace():
        at += 1
        if character == '"':
            literal, at = _quoted(text, at - 1)
            parts[-1].append(literal)
        elif character == "*":
            parts.append([])
        elif is_bare and not is_plain(character):
            raise QueryError(at, f"{_shown(character)} in a word without a field", _BARE)
        else:
            parts[-1].append(character)
    if at == start:
        raise QueryError(at + 1, "nothing" if at == len(text) else "a space", 'a value; "" is the empty one')
    return _pattern(["".join(part) for part in parts]), at


def _pattern(parts: list[str]) -> Pattern:
    """Two stars beside each other say no more than one."""
    if len(parts) == 1:
        return Pattern((parts[0],))
    return Pattern((parts[0], *filter(None, parts[1:-1]), parts[-1]))


def _quoted(text: str, start: int) -> tuple[str, int]:
    """What stands between quotes, and the place after them; a backslash keeps the quote or backslash behind it."""
    literal: list[str] = []
    at = start + 1
    while at < len(text):
        if text[at] == '"':
            return "".join(literal), at + 1
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        literal.append(text[at])
        at += 1
    raise QueryError(start + 1, "a quote that is never closed", 'a closing "')


def _shown(text: str) -> str:
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return short if '"' in short else f'"{short}"'
