"""The table of all rules says what asking them one by one would say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.rules import matching, table
from alerting.rules.matching import all_hold, parse_matchers
from alerting.rules.table import RuleTable, Terms

VALUES = ("", "a", "ab", "b", "ba")
FIELDS = ("service", "model", "severity", "labels.team")


def terms(*matchers: tuple[str, str, str], **changes: Any) -> Terms:
    parsed = parse_matchers([{"field": field, "op": op, "value": value} for field, op, value in matchers])
    return Terms(parsed)._replace(**changes)


def one_by_one(rules: Sequence[Terms], facts: Mapping[str, str]) -> list[int]:
    """The places of matching rules, found without a table."""
    return [
        place
        for place, rule in enumerate(rules)
        if all_hold(rule.matchers, facts)
        and (rule.severities is None or facts.get("severity", "") in rule.severities)
        and (rule.project is None or facts.get("project", "") == rule.project)
    ]


MATCHERS = st.tuples(
    st.sampled_from(FIELDS),
    st.sampled_from(("exact", "glob", "regex", "not")),
    st.sampled_from((*VALUES, "a*", "*b", "?", "a+", "a|b", ".*")),
).filter(lambda matcher: matcher[1] != "regex" or not matcher[2].startswith(("*", "?")))
RULES = st.lists(
    st.builds(
        lambda matchers, severities, project, goes_on: terms(
            *matchers, severities=severities, project=project, is_continued=goes_on
        ),
        st.lists(MATCHERS, max_size=4),
        st.none() | st.frozensets(st.sampled_from(VALUES)),
        st.none() | st.sampled_from(VALUES),
        st.booleans(),
    ),
    max_size=12,
)
FACTS = st.dictionaries(st.sampled_from((*FIELDS, "project")), st.sampled_from(VALUES))


@settings(max_examples=300)
@given(RULES, st.lists(FACTS, min_size=1, max_size=6))
def test_the_table_says_what_asking_rule_by_rule_says(rules: list[Terms], alerts: list[dict[str, str]]) -> None:
    made = RuleTable(rules)
    for facts in [*alerts, *alerts]:  # the second time from memory
        matching = one_by_one(rules, facts)
        assert list(made.matching(facts)) == matching
        decisive = next((at for at, place in enumerate(matching) if not rules[place].is_continued), len(matching))
        assert list(made.takers(facts)) == matching[: decisive + 1]


def test_the_first_rule_that_is_not_continued_is_the_last_that_is_asked() -> None:
    made = RuleTable([Terms(is_continued=True), Terms(), Terms()])
    assert list(made.takers({})) == [0, 1]
    assert list(made.matching({})) == [0, 1, 2]
    assert list(RuleTable([]).takers({"service": "a"})) == []


def test_a_rule_that_is_not_admitted_is_as_if_it_did_not_match() -> None:
    made, asked = RuleTable([terms(("service", "exact", "b")), Terms(), Terms(), Terms()]), []

    def admits(place: int) -> bool:
        asked.append(place)
        return place != 1

    assert list(made.takers({"service": "a"}, admits)) == [2]
    assert asked == [1, 2], "neither the one that does not match nor those after the decision"


def test_memory_is_bounded_and_answers_stay_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MOST_REMEMBERED", 3)
    made = RuleTable([terms(("service", "glob", "s*5"))])
    assert [n for n in range(100) if list(made.matching({"service": f"s{n}"}))] == list(range(5, 100, 10))


@pytest.mark.parametrize("memory", [1, 10_000, 16 << 20])
def test_expressions_asked_at_once_answer_as_one_by_one_also_without_the_memory(
    monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    monkeypatch.setattr(matching, "SET_MEMORY", memory)
    asked = [f"(a|b)*a(a|b){{{n}}}" for n in range(20)] + ["", "x*", ".*b", "[^a]+"]
    together = matching.Patterns(asked)
    for text in ("", "x", "ab\n", "a\ud800b", "abba" * 9, "b" * 300):
        alone = [n for n, pattern in enumerate(asked) if matching.parse_matchers([_regex(pattern)])[0].test(text)]
        assert sorted(together.matching(text)) == alone


@pytest.mark.parametrize("answer", [None, [], [1]])
def test_a_set_that_gave_up_is_not_believed(monkeypatch: pytest.MonkeyPatch, answer: list[int] | None) -> None:
    class GaveUp:
        def Match(self, text: bytes) -> list[int] | None:  # noqa: N802 (the library's name)
            return answer

    together = matching.Patterns(["a+", "b"])
    monkeypatch.setattr(together, "_set", GaveUp())
    assert together.matching("aa") == [0]


def _regex(pattern: str) -> dict[str, str]:
    return {"field": "service", "op": "regex", "value": pattern}
