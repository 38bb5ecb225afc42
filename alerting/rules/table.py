"""The table of all rules, made for asking: which of them take an alert, in their order.

Each field of the facts is asked on its own. To a value it has there belongs a set of rules that do not mind it, as the
bits of one integer; an alert is taken by the rules that are in the sets of all fields. The set of a value is found once
and remembered, so an alert costs one look-up per field that any rule speaks of, however many rules there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from alerting.rules.matching import Matcher, Test

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

    def tests(self) -> Iterator[tuple[str, Test, str | None]]:
        """Field, test, and the only value that passes it where there is just one."""
        for matcher in self.matchers:
            yield matcher.field, matcher.test, matcher.value if matcher.op == "exact" else None
        if self.severities is not None:
            yield "severity", self.severities.__contains__, None
        if self.project is not None:
            yield "project", self.project.__eq__, self.project


class RuleTable:
    """Rules in the order in which they are tried. Not to be shared between threads."""

    def __init__(self, rules: Sequence[Terms]) -> None:
        self._everybody = (1 << len(rules)) - 1
        self._continued = sum(1 << place for place, terms in enumerate(rules) if terms.is_continued)
        by_field: defaultdict[str, dict[int, list[tuple[Test, str | None]]]] = defaultdict(dict)
        for place, terms in enumerate(rules):
            for field, test, only in terms.tests():
                by_field[field].setdefault(place, []).append((test, only))
        fields = [_Field(name, tests, self._everybody) for name, tests in by_field.items()]
        # The field that most rules speak of leaves the fewest to ask the others about.
        self._fields = sorted(fields, key=lambda field: -len(by_field[field.name]))

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
    """What all rules say about one field."""

    def __init__(self, name: str, tests: Mapping[int, Sequence[tuple[Test, str | None]]], everybody: int) -> None:
        self.name = name
        self._known: dict[str, int] = {}
        self._indifferent = everybody
        self._exact: defaultdict[str, int] = defaultdict(int)
        self._others: defaultdict[tuple[Test, ...], int] = defaultdict(int)
        for place, asked in tests.items():
            bit = 1 << place
            self._indifferent ^= bit
            if len(asked) == 1 and asked[0][1] is not None:
                self._exact[asked[0][1]] |= bit
            else:
                # Rules with the same pattern share one test: `matching` compiles each pattern once.
                self._others[tuple(test for test, _ in asked)] |= bit

    def rules_for(self, value: str) -> int:
        """The bits of the rules that this value is right for."""
        found = self._known.get(value)
        if found is None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()  # begin again: what recurs is soon back
            found = self._known[value] = self._find(value)
        return found

    def _find(self, value: str) -> int:
        found = self._indifferent | self._exact.get(value, 0)
        for tests, bits in self._others.items():
            if all(test(value) for test in tests):
                found |= bits
        return found
