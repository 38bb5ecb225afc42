"""What notices say to people, built in or by a channel's templates."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting.channels.base import NoticeType
from alerting.channels.wording import lasted, links, mark, worded
from tests.alerting.factories import NOW, anomaly_data, notice

LATER = NOW + timedelta(minutes=72)


def test_what_and_where_come_first_then_the_story_and_since_when() -> None:
    told = worded(notice())
    assert told.title == "Critical: Latency spike in chat-api (gpt-4)"
    assert told.text == "Answers took 15.2 s where 1.2 s is usual.\nSince Mar 1 12:00 UTC, 3 times."


@pytest.mark.parametrize(
    ("type_", "title"),
    [
        (NoticeType.OPENED, "Warning: Spike"),
        (NoticeType.ESCALATED, "Now warning: Spike"),
        (NoticeType.REPEATED, "Still warning (1 h 12 min): Spike"),
        (NoticeType.RESOLVED, "Resolved (1 h 12 min): Spike"),
        (NoticeType.TEST, "Test: Spike"),
    ],
)
def test_the_title_says_how_it_stands(type_: NoticeType, title: str) -> None:
    data = anomaly_data(title="Spike", last_seen=LATER)
    status = "resolved" if type_ == NoticeType.RESOLVED else "firing"
    assert worded(notice(anomalies=(data,), type=type_, severity="warning", status=status)).title == title


def test_a_group_names_its_services_and_lists_its_first_anomalies() -> None:
    anomalies = tuple(anomaly_data(title=f"Spike {n}", service=f"s{n % 5}") for n in range(12))
    told = worded(notice(anomalies=anomalies, count=40))
    assert told.title == "Critical: 40 anomalies in s0, s1, s2 and 2 more"
    lines = told.text.split("\n")
    assert lines[0] == "• critical Spike 0, since Mar 1 12:00 UTC"
    assert lines[-1] == "and 30 more"
    assert len(lines) == 11


def test_templates_take_the_place_of_the_built_in_words() -> None:
    told = worded(notice(), "{{ severity|upper }} {{ anomaly.service }}", "{{ text }}\nSee {{ url }}")
    assert told.title == "CRITICAL chat-api"
    assert told.text.endswith("See https://sentinel.example/admin/anomalies/anomaly/1/change/")


def test_a_template_that_fails_costs_nobody_an_alert() -> None:
    told = worded(notice(), "{{ anomaly.labels.owner }}", "")
    assert told.title == "Critical: Latency spike in chat-api (gpt-4)"
    assert told.text.endswith("(The channel's template failed: 'dict object' has no attribute 'owner')")


def test_control_characters_reversed_writing_and_half_characters_do_not_leave() -> None:
    data = anomaly_data(title="a\r\nBcc: b\x1b[2J\u202ec\ud800d\x00", description="x\x07\ny")
    told = worded(notice(anomalies=(data,)))
    assert told.title == "Critical: a Bcc: b[2Jc\N{REPLACEMENT CHARACTER}d"
    assert told.text.startswith("x\ny\n")


def test_a_long_name_is_cut_where_a_title_ends() -> None:
    told = worded(notice(anomalies=(anomaly_data(title="n" * 5000, description="d" * 50_000),)))
    assert len(told.title) == 200
    assert len(told.text) == 4000
    assert told.title.endswith("…")


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "https://",
        "https://x/<y>",
        "https://x/ y",
        "https://x/\n",
        "//x",
        "https://[",
        "https://x/" + "a" * 3000,
    ],
)
def test_what_is_no_web_address_becomes_no_link(address: str) -> None:
    assert [label for label, _ in links(notice(runbook_url=address))] == ["Open"]


def test_only_what_still_fires_can_be_acknowledged() -> None:
    found = {"acknowledge_url": "https://sentinel.example/a", "runbook_url": "https://wiki.example/r"}
    assert [label for label, _ in links(notice(**found))] == ["Open", "Runbook", "Acknowledge"]
    assert [label for label, _ in links(notice(status="resolved", **found))] == ["Open", "Runbook"]


def test_a_sign_says_it_before_anything_is_read() -> None:
    assert [mark(notice(severity=severity)) for severity in ("critical", "warning", "info")] == ["🔴", "🟠", "🔵"]
    assert mark(notice(status="resolved")) == "✅"
    assert mark(notice(type=NoticeType.TEST)) == "🔔"


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(hours=4, minutes=20), "4 h 20 min"),
        (timedelta(days=2, hours=3), "2 d 3 h"),
    ],
)
def test_a_span_is_said_in_units_people_use(span: timedelta, said: str) -> None:
    assert lasted(span) == said
