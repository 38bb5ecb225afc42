"""Users by the hour: counted while a budget asks, again while calls may come late, and no longer kept than needed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from alerting.budgets import standing
from alerting.models import Budget
from baselines.models import UserCount, UserHour
from baselines.rollup import hour_of
from ingestion import tasks, users
from ingestion.telemetry_store import StoreUnavailable, UserTally, shared_store
from ingestion.users import KEPT, count_users, is_due
from tests.ingestion.stores import NOON, batch, event

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
MONTH = timedelta(days=30)


class Store:
    """Has one user, who spends a dollar in each hour that is asked for."""

    def __init__(self) -> None:
        self.asked: list[datetime] = []
        self.limits: set[int] = set()

    def users(self, start: datetime, end: datetime, limit: int) -> list[UserTally]:
        assert end - start == HOUR
        self.asked.append(start)
        self.limits.add(limit)
        return [UserTally("chat-api", "gpt-4", "ann", 1, 1.0, 10, 0)]


def a_budget(**changes: Any) -> Budget:
    return Budget.objects.create(**({"name": "users", "amount": 10, "per": "user", "period": "day"} | changes))


def count(store: Any, now: datetime) -> int:
    return count_users(store, now, MONTH)


def test_nobody_is_counted_where_no_budget_asks() -> None:
    a_budget(per="service")
    a_budget(name="off", enabled=False)
    store = Store()
    assert count(store, NOON) == 0
    assert store.asked == []


def test_the_past_that_a_budget_looks_back_on_is_counted_the_newest_first_and_once() -> None:
    a_budget(user="a*", per="all")
    store = Store()
    assert count(store, NOON) == users.HOURS_AT_ONCE
    assert store.asked[:2] == [NOON, NOON - HOUR]
    while count(store, NOON) == users.HOURS_AT_ONCE:
        pass
    assert min(store.asked) == NOON.replace(hour=0) - timedelta(days=28)
    assert len(set(store.asked)) == UserHour.objects.count() == 28 * 24 + 13
    again = {at for at in store.asked if store.asked.count(at) > 1}
    assert again == {NOON, NOON - HOUR}, "only the hour that lasts and the one that has just ended are counted anew"
    assert store.limits == {users.HEAVIEST}
    stands = standing(Budget.objects.get(), NOON)
    assert stands is not None
    assert stands.spent == 13


@pytest.mark.parametrize(
    ("counted_at", "now", "expected"),
    [
        (None, NOON, True),
        (NOON, NOON + timedelta(minutes=5), True),
        (NOON + 1.1 * HOUR, NOON + 1.2 * HOUR, True),
        (NOON + 1.2 * HOUR, NOON + 6.9 * HOUR, False),
        (NOON + 1.2 * HOUR, NOON + 7 * HOUR, True),
        (NOON + 7 * HOUR, NOON + 9 * HOUR, False),
    ],
)
def test_an_hour_is_counted_while_it_lasts_when_it_is_settled_and_when_it_is_late(
    counted_at: datetime | None, now: datetime, expected: bool
) -> None:
    assert is_due(NOON, counted_at, now) is expected


def test_counting_anew_replaces_what_was_counted() -> None:
    a_budget()
    now = timezone.now()
    shared_store().write_telemetry(batch(event(now, user_id="ann", cost_usd=1.0)))
    assert tasks.count_users_of_budgets() == users.HOURS_AT_ONCE
    shared_store().write_telemetry(batch(event(now, user_id="ann", cost_usd=2.0), first=1))
    tasks.count_users_of_budgets()
    row = UserHour.objects.get()
    assert (row.user, row.hour, row.cost_usd, row.count) == ("ann", hour_of(now), 3.0, 2)


def test_a_store_that_is_away_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def users(self, *_: Any) -> list[UserTally]:
            raise StoreUnavailable("asleep")

    a_budget()
    monkeypatch.setattr(tasks, "shared_store", Away)
    assert tasks.count_users_of_budgets() == 0
    assert not UserCount.objects.exists()


def test_what_no_budget_looks_back_on_is_forgotten() -> None:
    names = {"service": "chat-api", "model": "gpt-4", "user": "ann", "cost_usd": 1.0}
    sums = {"count": 1, "total_tokens": 1, "unpriced_tokens": 0}
    for hour in (NOON - KEPT - HOUR, NOON - KEPT):
        UserHour.objects.create(hour=hour, **names, **sums)
    count(Store(), NOON)
    assert [row.hour for row in UserHour.objects.all()] == [NOON - KEPT]


def test_the_beat_counts() -> None:
    assert settings.CELERY_BEAT_SCHEDULE["ingestion.count_users"]["task"] == tasks.count_users_of_budgets.name
