"""What finding the rules of an alert costs: alerts per second of one core, with 500 rules.

python -m bench rules
python -m bench.rules --rules 500 --alerts 50000 --services 5000 --runs 7

The rules are mixed as people write them: by name, by glob, by regular expression, by label, by what must not be, a
third with a least severity, a tenth for one project, a fifth continued. `new` gives every alert to a table that has
seen nothing of its service, its team and its region before, the worst there is; `known` is the same alerts again, of
thousands of series in random order; `one by one` is how a table is checked in the tests, on fewer alerts.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterable, Sequence
from typing import Any

from alerting.rules.matching import all_hold, parse_matchers
from alerting.rules.table import RuleTable, Terms
from bench import machine
from bench.figures import Spread, save, table

AREAS = ("chat", "search", "billing", "support", "summarise", "translate", "ocr", "agent", "rank", "mail")
MODELS = ("gpt-4", "gpt-4o", "gpt-5-mini", "claude-sonnet-4", "claude-haiku-4", "gemini-2.5-pro", "mistral-large")
TYPES = ("latency_spike", "cost_spike", "error_rate_increase", "token_anomaly", "silence", "quality_drop")
METRICS = ("latency_ms", "cost_usd", "error_rate", "total_tokens", "request_rate", "quality_score")
SEVERITIES = (None, None, frozenset({"critical"}), frozenset({"warning", "critical"}))
ONE_BY_ONE = 500


def rules(count: int, seed: int = 1) -> list[Terms]:
    """Rules of all kinds, in random order; no two alike but by chance."""
    dice = random.Random(seed)
    return [
        Terms(
            parse_matchers(_matchers(dice)),
            severities=dice.choice(SEVERITIES),
            project=f"project-{dice.randrange(20)}" if dice.random() < 0.1 else None,
            is_continued=dice.random() < 0.2,
        )
        for _ in range(count)
    ]


def _matchers(dice: random.Random) -> list[dict[str, str]]:
    area, number = dice.choice(AREAS), dice.randrange(500)
    chosen = dice.choice(
        [
            [("service", "exact", f"{area}-{number}")],
            [("service", "exact", f"{area}-{number}"), ("model", "glob", f"{dice.choice(MODELS)[:5]}*")],
            [("service", "glob", f"{area}-{number % 100}?"), ("metric", "exact", dice.choice(METRICS))],
            [("service", "regex", f"({area}|{dice.choice(AREAS)})-[0-9]*{number % 100:02}")],
            [("labels.team", "exact", f"team-{number}"), ("type", "regex", "|".join(dice.sample(TYPES, 2)))],
            [("labels.team", "glob", f"team-{number % 50}*"), ("service", "not", f"{area}-*")],
            [("model", "exact", dice.choice(MODELS)), ("labels.region", "exact", f"region-{number % 30}")],
            [
                ("type", "exact", dice.choice(TYPES)),
                ("service", "glob", f"*-{number}"),
                ("provider", "exact", "openai"),
            ],
        ]
    )
    return [{"field": field, "op": op, "value": value} for field, op, value in chosen]


def alerts(count: int, services: int, seed: int = 2) -> list[dict[str, str]]:
    """Facts of alerts about many series, in random order."""
    dice = random.Random(seed)
    return [_facts(dice, service) for service in (dice.randrange(services) for _ in range(count))]


def _facts(dice: random.Random, service: int) -> dict[str, str]:
    kind = dice.randrange(len(TYPES))
    return {
        "service": f"{AREAS[service % len(AREAS)]}-{service}",
        "model": dice.choice(MODELS),
        "type": TYPES[kind],
        "metric": METRICS[kind],
        "direction": "up",
        "detector": "zscore",
        "severity": dice.choice(("warning", "critical")),
        "status": "open",
        "event": "anomaly.opened",
        "project": f"project-{service % 20}",
        "provider": dice.choice(("openai", "anthropic", "google")),
        "labels.team": f"team-{service % 997}",
        "labels.region": f"region-{service % 31}",
    }


def rates(rule_count: int, alert_count: int, services: int, runs: int) -> dict[str, list[float]]:
    """Alerts per CPU second of each run, by what was done."""
    terms = rules(rule_count)
    every_one_new = alerts(alert_count, services)
    for at, facts in enumerate(every_one_new):
        facts |= {"service": f"{facts['service']}-{at}", "labels.team": f"team-{at}", "labels.region": f"region-{at}"}
    known = alerts(alert_count, services)
    found: dict[str, list[float]] = {"new": [], "known": [], "one by one": []}
    for _ in range(runs):
        found["new"].append(len(every_one_new) / _cpu_seconds(RuleTable(terms), every_one_new))
        asked = RuleTable(terms)
        _cpu_seconds(asked, known)
        found["known"].append(len(known) / _cpu_seconds(asked, known))
        found["one by one"].append(ONE_BY_ONE / _cpu_seconds_one_by_one(terms, known[:ONE_BY_ONE]))
    return found


def _cpu_seconds(asked: RuleTable, facts: Iterable[dict[str, str]]) -> float:
    began = time.process_time()
    for each in facts:
        list(asked.takers(each))
    return time.process_time() - began


def _cpu_seconds_one_by_one(terms: Sequence[Terms], facts: Iterable[dict[str, str]]) -> float:
    began = time.process_time()
    for each in facts:
        [rule for rule in terms if all_hold(rule.matchers, each)]
    return time.process_time() - began


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table and save the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=int, default=500)
    parser.add_argument("--alerts", type=int, default=20_000)
    parser.add_argument("--services", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=7)
    chosen = parser.parse_args(argv)
    found: dict[str, Any] = rates(chosen.rules, chosen.alerts, chosen.services, chosen.runs)
    rows = [
        [name, Spread.of(values).text(), Spread.of([1e6 / value for value in values]).text(".1f")]
        for name, values in found.items()
    ]
    print(machine.line())
    print(f"{chosen.rules} rules, {chosen.alerts:,} alerts, {chosen.services:,} services")
    print(table(["alerts", "per second and core", "us each"], rows))
    print(f"written to {save('rules', found)}")


if __name__ == "__main__":
    main()
