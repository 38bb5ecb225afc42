"""Hours of the week: what clocks on the wall show, over midnight and over the jumps of summer time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.rules.active_hours import DAYS, ActiveHours, HoursError, parse_active_hours

WORK = {"timezone": "Europe/Berlin", "days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:00", "end": "18:00"}


def hours(*windows: dict[str, Any]) -> ActiveHours:
    parsed = parse_active_hours(list(windows))
    assert parsed is not None
    return parsed


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def daily(zone: str, start: str, end: str, *days: str) -> dict[str, Any]:
    return {"timezone": zone, "start": start, "end": end, "days": list(days or DAYS)}


@pytest.mark.parametrize(
    ("now", "active", "start", "end"),
    [
        ("2026-03-06T07:00", True, "2026-03-06T07:00", "2026-03-06T17:00"),  # Friday 08:00 in Berlin
        ("2026-03-06T06:59", False, "2026-03-06T07:00", None),
        ("2026-03-06T16:59", True, "2026-03-06T16:59", "2026-03-06T17:00"),
        ("2026-03-06T17:00", False, "2026-03-09T07:00", None),  # the weekend
        ("2026-07-06T06:00", True, "2026-07-06T06:00", "2026-07-06T16:00"),  # summer time
    ],
)
def test_hours_are_those_of_the_zone(now: str, active: bool, start: str, end: str | None) -> None:
    work = hours(WORK)
    assert work.is_active(utc(now)) is active
    assert work.next_start(utc(now)) == utc(start)
    assert work.next_end(utc(now)) == (utc(end) if end else None)


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    night = hours(daily("UTC", "22:00", "06:00", "fri"))
    assert night.is_active(utc("2026-03-06T22:00"))
    assert night.is_active(utc("2026-03-07T05:59"))
    assert not night.is_active(utc("2026-03-06T05:59"))
    assert night.next_end(utc("2026-03-06T23:00")) == utc("2026-03-07T06:00")
    assert night.next_start(utc("2026-03-07T06:00")) == utc("2026-03-13T22:00")


@pytest.mark.parametrize(
    ("window", "now", "end"),
    [
        # 2026-03-29: in Berlin 02:00 becomes 03:00 (01:00 UTC); 2026-10-25: 03:00 becomes 02:00 (01:00 UTC).
        (daily("Europe/Berlin", "00:00", "24:00", "sun"), "2026-03-28T23:00", "2026-03-29T22:00"),
        (daily("Europe/Berlin", "00:00", "24:00", "sun"), "2026-10-24T22:00", "2026-10-25T23:00"),
        (daily("Europe/Berlin", "02:30", "05:00"), "2026-03-29T01:00", "2026-03-29T03:00"),  # begins at the jump
        (daily("Europe/Berlin", "01:00", "02:30"), "2026-03-29T00:00", "2026-03-29T01:00"),  # ends at the jump
        (daily("Europe/Berlin", "01:00", "02:30"), "2026-10-24T23:00", "2026-10-25T01:30"),  # 02:30 comes twice
        (daily("Europe/Berlin", "02:30", "04:00"), "2026-10-25T00:30", "2026-10-25T03:00"),
    ],
)
def test_windows_keep_to_the_wall_over_the_jumps_of_summer_time(window: dict[str, Any], now: str, end: str) -> None:
    found = hours(window)
    assert found.is_active(utc(now))
    assert not found.is_active(utc(now) - timedelta(seconds=1))
    assert found.next_end(utc(now)) == utc(end)
    assert not found.is_active(utc(end))


def test_a_window_that_a_clock_jumps_over_is_left_out() -> None:
    skipped = hours(daily("Europe/Berlin", "02:10", "02:50", "sun"))
    assert skipped.next_start(utc("2026-03-29T00:00")) == utc("2026-04-05T00:10")


def test_a_day_that_a_zone_skipped_is_left_out() -> None:
    fridays = hours(daily("Pacific/Apia", "08:00", "18:00", "fri"))  # there was no Friday, 30 December 2011
    assert fridays.next_start(utc("2011-12-28T00:00")) == datetime(2012, 1, 6, 8, tzinfo=ZoneInfo("Pacific/Apia"))


def test_windows_that_touch_are_one_and_those_of_the_whole_week_never_end() -> None:
    day = hours(daily("UTC", "06:00", "14:00"), daily("UTC", "14:00", "22:00"), daily("UTC", "08:00", "09:00"))
    assert day.next_end(utc("2026-03-06T08:30")) == utc("2026-03-06T22:00")
    assert hours(daily("UTC", "00:00", "24:00")).next_end(utc("2026-03-06T08:30")) is None
    assert parse_active_hours(None) is None


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
MINUTES = st.integers(0, 1439).map(lambda m: f"{m // 60:02}:{m % 60:02}")
WINDOWS = st.builds(
    lambda zone, days, start, end: {"timezone": zone, "days": sorted(days), "start": start, "end": end},
    ZONES,
    st.sets(st.sampled_from(DAYS), min_size=1),
    MINUTES,
    MINUTES,
).filter(lambda window: window["start"] != window["end"])
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001


def on_the_wall(window: dict[str, Any], now: datetime) -> bool:
    """What the clock on the wall says, without any thought of when windows begin and end."""
    wall = now.astimezone(ZoneInfo(window["timezone"]))
    today, clock = DAYS[wall.weekday()], f"{wall:%H:%M}"
    if window["start"] < window["end"]:
        return today in window["days"] and window["start"] <= clock < window["end"]
    yesterday = DAYS[wall.weekday() - 1]
    return (today in window["days"] and clock >= window["start"]) or (
        yesterday in window["days"] and clock < window["end"]
    )


def repeats_or_repeated(window: dict[str, Any], now: datetime) -> bool:
    """Within a day of a jump back, where one time on the wall is two moments."""
    zone = ZoneInfo(window["timezone"])
    before, after = ((now + timedelta(days=days)).astimezone(zone).utcoffset() for days in (-1, 1))
    return before != after


@settings(max_examples=300)
@given(WINDOWS, MOMENTS)
def test_hours_agree_with_the_clock_on_the_wall(window: dict[str, Any], now: datetime) -> None:
    if not repeats_or_repeated(window, now):
        assert hours(window).is_active(now) is on_the_wall(window, now)


@settings(max_examples=200)
@given(st.lists(WINDOWS, min_size=1, max_size=3), MOMENTS)
def test_the_next_start_and_end_are_where_being_active_changes(windows: list[dict[str, Any]], now: datetime) -> None:
    found = hours(*windows)
    start, end, moment = found.next_start(now), found.next_end(now), timedelta(microseconds=1)
    assert start is not None
    assert found.is_active(start)
    assert found.is_active(now) is (start == now)
    if start > now:
        assert not found.is_active(start - moment)
        assert end is None
    if end is not None:
        assert found.is_active(end - moment)
        assert not found.is_active(end)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("08:00", ["must be an object", "timezone, days, start, end"]),
        ([], ["1 to 20"]),
        ([WORK] * 21, ["1 to 20"]),
        (WORK | {"timezone": "Europe/Atlantis"}, ["timezone", "Europe/Atlantis", "Europe/Berlin"]),
        (WORK | {"timezone": "../../etc/passwd"}, ["timezone"]),
        ({"start": "08:00", "end": "09:00"}, ["timezone is None"]),
        (WORK | {"days": []}, ["days", "mon, tue"]),
        (WORK | {"days": ["monday"]}, ["'monday'", "mon, tue"]),
        (WORK | {"days": "mon"}, ["days must be a list"]),
        ([WORK, WORK | {"start": "8:00"}], ["[1].start", "'8:00'", "08:00"]),
        (WORK | {"end": "24:01"}, ["end is '24:01'"]),
        (WORK | {"end": 18}, ["end is 18"]),
        (WORK | {"end": "08:00"}, ["start and end are the same", "24:00"]),
        (WORK | {"start": "24:00"}, ["start is 24:00"]),
        (WORK | {"day": "mon"}, ["day is not known", "days"]),
    ],
)
def test_hours_that_cannot_work_are_refused_with_what_is_wrong(data: object, words: list[str]) -> None:
    with pytest.raises(HoursError) as caught:
        parse_active_hours(data)
    for word in words:
        assert word in str(caught.value)
