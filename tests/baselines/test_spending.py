"""A month's spend from hours and minutes: nothing twice, nothing left out, whatever was rolled up or deleted."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from baselines import rollup
from baselines.models import TelemetryMinute, UserHour
from baselines.spending import Payer, Spend, SpendQuery, spend_by_day, spend_of_users_by_day
from tests.support import catalogue

pytestmark = pytest.mark.django_db

BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")
MARCH = datetime(2026, 2, 28, 23, tzinfo=UTC)  # 1 March in Berlin
APRIL = datetime(2026, 3, 31, 22, tzinfo=UTC)  # 1 April there: clocks went forward meanwhile
HOUR = timedelta(hours=1)
CHAT = Payer("chat-api", "gpt-4")


def spent(start: datetime = MARCH, end: datetime = APRIL, zone: ZoneInfo = BERLIN, **which: Any) -> dict[Payer, float]:
    days = spend_by_day(SpendQuery(start, end, zone, **which))
    return {payer: round(sum(spend.usd for spend in of.values()), 6) for payer, of in days.items()}


def a_month() -> float:
    """A dollar and a cent every other day, and one minute on either side of the month; what it adds up to."""
    moments = [MARCH + at * 49 * HOUR for at in range(16) if MARCH + at * 49 * HOUR < APRIL]
    rows = [catalogue.minute(at=at, cost_usd=1.01, first_offset=at.day) for at in moments]
    catalogue.minute(at=MARCH - timedelta(minutes=1), cost_usd=100.0)
    catalogue.minute(at=APRIL, cost_usd=100.0)
    return round(1.01 * len(rows), 6)


def test_a_month_is_the_same_before_during_and_after_its_roll_up_and_the_deletion_of_its_minutes() -> None:
    total = a_month()
    assert spent() == {CHAT: total}, "all of it from minutes"
    rollup.roll_up(MARCH + timedelta(days=10))
    assert spent() == {CHAT: total}, "some of it from hours"
    rollup.finish(MARCH + timedelta(days=5))
    assert spent() == {CHAT: total}, "of some of them the minutes are gone"
    late = MARCH + timedelta(days=2)
    catalogue.minute(at=late, cost_usd=5.0, first_offset=1000)
    assert spent() == {CHAT: total + 5}, "what is late counts beside an hour that is final"
    catalogue.minute(at=late + timedelta(days=5), cost_usd=5.0, first_offset=1000)
    assert spent() == {CHAT: total + 10}, "and instead of one that is not"
    rollup.roll_up(APRIL + HOUR)
    rollup.finish(APRIL + HOUR)
    assert not TelemetryMinute.objects.filter(minute__lt=APRIL).exists()
    assert spent() == {CHAT: total + 10}


def test_days_are_those_of_the_calendar_of_the_zone() -> None:
    catalogue.minute(at=datetime(2026, 3, 28, 22, 59, tzinfo=UTC), cost_usd=1.0)
    catalogue.minute(at=datetime(2026, 3, 28, 23, 0, tzinfo=UTC), cost_usd=2.0)
    catalogue.minute(at=datetime(2026, 3, 29, 21, 59, tzinfo=UTC), cost_usd=4.0)  # 29 March has 23 hours
    catalogue.minute(at=datetime(2026, 3, 29, 22, 0, tzinfo=UTC), cost_usd=8.0)
    for _ in range(2):
        days = spend_by_day(SpendQuery(MARCH, APRIL, BERLIN))[CHAT]
        assert {day.day: spend.usd for day, spend in days.items()} == {28: 1.0, 29: 6.0, 30: 8.0}
        rollup.roll_up(APRIL)


def test_a_range_that_begins_within_an_hour_is_cut_at_the_minute() -> None:
    start = datetime(2026, 2, 28, 18, 30, tzinfo=UTC)  # midnight in Kolkata
    catalogue.minute(at=start - timedelta(minutes=1), cost_usd=1.0)
    catalogue.minute(at=start, cost_usd=2.0)
    catalogue.minute(at=start + HOUR, cost_usd=4.0)
    for _ in range(2):
        assert spent(start, start + 5 * HOUR, KOLKATA) == {CHAT: 6.0}
        rollup.roll_up(APRIL)


def test_services_and_models_are_told_apart_and_tokens_without_a_price_are_known() -> None:
    for service, model in (("chat-api", "gpt-4"), ("chat-api", "llama"), ("rag-api", "llama")):
        catalogue.minute(service, MARCH, model=model, cost_usd=1.0, total_tokens=100, unpriced_tokens=25)
    assert len(spent()) == 3
    assert set(spent(services=frozenset({"chat-api"}))) == {CHAT, Payer("chat-api", "llama")}
    assert set(spent(models=frozenset({"llama"}))) == {Payer("chat-api", "llama"), Payer("rag-api", "llama")}
    days = spend_by_day(SpendQuery(MARCH, APRIL, BERLIN))
    assert days[CHAT] == {date(2026, 3, 1): Spend(1.0, 100, 25)}


def test_users_are_summed_from_their_hours() -> None:
    sums = {"count": 1, "total_tokens": 10, "unpriced_tokens": 0}
    for user, hour, usd in (("ann", MARCH, 1.0), ("ann", MARCH + HOUR, 2.0), ("bob", MARCH, 4.0)):
        UserHour.objects.create(service="chat-api", model="gpt-4", user=user, hour=hour, cost_usd=usd, **sums)
    query = SpendQuery(MARCH, APRIL, BERLIN)
    days = spend_of_users_by_day(query)
    assert {payer.user: of[date(2026, 3, 1)].usd for payer, of in days.items()} == {"ann": 3.0, "bob": 4.0}
    assert [payer.user for payer in spend_of_users_by_day(query, ["bob"])] == ["bob"]
