"""The table of all rules, made for asking: which of them take an alert, in their order.

Each field of the facts is asked on its own. To a value it has there belongs a set of rules that do not mind it, as the
bits of one integer; an alert is taken by the rules that are in the sets of all fields. The set of a value is found once
and remembered, so an alert costs one look-up per field that any rule speaks of, however many rules there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from alerting.rules.matching import Matcher, Patterns, Test

MOST_REMEMBERED = 20_000
"""Values of one field whose rules are remembered; names of services are the most, and they recur."""


class Terms(NamedTuple):
    """What one rule asks of the facts, and whether the rules after it are asked too."""

    matchers: tuple[Matcher, ...] = ()
    severities: frozenset[str] | None = None
    """Those it takes; None = all."""
    project: str | None = None
    """The only one it takes; None = all."""
    is_continued: bool = False

    def by_field(self) -> dict[str, list[Matcher]]:
        """All it asks, by the field that it asks about."""
        found: defaultdict[str, list[Matcher]] = defaultdict(list)
        for matcher in self.matchers:
            found[matcher.field].append(matcher)
        if self.severities is not None:
            found["severity"].append(Matcher("severity", "any", "", self.severities.__contains__))
        if self.project is not None:
            found["project"].append(Matcher("project", "exact", self.project, self.project.__eq__))
        return found


class RuleTable:
    """Rules in the order in which they are tried. Threads may share it."""

    def __init__(self, rules: Sequence[Terms]) -> None:
        self._everybody = (1 << len(rules)) - 1
        self._continued = sum(1 << place for place, terms in enumerate(rules) if terms.is_continued)
        by_field: defaultdict[str, dict[int, list[Matcher]]] = defaultdict(dict)
        for place, terms in enumerate(rules):
            for name, matchers in terms.by_field().items():
                by_field[name][place] = matchers
        # The field that most rules speak of leaves the fewest to ask the others about.
        ordered = sorted(by_field.items(), key=lambda field: -len(field[1]))
        self._fields = [_Field(name, asked, self._everybody) for name, asked in ordered]

    def matching(self, facts: Mapping[str, str]) -> Iterator[int]:
        """The places of all rules whose terms hold, in order. A fact that is absent counts as empty text."""
        found = self._everybody
        for field in self._fields:
            found &= field.rules_for(facts.get(field.name, ""))
            if not found:
                return
        while found:
            lowest = found & -found
            yield lowest.bit_length() - 1
            found ^= lowest

    def takers(self, facts: Mapping[str, str], admits: Callable[[int], bool] | None = None) -> Iterator[int]:
        """The places of the rules that decide: matching ones up to the first that is not continued.

        `admits` is asked about a matching rule before it may decide, for what is too dear to ask of every rule; one
        that it refuses is as if it did not match.
        """
        for place in self.matching(facts):
            if admits is not None and not admits(place):
                continue
            yield place
            if not self._continued >> place & 1:
                return


class _Field:
    """What all rules say about one field: sets of rules as bits, of which no rule is in two."""

    def __init__(self, name: str, asked: Mapping[int, Sequence[Matcher]], everybody: int) -> None:
        self.name = name
        self._known: dict[str, int] = {}
        self._indifferent = everybody
        self._by_value: defaultdict[str, int] = defaultdict(int)
        self._by_pattern: defaultdict[str, int] = defaultdict(int)
        self._by_no_pattern: defaultdict[str, int] = defaultdict(int)
        self._others: defaultdict[tuple[Test, ...], int] = defaultdict(int)
        for place, matchers in asked.items():
            self._indifferent ^= 1 << place
            self._add(1 << place, matchers)
        self._unless = sum(self._by_no_pattern.values())
        patterns = list(self._by_pattern.keys() | self._by_no_pattern.keys())
        self._patterns = Patterns(patterns)
        self._bits = [(self._by_pattern.get(each, 0), self._by_no_pattern.get(each, 0)) for each in patterns]

    def _add(self, bit: int, matchers: Sequence[Matcher]) -> None:
        first, pattern = matchers[0], matchers[0].pattern
        if len(matchers) > 1 or first.op == "any":
            self._others[tuple(matcher.test for matcher in matchers)] |= bit
        elif pattern is None:
            self._by_value[first.value] |= bit
        else:
            (self._by_no_pattern if first.op == "not" else self._by_pattern)[pattern] |= bit

    def rules_for(self, value: str) -> int:
        """The bits of the rules that this value is right for."""
        found = self._known.get(value)
        if found is None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()  # begin again: what recurs is soon back
            found = self._known[value] = self._find(value)
        return found

    def _find(self, value: str) -> int:
        found = self._indifferent | self._by_value.get(value, 0) | self._unless
        for index in self._patterns.matching(value):
            welcome, unwelcome = self._bits[index]
            found = (found | welcome) & ~unwelcome
        for tests, bits in self._others.items():
            if all(test(value) for test in tests):
                found |= bits
        return found
