"""Budgets as pure functions: periods of the calendar, pace, forecast, shares."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.rules.budgets import (
    Pace,
    forecast,
    outlook,
    pace_of,
    period_of,
    problems_of_shares,
    reached,
    runs_out_at,
    severity_of,
)

BERLIN, HAVANA, APIA = (ZoneInfo(name) for name in ("Europe/Berlin", "America/Havana", "Pacific/Apia"))
ZONES = st.sampled_from([ZoneInfo("UTC"), BERLIN, HAVANA, ZoneInfo("Asia/Kolkata"), ZoneInfo("America/Sao_Paulo")])
MOMENTS = st.integers(1_262_304_000, 1_893_456_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
KINDS = st.sampled_from(["day", "month"])
DOLLARS = st.floats(0, 1e6)
PACES = st.builds(
    lambda per_day, shape: Pace(per_day, tuple(shape)), DOLLARS, st.lists(st.floats(0, 7), min_size=7, max_size=7)
)
NOON = datetime(2026, 3, 17, 12, tzinfo=UTC)
TODAY = NOON.date()
quick = settings(max_examples=60, deadline=None)


def past(*dollars: float) -> dict[date, float]:
    """So much on each of the days that end with today."""
    return {TODAY - timedelta(days=back): usd for back, usd in enumerate(reversed(dollars))}


class TestPeriods:
    def test_a_month_begins_and_ends_at_midnight_of_the_zone_whatever_its_clocks_do(self) -> None:
        period = period_of("month", BERLIN, NOON)
        assert (period.start, period.end) == (
            datetime(2026, 2, 28, 23, tzinfo=UTC),
            datetime(2026, 3, 31, 22, tzinfo=UTC),
        )
        assert period_of("day", BERLIN, datetime(2026, 3, 29, 12, tzinfo=UTC)).end - timedelta(hours=23) == datetime(
            2026, 3, 28, 23, tzinfo=UTC
        )

    def test_where_clocks_jump_over_midnight_a_day_begins_with_the_jump(self) -> None:
        start = period_of("day", HAVANA, datetime(2026, 3, 8, 12, tzinfo=UTC)).start
        assert start.astimezone(HAVANA).time().hour == 1

    @quick
    @given(kind=KINDS, zone=ZONES, now=MOMENTS)
    def test_every_moment_is_in_its_period_and_the_next_begins_where_it_ends(
        self, kind: str, zone: ZoneInfo, now: datetime
    ) -> None:
        period = period_of(kind, zone, now)
        assert period.start <= now < period.end
        assert period_of(kind, zone, period.end).start == period.end
        assert period_of(kind, zone, period.start) == period


class TestForecast:
    def test_a_steady_pace_is_followed_exactly(self) -> None:
        period = period_of("month", ZoneInfo("UTC"), NOON)
        days = past(*[24.0] * 40, 12.0)
        seen = outlook(16.5 * 24, 600, days, "month", period, NOON)
        assert seen.forecast == pytest.approx(31 * 24)
        assert seen.runs_out_at == datetime(2026, 3, 26, tzinfo=UTC)
        assert seen.is_sure

    def test_quiet_weekends_are_expected_to_be_quiet(self) -> None:
        days = {
            TODAY - timedelta(days=back): 100.0 if (TODAY - timedelta(days=back)).weekday() < 5 else 0.0
            for back in range(1, 29)
        }
        period = period_of("month", ZoneInfo("UTC"), NOON)
        pace = pace_of(days | {TODAY: 50.0}, ZoneInfo("UTC"), NOON, last_days=6)
        assert pace is not None
        assert pace.weekdays == pytest.approx((1.4,) * 5 + (0.0,) * 2)
        assert forecast(0, pace, NOON, period) == pytest.approx(50 + 10 * 100), "ten weekdays and half of this one"
        assert runs_out_at(0, 351, pace, NOON, period).date() == date(2026, 3, 23)  # type: ignore[union-attr]

    def test_the_first_hours_of_a_period_are_carried_by_what_was_before(self) -> None:
        early = datetime(2026, 3, 1, 0, 10, tzinfo=UTC)
        days = {date(2026, 3, 1) - timedelta(days=back): 10.0 for back in range(1, 20)} | {date(2026, 3, 1): 0.5}
        seen = outlook(0.5, 300, days, "month", period_of("month", ZoneInfo("UTC"), early), early)
        assert seen.forecast == pytest.approx(310, rel=0.02)

    def test_a_runaway_shows_within_the_day(self) -> None:
        seen = outlook(95.0, 100, past(*[50.0] * 20, 95.0), "day", period_of("day", ZoneInfo("UTC"), NOON), NOON)
        assert seen.forecast == pytest.approx(95 + 145 / 1.5 / 2)
        assert NOON < seen.runs_out_at < NOON + timedelta(hours=2)  # type: ignore[operator]

    def test_what_is_young_is_not_thrifty(self) -> None:
        """Three days of calls and nothing before: those before do not count as days without."""
        pace = pace_of(past(30.0, 30.0, 15.0), ZoneInfo("UTC"), NOON, last_days=6)
        assert pace is not None
        assert pace.per_day == pytest.approx(30)

    def test_without_history_there_is_no_forecast_before_an_hour_is_known(self) -> None:
        midnight = datetime(2026, 3, 1, tzinfo=UTC)
        period = period_of("month", ZoneInfo("UTC"), midnight)
        early, later = midnight + timedelta(minutes=30), midnight + timedelta(hours=2)
        for days in ({}, {date(2026, 3, 1): 1.0}):
            assert outlook(1.0, 10, days, "month", period, early).forecast is None
        seen = outlook(1.0, 10, {date(2026, 3, 1): 1.0}, "month", period, later)
        assert seen.forecast == pytest.approx(31 * 12)
        assert not seen.is_sure
        assert outlook(0, 10, {}, "month", period, later).forecast == 0

    @quick
    @given(spent=DOLLARS, more=DOLLARS, amount=st.floats(0.01, 1e6), pace=PACES, kind=KINDS, zone=ZONES, now=MOMENTS)
    def test_more_spent_means_more_in_the_end_and_none_left_sooner_but_never_before_now(
        self, spent: float, more: float, amount: float, pace: Pace, kind: str, zone: ZoneInfo, now: datetime
    ) -> None:
        period = period_of(kind, zone, now)
        assert spent <= forecast(spent, pace, now, period) <= forecast(spent + more, pace, now, period)
        at, sooner = (runs_out_at(each, amount, pace, now, period) for each in (spent, spent + more))
        end = period.end
        assert now <= (sooner or end) <= (at or end) <= end
        if at is not None and spent < amount * 0.999:
            assert forecast(spent, pace, now, period) >= amount * 0.999

    def test_a_day_that_a_zone_leaves_out_has_no_calls(self) -> None:
        now = datetime(2011, 12, 29, 12, tzinfo=UTC)  # Apia went from the 29th to the 31st
        period = period_of("month", APIA, now)
        left = forecast(0, Pace(24.0), now, period)
        assert left == pytest.approx((period.end - now) / timedelta(hours=1))


@pytest.mark.parametrize(
    ("spent", "share"), [(0, None), (49.99, None), (50, 0.5), (79, 0.5), (0.1 + 0.7 + 79.2, 0.8), (250, 1.0)]
)
def test_of_several_shares_the_highest_is_reached(spent: float, share: float | None) -> None:
    assert reached(spent, 100, [0.5, 0.8, 1.0]) == share


def test_the_more_is_spent_the_louder() -> None:
    assert [severity_of(share) for share in (0.5, 0.8, 1.0, 1.2)] == ["info", "warning", "critical", "critical"]


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ("0.5", "list"),
        ([], "1 to 10"),
        ([0.5] * 11, "1 to 10"),
        (["a"], "numbers"),
        ([True], "numbers"),
        ([0], "above 0"),
        ([float("nan")], "above 0"),
        ([80], "0.8 is 80 %"),
        ([0.8, 0.5], "rise"),
        ([0.8, 0.8], "rise"),
    ],
)
def test_shares_that_cannot_be_used_are_said(shares: Any, words: str) -> None:
    assert words in problems_of_shares(shares)


def test_usable_shares_have_no_problems() -> None:
    assert problems_of_shares([0.5, 0.8, 1, 1.2]) == ""
