"""The query language: what is read, what is refused and where, and that the database finds what the terms say."""

from __future__ import annotations

import fnmatch
import operator
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anomalies import search
from anomalies.models import LIMITS, Anomaly, Incident, Severity, State, Status, Verdict
from anomalies.queries import FIELDS, LONGEST, MOST_TERMS, Pattern, Query, QueryError, Term, parse
from anomalies.queries.fields import DETECTORS, Kind
from tests.support import catalogue
from tests.support.catalogue import NOON

COMPARE = {":": operator.eq, ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
CHARACTERS = 'aAb-_.*?[%\\"é /:'
NOW = NOON + timedelta(hours=3)


def words(*kinds: Kind) -> list[str]:
    return [name for name, field in FIELDS.items() if field.kind in kinds]


texts = st.text(CHARACTERS, max_size=6)
moments = st.sampled_from(["2026-03-02", "2026-03-02T12:00:00Z", "2026-03-02T13:30:00+02:00", "2026-03-01"])
written = st.one_of(
    st.tuples(
        st.sampled_from([*words(Kind.TEXT), ""]), st.sampled_from([":"]), st.lists(texts, min_size=1, max_size=3)
    ),
    st.tuples(st.sampled_from(words(Kind.NUMBER)), st.sampled_from(list(COMPARE)), st.just(["100"])),
    st.tuples(st.just("occurrences"), st.sampled_from(list(COMPARE)), st.sampled_from([["3"], ["5"]])),
    st.tuples(st.sampled_from(words(Kind.MOMENT)), st.sampled_from(list(COMPARE)), moments.map(lambda text: [text])),
    st.tuples(
        st.just("severity"), st.sampled_from(list(COMPARE)), st.sampled_from([[word] for word in Severity.values])
    ),
    st.tuples(st.just("age"), st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from([["3h"], ["2h30m"], ["1d"]])),
    st.sampled_from(words(Kind.CHOICE)).flatmap(
        lambda name: st.tuples(
            st.just(name), st.just(":"), st.sampled_from(FIELDS[name].words).map(lambda word: [word])
        )
    ),
    st.tuples(st.just("sample_trace_ids"), st.just(":"), st.sampled_from([["abc"], ["ab"], ['a"é']])),
    st.tuples(st.just("dimensions"), st.just(":"), st.sampled_from([["eu-west"], ['a"é'], ["region"]])),
    st.tuples(st.just("id"), st.just(":"), st.sampled_from([[str(UUID(int=1))], [str(UUID(int=9))]])),
)


@st.composite
def queries(draw: Any) -> str:
    """Valid queries, every literal in quotes."""
    terms = []
    for name, sign, parts in draw(st.lists(written, max_size=3)):
        value = "*".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)
        terms.append(f"{draw(st.sampled_from(['', '-']))}{name}{sign if name else ''}{value}")
    return "  ".join(terms)


@settings(max_examples=150)
@given(queries())
def test_a_query_is_written_so_that_it_reads_the_same(text: str) -> None:
    assert parse(str(parse(text))) == parse(text)


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=40), st.text('-:<>=*"\\ asevrity01', max_size=30)))
@example("\ud800")
@example("age<999999999w999999999w")
@example("first_seen>0001-01-01T00:00:00+10:00")
@example("first_seen:9999-12-31")
@example("value:1e999")
@example("occurrences:" + "9" * 900)
def test_garbage_is_read_or_refused_at_a_place_within_it(text: str) -> None:
    read = outcome(text)
    if isinstance(read, QueryError):
        assert 1 <= read.position <= len(text) + 1
        assert read.found
        assert read.allowed


def outcome(text: str) -> Query | QueryError:
    try:
        return parse(text)
    except QueryError as error:
        return error


@pytest.mark.parametrize(
    ("text", "position", "part"),
    [
        ("severity>=fatal", 11, "info, warning, critical"),
        ("service:a sevrity:info", 11, "did you mean severity?"),
        ("value>=abc", 8, "a number"),
        ("occurrences:2.5", 13, "a whole number"),
        ("age<soon", 5, "2h"),
        ("age:2h", 4, "age with >=, <=, >, <"),
        ("status>open", 7, "status with :"),
        ("severity=info", 9, "severity with :"),
        ("first_seen>yesterday", 12, "2026-03-02"),
        ("first_seen>2026-02-30", 12, "2026-03-02"),
        ("id:abc", 4, "an id"),
        ("value>=1*", 8, "a number"),
        ("sample_trace_ids:a*", 18, "without *"),
        ("metric:", 8, "a value"),
        ("metric: x", 8, "a value"),
        ("-", 2, "a value"),
        ("--x", 2, "one - before a term"),
        ("a openai/gpt", 9, "double quotes"),
        ('note:x"abc', 7, "a closing"),
        ("a\0b", 2, "without it"),
        ("x " * (MOST_TERMS + 1), 2 * MOST_TERMS + 1, f"{MOST_TERMS} terms"),
        ("x" * (LONGEST + 1), LONGEST + 1, f"{LONGEST} characters"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_position_and_what_is_allowed(text: str, position: int, part: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert caught.value.position == position
    assert f"At character {position}: " in str(caught.value)
    assert part in str(caught.value)


def test_terms_say_what_was_written_and_where() -> None:
    first, second, third = parse('service:chat-* -severity>=warning  "a b"').terms
    assert (first.field, first.value, first.negated, first.position) == ("service", Pattern(("chat-", "")), False, 1)
    assert (second.value, second.negated, second.position) == (("warning", "critical"), True, 16)
    assert (third.field, third.value, third.position) == (None, Pattern(("a b",)), 36)
    assert parse(" \t ") == Query()


@settings(max_examples=200)
@given(st.lists(st.text("ab*", max_size=3), min_size=1, max_size=4), st.text("ab*", max_size=8))
def test_a_pattern_matches_as_a_regular_expression_would(parts: list[str], text: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, parts)), text) is not None
    assert Pattern(tuple(parts)).matches(text) is expected


def test_a_pattern_of_many_gaps_takes_no_longer_than_its_text() -> None:
    assert not Pattern(("", *["a"] * 400, "b")).matches("a" * 100_000)


def test_the_words_are_those_of_the_rows() -> None:
    assert list(FIELDS["severity"].words) == Severity.values
    assert set(FIELDS["status"].words) == set(Status.values)
    assert set(FIELDS["state"].words) == set(State.values)
    assert set(FIELDS["feedback"].words) == {*Verdict.values, "none"}
    assert set(LIMITS) < set(DETECTORS)


# What the terms mean, said a second time: in Python, on rows that are in memory.


def holds(anomaly: Anomaly, term: Term) -> bool:
    name = term.field or ""
    if not name:
        return any(
            fits(term.pattern.anywhere(), text.lower(), str.lower) for text in (anomaly.service.name, anomaly.model)
        )
    kind = FIELDS[name].kind
    if name in ("service", "model", "note", "assignee"):
        return fits(term.pattern, anomaly.service.name if name == "service" else getattr(anomaly, name))
    if kind is Kind.TEXT:
        return fits(term.pattern, getattr(anomaly, f"{name}_name"))
    if name == "age":
        return COMPARE[term.operator](NOW - anomaly.first_seen, term.value)
    if kind is Kind.MOMENT:
        return timed(getattr(anomaly, "first_seen" if name == "timestamp" else name), term)
    return holds_otherwise(anomaly, term, kind)


def holds_otherwise(anomaly: Anomaly, term: Term, kind: Kind) -> bool:
    value = getattr(anomaly, str(term.field))
    written = term.pattern.parts[0]
    if kind is Kind.RANK:
        return COMPARE[term.operator](Severity.values.index(value), Severity.values.index(written))
    if kind in (Kind.NUMBER, Kind.COUNT):
        return value is not None and COMPARE[term.operator](value, float(written))
    if term.field == "feedback":
        return (value or {"verdict": "none"})["verdict"] == written
    if term.field == "dimensions":
        return any(found["value"] == written for found in value)
    if term.field in ("detectors", "sample_trace_ids"):
        return written in value
    return str(value) == written


def fits(pattern: Pattern, text: str, fold: Any = str) -> bool:
    glob = "*".join(re.sub(r"([*?[])", r"[\1]", fold(part)) for part in pattern.parts)
    return fnmatch.fnmatchcase(text, glob)


def timed(value: datetime | None, term: Term) -> bool:
    text = term.pattern.parts[0]
    if value is None:
        return False
    if len(text) == 10:
        return COMPARE[term.operator](value.astimezone(UTC).date().isoformat(), text)
    return COMPARE[term.operator](value, datetime.fromisoformat(text))


NAMES = ("a", "A-b", "chat-api", "100%", "a_b", "a*b", "[a]", "x\\y", 'say "a"')


@pytest.fixture
def many(db: None) -> list[Anomaly]:
    """Rows in which everything that is asked about occurs, and does not."""
    for number in range(36):
        anomaly_of(number)
    return list(Anomaly.objects.select_related("service"))


def anomaly_of(number: int) -> Anomaly:
    at = NOON - timedelta(hours=(0, 1, 12, 30)[number % 4])
    vote = (None, {"verdict": "useful"}, {"verdict": "noise"})[number % 3]
    return catalogue.anomaly(
        catalogue.service(NAMES[number % len(NAMES)]),
        at,
        id=UUID(int=number),
        model=NAMES[(number // 4) % len(NAMES)],
        severity=Severity.values[number % 3],
        metric=("latency_ms", "cost_usd")[number % 2],
        type=("latency_spike", "cost_anomaly")[number % 2],
        detector=("zscore", "threshold")[number % 2],
        detectors=({"zscore": 2.0, "mad": 1.0}, {"threshold": 1.0})[number % 2],
        direction=("up", "down")[number % 2],
        value=(99.5, 100.0, 101.0)[number % 3],
        z_score=(None, 100.0)[number % 2],
        confidence=(None, 0.5)[number % 2],
        baseline_mean=(100.0, None, 3.0)[number % 3],
        occurrences=(3, 5)[number % 2],
        state=State.values[number % 3],
        status=Status.values[number % 3],
        acknowledged_at=(None, NOON)[number % 2],
        acknowledged_by_name=("", "a", "A-b")[number % 3],
        assignee=("", "a")[number % 2],
        note=("", "100% a*b")[number % 2],
        feedback=vote,
        sample_trace_ids=([], ["abc"], ["abcd", 'a"é'])[number % 3],
        dimensions=([], [{"dimension": "region", "value": "eu-west"}], [{"dimension": "user", "value": 'a"é'}])[
            number % 3
        ],
    )


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(queries())
@example('-z_score>50 -feedback:useful -acknowledged_at>=2026-03-01 "A"')
@example("first_seen>2026-03-01 first_seen<=2026-03-02")
@example('model:"a*b" -service:"["*')
@example("-detectors:mad -sample_trace_ids:abc -dimensions:eu-west")
def test_the_database_finds_what_the_terms_say(many: list[Anomaly], text: str) -> None:
    query = parse(text)
    expected = {row.pk for row in many if all(holds(row, term) != term.negated for term in query.terms)}
    found = search.filter(Anomaly.objects.all(), query, NOW).values_list("pk", flat=True)
    assert sorted(found) == sorted(expected)


@pytest.mark.django_db
def test_an_incident_is_found_by_any_of_its_anomalies() -> None:
    slow = catalogue.anomaly()
    catalogue.anomaly(incident=slow.incident, metric="cost_usd", severity="info")
    other = catalogue.anomaly(severity="warning")

    def found(text: str) -> set[UUID]:
        return set(search.filter_incidents(Incident.objects.all(), parse(text), NOW).values_list("pk", flat=True))

    assert found("metric:cost_usd") == {slow.incident_id}
    assert found("severity>=warning") == found("") == {slow.incident_id, other.incident_id}
    assert found("metric:cost_usd severity:critical") == set()
