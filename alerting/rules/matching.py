"""Matchers: the conditions of a rule over the facts of an alert.

Regular expressions run on RE2, whose time is linear in the text: no pattern an operator saves can stall routing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field

import re2

FIELDS = (
    "service",
    "model",
    "provider",
    "type",
    "metric",
    "direction",
    "detector",
    "severity",
    "status",
    "event",
    "project",
)
LABEL_PREFIX = "labels."
OPERATORS = ("exact", "glob", "regex", "not")
MAX_VALUE_LENGTH = 1000
MAX_MATCHERS = 50
REGEX_MEMORY = 1 << 20
"""Bytes one compiled expression may take: `(a{1000}){1000}` is refused when it is saved."""
SET_MEMORY = 16 << 20
"""Bytes that all expressions about one field may take together."""

Test = Callable[[str], bool]


class MatcherError(ValueError):
    """A matcher that cannot be used; its text says which one, what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition: `field` of an alert's facts against `value`. A fact that is absent counts as empty text."""

    field: str
    op: str
    value: str
    test: Test = dataclass_field(repr=False, compare=False)

    def holds(self, facts: Mapping[str, str]) -> bool:
        return self.test(facts.get(self.field, ""))

    @property
    def pattern(self) -> str | None:
        """The RE2 expression it asks about, that of its glob too; None where it compares."""
        if self.op == "exact":
            return None
        return self.value if self.op == "regex" else glob_to_regex(self.value)


def parse_matchers(data: object) -> tuple[Matcher, ...]:
    """Matchers from their JSON form `[{"field", "op", "value"}]`.

    `exact` compares, `glob` knows `*`, `?` and `[…]`, `regex` is RE2 and must match the whole value, `not` holds
    where the glob does not. Raises `MatcherError`.
    """
    if not isinstance(data, list | tuple):
        raise MatcherError(f"matchers must be a list of objects, not {type(data).__name__}")
    if len(data) > MAX_MATCHERS:
        raise MatcherError(f"matchers has {len(data)} entries; at most {MAX_MATCHERS} are allowed")
    return tuple(_parse(f"matchers[{index}]", item) for index, item in enumerate(data))


def all_hold(matchers: Iterable[Matcher], facts: Mapping[str, str]) -> bool:
    """Whether every matcher holds; no matcher at all matches everything."""
    return all(matcher.holds(facts) for matcher in matchers)


def _parse(where: str, item: object) -> Matcher:
    if not isinstance(item, Mapping) or set(item) != {"field", "op", "value"}:
        raise MatcherError(f'{where} must be an object with exactly "field", "op" and "value"')
    name, op, value = item["field"], item["op"], item["value"]
    if not isinstance(name, str) or not (name in FIELDS or _is_label(name)):
        raise MatcherError(f"{where}.field is {name!r}; allowed are {', '.join(FIELDS)} and {LABEL_PREFIX}<name>")
    if op not in OPERATORS:
        raise MatcherError(f"{where}.op is {op!r}; allowed are {', '.join(OPERATORS)}")
    if not isinstance(value, str) or len(value) > MAX_VALUE_LENGTH:
        raise MatcherError(f"{where}.value must be a text of at most {MAX_VALUE_LENGTH} characters")
    return Matcher(name, op, value, _compile(where, op, value))


def _is_label(name: str) -> bool:
    return name.startswith(LABEL_PREFIX) and len(name) > len(LABEL_PREFIX)


def _compile(where: str, op: str, value: str) -> Test:
    if op == "exact":
        return value.__eq__
    try:
        matches = _full_match(value if op == "regex" else glob_to_regex(value))
    except re2.error as error:
        raise MatcherError(f"{where}.value is no regular expression (RE2 syntax): {_reason(error)}") from None
    except UnicodeEncodeError:
        raise MatcherError(f"{where}.value holds characters that are no valid Unicode text") from None
    return (lambda text: not matches(text)) if op == "not" else matches


@functools.lru_cache(maxsize=4096)
def _full_match(pattern: str) -> Test:
    compiled = re2.compile(pattern, _options(REGEX_MEMORY))
    return lambda text: compiled.fullmatch(_encoded(text)) is not None


def _options(memory: int) -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = memory
    return options


def _encoded(text: str) -> bytes:
    # A lone surrogate in a name must not raise in the middle of routing.
    return text.encode("utf-8", "replace")


class Patterns:
    """Many expressions that are asked about one text at once, in the time of one.

    Such a set gives up where it runs out of memory, and then answers as if nothing matched. So one expression that
    matches everything is among them: where even that is missing, they are asked one by one.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """`patterns` are RE2 expressions that compile."""
        self._patterns = tuple(patterns)
        self._set = re2.Set.FullMatchSet(_options(SET_MEMORY))
        for pattern in (*self._patterns, "(?s:.*)"):
            self._set.Add(pattern)
        try:
            self._set.Compile()
        except re2.error:
            self._set = None

    def matching(self, text: str) -> list[int]:
        """The indices of the expressions that match the whole of `text`, in no order."""
        found = self._set.Match(_encoded(text)) if self._set is not None else None
        everything = len(self._patterns)
        if found is None or everything not in found:
            return [index for index, pattern in enumerate(self._patterns) if _full_match(pattern)(text)]
        return [index for index in found if index != everything]


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else "not understood"
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def glob_to_regex(pattern: str) -> str:
    """The glob as an RE2 expression: `*` any text, `?` one character, `[ab]` and `[!ab]` sets, all else literal."""
    pieces: list[str] = []
    position = 0
    while position < len(pattern):
        piece, position = _glob_piece(pattern, position)
        pieces.append(piece)
    return "(?s:" + "".join(pieces) + ")"


def _glob_piece(pattern: str, position: int) -> tuple[str, int]:
    character = pattern[position]
    if character == "*":
        return ".*", position + 1
    if character == "?":
        return ".", position + 1
    # A set begins with `[`; a `]` right behind it (or behind `[!`) belongs to the set, as in a shell.
    found = re.compile(r"\[(!?)(\]?[^\]]*)\]").match(pattern, position) if character == "[" else None
    if found is None or not found[2]:
        return re2.escape(character), position + 1
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", found[2])
    return f"[{'^' if found[1] else ''}{members}]", found.end()
