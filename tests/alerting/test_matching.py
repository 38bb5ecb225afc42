"""Which alerts a rule takes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.rules.matching import FIELDS, MatcherError, all_hold, glob_to_regex, parse_matchers

FACTS = {"service": "chat-api", "model": "gpt-4", "severity": "critical", "labels.team": "search"}


def holds(field: str, op: str, value: str, facts: dict[str, str] = FACTS) -> bool:
    return all_hold(parse_matchers([{"field": field, "op": op, "value": value}]), facts)


@pytest.mark.parametrize(
    ("field", "op", "value", "expected"),
    [
        ("service", "exact", "chat-api", True),
        ("service", "exact", "chat", False),
        ("service", "exact", "CHAT-API", False),
        ("service", "glob", "chat-*", True),
        ("service", "glob", "chat", False),
        ("service", "glob", "????-api", True),
        ("model", "glob", "gpt-[345]", True),
        ("model", "glob", "gpt-[!345]", False),
        ("model", "regex", "gpt-[0-9]+", True),
        ("model", "regex", "gpt", False),
        ("model", "regex", "claude|gpt-4", True),
        ("service", "not", "chat-api", False),
        ("service", "not", "test-*", True),
        ("labels.team", "exact", "search", True),
        ("labels.team", "not", "search", False),
        ("labels.absent", "exact", "", True),
        ("labels.absent", "not", "x", True),
    ],
)
def test_an_operator_means_what_it_says(field: str, op: str, value: str, expected: bool) -> None:
    assert holds(field, op, value) is expected


def test_every_matcher_must_hold_and_none_at_all_takes_everything() -> None:
    both = parse_matchers(
        [{"field": "service", "op": "glob", "value": "chat*"}, {"field": "model", "op": "exact", "value": "x"}]
    )
    assert not all_hold(both, FACTS)
    assert all_hold(both, FACTS | {"model": "x"})
    assert all_hold(parse_matchers([]), FACTS)


@given(st.text(), st.text())
def test_a_text_without_wildcards_is_a_glob_of_itself_alone(text: str, other: str) -> None:
    literal = "".join(f"[{c}]" if c in "*?[" else c for c in text)
    assert holds("service", "glob", literal, {"service": text})
    assert holds("service", "glob", literal, {"service": other}) == (text == other)
    assert holds("service", "not", literal, {"service": other}) == (text != other)


@given(st.text(), st.text(), st.text(), st.characters())
def test_a_star_stands_for_any_text_and_a_question_mark_for_one_character(
    before: str, within: str, after: str, one: str
) -> None:
    pattern = "".join(f"[{c}]" if c in "*?[" else c for c in before)
    assert holds("service", "glob", pattern + "*", {"service": before + within + after})
    assert holds("service", "glob", pattern + "?", {"service": before + one})
    assert not holds("service", "glob", pattern + "?", {"service": before + one + one})


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_any_text_is_a_usable_glob_or_is_refused_when_it_is_saved(pattern: str) -> None:
    glob_to_regex(pattern)
    try:
        matchers = parse_matchers([{"field": "service", "op": "glob", "value": pattern}])
    except MatcherError:
        return
    all_hold(matchers, FACTS)


def test_an_expression_that_blows_up_elsewhere_is_linear_here() -> None:
    matchers = parse_matchers([{"field": "service", "op": "regex", "value": "(a|aa|a?)*b"}])
    began = time.perf_counter()
    assert not all_hold(matchers, {"service": "a" * 100_000})
    assert time.perf_counter() - began < 5


def test_a_name_that_is_no_valid_unicode_is_matched_without_an_error() -> None:
    assert holds("service", "regex", "a.b", {"service": "a\ud800b"})


@pytest.mark.parametrize(
    ("matchers", "words"),
    [
        ({"field": "service"}, ["must be a list", "dict"]),
        (["service"], ["matchers[0]", '"field", "op" and "value"']),
        ([{"field": "service", "op": "exact"}], ["matchers[0]", "exactly"]),
        (
            [{"field": "colour", "op": "exact", "value": "x"}],
            ["matchers[0].field", "colour", "service", "labels.<name>"],
        ),
        ([{"field": "labels.", "op": "exact", "value": "x"}], ["matchers[0].field"]),
        ([{"field": "service", "op": "like", "value": "x"}], ["matchers[0].op", "like", "exact, glob, regex, not"]),
        ([{"field": "service", "op": "exact", "value": 3}], ["matchers[0].value", "text"]),
        ([{"field": "service", "op": "regex", "value": "x" * 1001}], ["matchers[0].value", "1000"]),
        ([{"field": "service", "op": "regex", "value": "("}], ["matchers[0].value", "missing )"]),
        ([{"field": "service", "op": "regex", "value": "(?=a)"}], ["matchers[0].value", "(?="]),
        ([{"field": "service", "op": "regex", "value": "(.{900}){900}"}], ["matchers[0].value"]),
        ([{"field": "service", "op": "regex", "value": "\ud800"}], ["matchers[0].value", "Unicode"]),
        ([{"field": "service", "op": "exact", "value": "x"}] * 51, ["51", "50"]),
    ],
)
def test_a_matcher_that_cannot_work_is_refused_with_what_is_wrong(matchers: object, words: list[str]) -> None:
    with pytest.raises(MatcherError) as caught:
        parse_matchers(matchers)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_that_is_offered_can_be_asked_for(field: str) -> None:
    assert holds(field, "exact", "x", {field: "x"})
