"""Overrides: what rules come to for a series, what they are made of, who may write them."""

from __future__ import annotations

import msgspec
import pytest
from auditlog.models import LogEntry
from hypothesis import given
from hypothesis import strategies as st

from anomalies import overrides
from anomalies.detection.overrides import NOTHING, Override, OverrideSet, Rule, matches, rule_problems
from anomalies.models import DetectionOverride
from tests.support import catalogue
from tests.support.catalogue import bearer

LIST = "/api/v1/detection-overrides"
NAMES = st.text("ab*", max_size=8)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*", "", True),
        ("chat", "chat", True),
        ("chat", "chat-api", False),
        ("chat*", "chat-api", True),
        ("*-api", "chat-api", True),
        ("c*t*i", "chat-api", True),
        ("ab*ba", "aba", False),
        ("*a*a*", "a", False),
        ("a.c", "abc", False),
        ("*tokens", "total_tokens", True),
    ],
)
def test_a_star_stands_for_any_text_and_all_else_for_itself(pattern, name, fits):
    assert matches(pattern, name) is fits


@given(NAMES, st.text("ab", max_size=8))
def test_matching_agrees_with_a_search_of_all_ways(pattern, name):
    def every_way(pattern: str, name: str) -> bool:
        if not pattern:
            return not name
        if pattern[0] == "*":
            return any(every_way(pattern[1:], name[start:]) for start in range(len(name) + 1))
        return bool(name) and name[0] == pattern[0] and every_way(pattern[1:], name[1:])

    assert matches(pattern, name) is every_way(pattern, name)


def test_without_a_rule_nothing_is_different():
    assert OverrideSet().resolve("chat-api", "gpt-4", "latency_ms") == NOTHING
    assert NOTHING.runs("zscore", configured=True) is True
    assert NOTHING.threshold("zscore", 3.0) == 3.0
    assert NOTHING.admits("down")


def test_every_rule_that_matches_speaks_and_the_most_specific_has_the_last_word():
    rules = [
        Rule(service="chat-api", sensitivity="high"),
        Rule(service="chat*", sensitivity="low", thresholds={"zscore": 4.5, "mad": 5.0}, muted=True),
        Rule(detectors={"iqr": False, "spike": True}, direction="up", thresholds={"zscore": 9.0}),
        Rule(service="chat-api", metric="latency_ms", muted=False, detectors={"spike": False}, min_deviation=0.2),
        Rule(service="search", sensitivity="medium"),
    ]
    found = OverrideSet.of(rules, {}).resolve("chat-api", "gpt-4", "latency_ms")
    assert found == Override(
        detectors=(("iqr", False), ("spike", False)),
        sensitivity="high",
        thresholds=(("mad", 5.0), ("zscore", 4.5)),
        direction="up",
        min_deviation=0.2,
        muted=False,
    )
    assert (found.runs("iqr", configured=True), found.threshold("mad", 3.5), found.admits("down")) == (
        False,
        5.0,
        False,
    )
    assert OverrideSet.of(rules, {}).resolve("chat-b", "gpt-4", "cost_usd").muted is True


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        ({}, {"service": "c*"}),
        ({"service": "c*"}, {"service": "ch*"}),
        ({"service": "chat-ap*"}, {"service": "chat-api"}),
        ({"model": "gpt-4", "metric": "latency_ms"}, {"service": "c*"}),
        ({"metric": "latency_ms"}, {"model": "gpt*"}),
        ({}, {"project": "1"}),
        ({"project": "1"}, {"metric": "*_ms"}),
        ({}, {}),
    ],
)
def test_the_order_in_which_rules_speak(weaker, stronger):
    services = {"1": ["chat-api"]}
    old, young = Rule(**weaker, sensitivity="low"), Rule(**stronger, sensitivity="high")
    for rules in ([old, young], [young, old]) if weaker != stronger else ([old, young],):
        assert OverrideSet.of(rules, services).resolve("chat-api", "gpt-4", "latency_ms").sensitivity == "high"


def test_a_rule_of_a_project_speaks_of_its_services_only():
    found = OverrideSet.of([Rule(muted=True, project="1")], {"1": ["mine"], "2": ["theirs"]})
    assert found.resolve("mine", "gpt-4", "latency_ms").muted
    assert not found.resolve("theirs", "gpt-4", "latency_ms").muted
    assert found.services == {"1": ("mine",)}


def test_a_set_comes_back_from_its_bytes_with_the_same_version():
    rule = Rule(service="chat*", detectors={"iqr": False}, thresholds={"zscore": 4.5}, muted=True, project="1")
    made = OverrideSet.of([rule], {"1": ["b", "a"]})
    again = OverrideSet.from_bytes(made.to_bytes())
    assert (again, again.version) == (made, made.version)
    with pytest.raises(msgspec.DecodeError):
        OverrideSet.from_bytes(b"{")


def test_the_version_says_whether_anything_is_different():
    one, other = Rule(service="a", muted=True), Rule(service="b", thresholds={"mad": 5.0, "iqr": 2.0})
    same = Rule(service="b", thresholds={"iqr": 2.0, "mad": 5.0})
    assert OverrideSet.of([one, other], {}).version == OverrideSet.of([one, same], {}).version
    assert OverrideSet.of([one], {}).version != OverrideSet.of([other], {}).version != OverrideSet().version


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("service", "", "A name"),
        ("model", " gpt", "A name"),
        ("metric", "latncy_ms", "No metric is called 'latncy_ms'; there are latency_ms"),
        ("detectors", {"zscor": True}, "No detector is called 'zscor'; there are zscore"),
        ("detectors", {"zscore": 1}, "zscore: 1 is not true or false"),
        ("detectors", ["zscore"], "An object"),
        ("thresholds", {"zscore": 0}, "a number above 0"),
        ("thresholds", {"zscore": True}, "a number above 0"),
        ("thresholds", {"zscore": float("inf")}, "a number above 0"),
        ("thresholds", {"zscore": "3"}, "a number above 0"),
        ("sensitivity", "max", "not one of low, medium, high"),
        ("direction", "sideways", "not one of up, down, both"),
        ("min_deviation", -0.1, "A fraction"),
        ("min_deviation", float("nan"), "A fraction"),
    ],
)
def test_what_is_wrong_is_said_by_field(field, value, said):
    usual = {name: getattr(Rule(), name) for name in Rule.__struct_fields__}
    problems = rule_problems(usual | {field: value})
    assert list(problems) == [field]
    assert said in problems[field][0]
    assert rule_problems(usual) == {}


@pytest.mark.django_db
def test_the_current_set_holds_the_enabled_rows(django_assert_num_queries):
    blue = catalogue.service("mine", of="blue").project
    DetectionOverride.objects.create(service="mine", sensitivity="low", thresholds={"zscore": 4})
    DetectionOverride.objects.create(muted=True, project=blue)
    DetectionOverride.objects.create(direction="up", enabled=False)
    with django_assert_num_queries(2):
        found = overrides.current()
    assert found.resolve("mine", "gpt-4", "cost_usd") == Override(
        sensitivity="low", thresholds=(("zscore", 4.0),), muted=True
    )
    assert found.resolve("theirs", "gpt-4", "cost_usd") == NOTHING
    before = overrides.current().version
    assert before == found.version
    DetectionOverride.objects.filter(muted=True).update(enabled=False)
    assert overrides.current().version != before


@pytest.fixture
def send(client):
    headers = bearer(catalogue.token("read", "write", name="deploy-bot")[1])
    return lambda method, path, body=None: getattr(client, method)(
        path, body, content_type="application/json", headers=headers
    )


@pytest.mark.django_db
def test_an_override_is_written_read_changed_and_deleted(send):
    body = {"service": "chat*", "metric": "latency_ms", "thresholds": {"zscore": 4.5}, "note": "noisy", "muted": None}
    made = send("post", LIST, body)
    assert made.status_code == 201
    row = made.json()
    assert (row["service"], row["model"], row["thresholds"], row["created_by"]) == (
        "chat*",
        "*",
        {"zscore": 4.5},
        "deploy-bot",
    )
    assert (row["sensitivity"], row["muted"], row["project"], row["enabled"]) == (None, None, None, True)
    path = f"{LIST}/{row['id']}"
    changed = send("patch", path, {"sensitivity": "low"}).json()
    assert (changed["sensitivity"], changed["thresholds"], changed["note"]) == ("low", {"zscore": 4.5}, "noisy")
    assert send("get", path).json() == changed
    assert send("get", LIST).json() == {"overrides": [changed], "count": 1, "next": None}
    assert send("delete", path).status_code == 204
    assert send("get", path).status_code == 404
    actions = LogEntry.objects.filter(object_pk=str(row["id"]), content_type__model="detectionoverride")
    assert {entry.get_action_display() for entry in actions} == {"create", "update", "delete"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"metric": "latncy_ms"}, "metric"),
        ({"thresholds": {"zscore": -1}}, "thresholds"),
        ({"thresholds": 3}, "thresholds"),
        ({"detectors": {"zscore": "no"}}, "detectors"),
        ({"sensitivity": "max"}, "sensitivity"),
        ({"min_deviation": 1e9}, "min_deviation"),
        ({"service": ""}, "service"),
        ({"project": "nowhere"}, "project"),
        ({"treshold": 3}, "treshold"),
    ],
)
def test_a_bad_override_is_a_400_that_names_the_field(send, body, field):
    answer = send("post", LIST, body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert not DetectionOverride.objects.exists()


@pytest.mark.django_db
def test_who_sees_some_projects_writes_overrides_of_those_only(client):
    blue, red = (catalogue.project(name) for name in ("blue", "red"))
    common = DetectionOverride.objects.create(sensitivity="low")
    theirs = DetectionOverride.objects.create(project=red)
    headers = bearer(catalogue.token("read", "write", of="blue")[1])

    def ask(method, path, body=None):
        return getattr(client, method)(path, body, content_type="application/json", headers=headers)

    assert [row["id"] for row in ask("get", LIST).json()["overrides"]] == [common.pk]
    for body in ({}, {"project": None}, {"project": "red"}):
        assert ask("post", LIST, body).status_code == 400, body
    mine = ask("post", LIST, {"project": "blue"}).json()
    assert DetectionOverride.objects.get(pk=mine["id"]).project == blue
    assert ask("patch", f"{LIST}/{mine['id']}", {"project": None}).status_code == 400
    for method in ("patch", "delete"):
        assert ask(method, f"{LIST}/{common.pk}", {"muted": True}).status_code == 403
        assert ask(method, f"{LIST}/{theirs.pk}", {"muted": True}).status_code == 404
    assert DetectionOverride.objects.filter(muted=True).count() == 0
