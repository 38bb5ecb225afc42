"""Static thresholds as a pure function: minutes go in, breaches come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from alerting.rules.limits import (
    PATIENCE,
    Breach,
    Limit,
    Outcome,
    Sums,
    follow,
    judged_until,
    points_until,
    problems_of_limit,
    value_of,
)
from baselines.stats.sketch import BUCKETS, LOG_GAMMA, LOW, SKETCHED, bucket


def limit(**changes: Any) -> Limit:
    values: dict[str, Any] = {"metric": "request_rate", "aggregation": "mean", "window": 1}
    values |= {"operator": ">", "value": 10.0}
    return Limit(**(values | changes))


def latencies(*values: float) -> Sums:
    counts = np.zeros(BUCKETS, np.uint64)
    row = SKETCHED.index("latency_ms")
    for value in values:
        counts[bucket(value, LOW[row], LOG_GAMMA[row])] += np.uint64(1)
    return Sums(count=len(values), histogram=counts)


def rates(*counts: int | None, first: int = 100) -> dict[int, Sums]:
    """Minutes from `first` on with so many calls each; None = no row at all."""
    return {first + at: Sums(count=count) for at, count in enumerate(counts) if count is not None}


def lived(rule: Limit, minutes: Mapping[int, Sums], ends: range, last: Breach | None = None) -> list[Breach]:
    """Every breach that changes at the given ends, one look after the other."""
    changes = []
    for end in ends:
        if (breach := follow(rule, points_until(rule, minutes, end), last)) is not None:
            changes.append(breach)
            last = breach
    return changes


class TestValues:
    def test_a_quantile_is_that_of_all_calls_of_the_window(self) -> None:
        rule = limit(metric="latency_ms", aggregation="p90", window=2)
        many, few = latencies(*[100.0] * 95), latencies(*[5000.0] * 5)
        assert value_of(rule, [many, few]) == pytest.approx(100.0, rel=0.026), "an average of quantiles would be 2550"
        assert value_of(limit(metric="latency_ms", aggregation="max"), [many, few]) == pytest.approx(5000.0, rel=0.026)

    def test_an_error_rate_is_that_of_all_calls_of_the_window(self) -> None:
        minutes = [Sums(count=98, errors=0), Sums(count=2, errors=2)]
        assert value_of(limit(metric="error_rate", window=2), minutes) == 0.02
        assert value_of(limit(metric="error_rate", aggregation="max", window=2), minutes) == 1.0

    @pytest.mark.parametrize(("aggregation", "value"), [("mean", 4.0), ("min", 0.0), ("max", 12.0)])
    def test_a_minute_without_calls_counts_as_none(self, aggregation: str, value: float) -> None:
        assert value_of(limit(aggregation=aggregation, window=4), [Sums(count=4), Sums(count=12)]) == value

    def test_a_minute_without_calls_has_no_error_rate(self) -> None:
        rule = limit(metric="error_rate", aggregation="min", window=4)
        assert value_of(rule, [Sums(count=4, errors=1)]) == 0.25

    def test_cost_and_tokens_are_those_of_a_minute(self) -> None:
        minutes = [Sums(count=1, cost_usd=0.1, tokens=100), Sums(count=1, cost_usd=0.2, tokens=300)]
        assert value_of(limit(metric="cost_per_minute", window=2), minutes) == pytest.approx(0.15)
        assert value_of(limit(metric="tokens_per_minute", window=2), minutes) == 200

    def test_without_calls_that_count_there_is_no_value(self) -> None:
        assert value_of(limit(), []) is None
        failed_only = Sums(count=3, errors=3)
        assert value_of(limit(metric="latency_ms", aggregation="p95"), [failed_only]) is None


class TestWindows:
    def test_a_window_ends_before_its_end(self) -> None:
        points = points_until(limit(out_of=3), rates(5, 50, 5), until=103)
        assert [(point.end, point.value) for point in points] == [(101, 5), (102, 50), (103, 5)]

    @pytest.mark.parametrize(
        ("operator", "outcomes"),
        [(">", "FFO"), (">=", "FOO"), ("<", "OFF"), ("<=", "OOF")],
    )
    def test_every_operator_compares_with_the_limit(self, operator: str, outcomes: str) -> None:
        points = points_until(limit(operator=operator, out_of=3), rates(9, 10, 11), until=103)
        assert "".join("O" if point.outcome is Outcome.OVER else "F" for point in points) == outcomes

    @pytest.mark.parametrize(
        ("policy", "outcome"), [("keep", Outcome.UNKNOWN), ("ok", Outcome.FINE), ("breach", Outcome.OVER)]
    )
    def test_a_window_without_data_is_what_the_policy_says(self, policy: str, outcome: Outcome) -> None:
        assert points_until(limit(no_data=policy), {}, until=101)[0].outcome is outcome


class TestBreaches:
    def test_one_begins_is_extended_and_ends(self) -> None:
        changes = lived(limit(), rates(5, 20, 30, 15, 5, 5), range(101, 107))
        assert changes == [
            Breach(102, 102, 1, 20, is_active=True),
            Breach(102, 103, 2, 30, is_active=True),
            Breach(102, 104, 3, 30, is_active=True),
            Breach(102, 104, 3, 30, is_active=False),
        ]

    def test_the_worst_of_a_lower_limit_is_the_lowest(self) -> None:
        changes = lived(limit(operator="<"), rates(5, 2, 7), range(101, 104))
        assert changes[-1].peak == 2

    def test_so_many_of_the_last_windows_must_be_beyond_it(self) -> None:
        rule = limit(breaches=2, out_of=3)
        assert lived(rule, rates(20, 5, 5, 20, 5, 5), range(103, 107)) == []
        assert lived(rule, rates(20, 5, 20, 5, 5), range(103, 104)) == [Breach(101, 103, 2, 20, is_active=True)]

    def test_what_hovers_around_the_limit_is_one_breach(self) -> None:
        rule = limit(breaches=2, out_of=3)
        changes = lived(rule, rates(*[20, 20, *[5, 20] * 10, 5, 5, 5]), range(101, 126))
        assert {change.first_end for change in changes} == {101}
        assert [change.is_active for change in changes].count(False) == 1
        assert changes[-1] == Breach(101, 122, 12, 20, is_active=False)

    def test_without_data_it_neither_ends_nor_goes_on(self) -> None:
        changes = lived(limit(), rates(20, None, None, None, 5), range(101, 106))
        assert [(change.last_end, change.is_active) for change in changes] == [(101, True), (101, False)]
        assert not points_until(limit(), rates(20, None), 102)[0].value

    def test_looking_twice_changes_nothing(self) -> None:
        points = points_until(limit(), rates(20), until=101)
        first = follow(limit(), points, None)
        assert first is not None
        assert follow(limit(), points, first) is None

    def test_a_minute_that_comes_late_does_not_begin_it_anew(self) -> None:
        opened = follow(limit(operator="<"), points_until(limit(operator="<"), rates(5), 101), None)
        assert opened is not None
        ended = follow(limit(operator="<"), points_until(limit(operator="<"), rates(25), 101), opened)
        assert ended == opened._replace(is_active=False), "the rest of its calls came late"
        assert follow(limit(operator="<"), points_until(limit(operator="<"), rates(5), 101), ended) is None
        assert lived(limit(operator="<"), rates(25, 5), range(102, 103), ended) == [Breach(102, 102, 1, 5, True)]


class TestClock:
    def test_a_minute_is_looked_at_once_it_is_settled(self) -> None:
        assert [judged_until(second, None) for second in (6000, 6059, 6060)] == [99, 99, 100]

    def test_one_waits_for_a_pipeline_that_is_behind_but_not_for_ever(self) -> None:
        now = 200 * 60 + 60
        assert judged_until(now, newest_minute=199) == 200
        assert judged_until(now, newest_minute=250) == 200, "what comes from the future hastens nothing"
        assert judged_until(now, newest_minute=199 - PATIENCE) == 200 - PATIENCE
        assert judged_until(now, newest_minute=199 - PATIENCE - 1) == 200


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"metric": "mood"}, "metric", "latency_ms"),
        ({"aggregation": "p95"}, "aggregation", "mean, min, max"),
        ({"metric": "latency_ms"}, "aggregation", "p50"),
        ({"operator": "="}, "operator", ">="),
        ({"window": 0}, "window", "1 to 60"),
        ({"window": 61}, "window", "1 to 60"),
        ({"value": -1.0}, "value", "not negative"),
        ({"value": float("nan")}, "value", "must be a number"),
        ({"metric": "error_rate", "value": 5.0}, "value", "0.05 is 5 %"),
        ({"out_of": 0}, "out_of", "1 to 60"),
        ({"breaches": 2}, "breaches", "at most out_of"),
        ({"no_data": "alert"}, "no_data", "keep, ok, breach"),
        ({"no_data": "breach"}, "no_data", "lower limit"),
        ({"metric": "error_rate", "value": 0.1, "operator": "<", "no_data": "breach"}, "no_data", "request_rate"),
    ],
)
def test_what_cannot_be_used_is_said_by_field(changes: dict[str, Any], field: str, words: str) -> None:
    assert words in problems_of_limit(limit(**changes))[field][0]


def test_what_can_be_used_has_no_problems() -> None:
    assert problems_of_limit(limit(operator="<", no_data="breach", breaches=3, out_of=5)) == {}
