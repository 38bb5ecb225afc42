"""The bench of rules measures what it says."""

from __future__ import annotations

from bench.rules import alerts, rates, rules


def test_its_rules_and_alerts_are_many_kinds_and_the_same_every_time() -> None:
    some = rules(200)
    asked = {(matcher.field, matcher.op) for terms in some for matcher in terms.matchers}
    assert {"exact", "glob", "regex", "not"} <= {op for _, op in asked}
    assert {"service", "model", "labels.team"} <= {field for field, _ in asked}
    assert alerts(50, 1000) == alerts(50, 1000)
    assert len({facts["service"] for facts in alerts(500, 1000)}) > 300


def test_it_gives_a_rate_of_every_run() -> None:
    found = rates(rule_count=20, alert_count=50, services=10, runs=2)
    assert {name: len(values) for name, values in found.items()} == {"new": 2, "known": 2, "one by one": 2}
    assert all(rate > 0 for values in found.values() for rate in values)
