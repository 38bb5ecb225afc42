"""What a URL asks the pages to show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sentinel_site.dashboard.selection import MOST_POINTS, RANGES, selected

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_the_last_six_hours_are_shown_unless_asked_otherwise():
    assert selected({}, NOON).start == NOON - timedelta(hours=6)
    assert selected({"range": "7d"}, NOON).start == NOON - timedelta(days=7)
    assert selected({"range": "a while"}, NOON).span == "6h"


@pytest.mark.parametrize("span", [*RANGES, ""])
def test_a_chart_never_has_more_points_than_can_be_read(span):
    ends = {"start": "2024-03-05T00:00:00Z", "end": "2026-03-01T00:00:00Z"}
    chosen = selected({"range": span} if span else ends, NOON)
    assert 0 < chosen.seconds / chosen.step <= MOST_POINTS
    assert chosen.step % 60 == 0


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ({"start": "2026-03-02T08:00:00Z", "end": "2026-03-02T09:00:00Z"}, (8, 9)),
        ({"start": "2026-03-02T08:00:00Z", "end": "2027-01-01T00:00:00Z"}, (8, 12)),
        ({"start": "2026-03-02T08:00:00Z"}, (6, 12)),
        ({"start": "tomorrow", "end": "2026-03-02T09:00:00Z"}, (6, 12)),
        ({"start": "2026-03-02T08:00:00", "end": "2026-03-02T09:00:00Z"}, (6, 12)),
    ],
    ids=["as given", "the future is cut", "one end is none", "nonsense", "no zone"],
)
def test_both_ends_of_a_range_can_be_given(ends, expected):
    chosen = selected(ends, NOON)
    assert (chosen.start.hour, chosen.end.hour) == expected


def test_the_url_of_another_range_keeps_the_filters_and_forgets_both_ends():
    asked = {"start": "2026-03-02T08:00:00Z", "end": "2026-03-02T09:00:00Z", "service": "a&b", "q": "severity>=info"}
    chosen = selected(asked, NOON)
    assert chosen.to_query(range="24h") == "range=24h&service=a%26b&q=severity%3E%3Dinfo"
    again = selected({"start": "2026-03-02T08:00:00Z", "end": "2026-03-02T09:00:00Z"}, NOON).to_query()
    assert again == "start=2026-03-02T08%3A00%3A00Z&end=2026-03-02T09%3A00%3A00Z"


def test_a_search_that_cannot_be_read_is_told_and_selects_everything():
    chosen = selected({"q": "severity>=loud"}, NOON)
    assert "severity takes info, warning, critical" in chosen.problem
    assert chosen.takes("chat-api", "gpt-4")


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("chat", True),
        ("CHAT", True),
        ("gpt", True),
        ("service:chat-*", True),
        ("service:other", False),
        ("-chat", False),
        ("-service:other", True),
        ("model:claude*", False),
        ("severity:critical", True),
    ],
)
def test_a_search_chooses_the_pairs_by_their_names_alone(text, taken):
    assert selected({"q": text}, NOON).takes("chat-api", "gpt-4") is taken
