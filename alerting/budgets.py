"""How budgets stand, and what a project spends: sums of what was recorded, with what is to be expected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import add
from typing import Any
from zoneinfo import ZoneInfo

from alerting.models import Budget
from alerting.models.limits import name_matcher
from alerting.rules.budgets import HISTORY, Outlook, Period, outlook, period_of
from baselines.models import ServedModel
from baselines.spending import (
    Days,
    Payer,
    Spend,
    SpendQuery,
    heaviest_users,
    spend_by_day,
    spend_of_users_by_day,
)

SHOWN = 20
"""Accounts of a budget that its state lists."""
MAX_USERS = 100
"""Users that have an account each; those who spend the most."""
MAX_SUMMED_USERS = 1000
"""Users whose spend is added up in one account."""
UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Standing:
    """How one account of a budget stands. `account` is the service, model or user; empty = all together.

    `spent` and `forecast` in dollars; `forecast` is None while too little is known, `runs_out_at` also where the amount
    lasts to the end of the period. `unpriced_share`: of the tokens of the period, those that have no price. `services`:
    those that spent, the greatest spender first.
    """

    account: str
    period: Period
    amount: float
    spent: float
    forecast: float | None
    runs_out_at: datetime | None
    is_sure: bool
    unpriced_share: float
    services: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        return self.spent / self.amount

    def as_json(self) -> dict[str, Any]:
        """As the state of a budget and the API show it."""
        return {
            "account": self.account,
            "spent": self.spent,
            "share": self.share,
            "forecast": self.forecast,
            "runs_out_at": None if self.runs_out_at is None else self.runs_out_at.isoformat(timespec="seconds"),
            "unpriced_share": self.unpriced_share,
        }


@dataclass(frozen=True, slots=True)
class CostOutlook:
    """What was spent today and this month, in dollars, and will have been by their end (None: too little is known)."""

    today: float
    today_forecast: float | None
    month: float
    month_forecast: float | None
    unpriced_share: float


class Ledger:
    """What was recorded, as of `now`; each sum is made once."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._sums: dict[SpendQuery, dict[Payer, Days]] = {}

    def spend(self, period: Period) -> dict[Payer, Days]:
        """By day of the period, of all services and models."""
        return self._sum(SpendQuery(period.start, period.end, period.zone))

    def past(self, zone: ZoneInfo) -> dict[Payer, Days]:
        """By day of the last weeks up to now, of all services and models."""
        return self._sum(self.weeks(zone))

    def weeks(self, zone: ZoneInfo) -> SpendQuery:
        today = period_of("day", zone, self.now)
        start = period_of("day", zone, today.start - timedelta(days=HISTORY)).start
        return SpendQuery(start, today.end, zone)

    def _sum(self, query: SpendQuery) -> dict[Payer, Days]:
        if query not in self._sums:
            self._sums[query] = spend_by_day(query)
        return self._sums[query]


def standing(budget: Budget, now: datetime) -> Standing | None:
    """How the account of a budget that is nearest to its end stands; None where no service, model or user has any."""
    return next(iter(standings(budget, Ledger(now))), None)


def standings(budget: Budget, ledger: Ledger) -> list[Standing]:
    """How all accounts of a budget stand, the one that has spent most first. What is shared by all has one always."""
    period = period_of(budget.period, budget.zone, ledger.now)
    spent, past = _of_users(budget, ledger, period) if budget.is_of_users else _of_pairs(budget, ledger, period)
    accounts, before = _accounts(budget, spent), _accounts(budget, past)
    if budget.per == Budget.Per.ALL:
        accounts.setdefault("", [])
    found = [_standing(budget, ledger.now, period, name, accounts[name], before.get(name, [])) for name in accounts]
    return sorted(found, key=lambda each: (-each.spent, each.account))


def state_of(found: list[Standing], budget: Budget, now: datetime) -> dict[str, Any]:
    """What a budget keeps of how it stands."""
    period = period_of(budget.period, budget.zone, now)
    return {
        "period_start": period.start.isoformat(),
        "period_end": period.end.isoformat(),
        "judged_at": now.isoformat(timespec="seconds"),
        "account_count": len(found),
        "accounts": [each.as_json() for each in found[:SHOWN]],
    }


def cost_outlook(services: Collection[str] | None, now: datetime, zone: ZoneInfo = UTC) -> CostOutlook:
    """What these services spend (None = all of them), by the calendar of `zone`."""
    ledger = Ledger(now)

    def chosen(sums: Mapping[Payer, Days]) -> Days:
        return _merged(days for payer, days in sums.items() if services is None or payer.service in services)

    past = _dollars(chosen(ledger.past(zone)))
    totals: dict[str, Spend] = {}
    expected: dict[str, Outlook] = {}
    for kind in ("day", "month"):
        period = period_of(kind, zone, now)
        totals[kind] = _total(chosen(ledger.spend(period)))
        expected[kind] = outlook(totals[kind].usd, float("inf"), past, kind, period, now)
    return CostOutlook(
        today=totals["day"].usd,
        today_forecast=expected["day"].forecast,
        month=totals["month"].usd,
        month_forecast=expected["month"].forecast,
        unpriced_share=_unpriced_share(totals["month"]),
    )


def users_matter_since(now: datetime) -> datetime | None:
    """The first moment of which budgets ask what users spent; None where none does."""
    ledger = Ledger(now)
    budgets = [each for each in Budget.objects.filter(enabled=True) if each.is_of_users]
    starts = [min(ledger.weeks(each.zone).start, period_of(each.period, each.zone, now).start) for each in budgets]
    return min(starts, default=None)


def _of_pairs(budget: Budget, ledger: Ledger, period: Period) -> tuple[dict[Payer, Days], dict[Payer, Days]]:
    services, models = _names(budget)

    def chosen(sums: Mapping[Payer, Days]) -> dict[Payer, Days]:
        return {
            payer: days
            for payer, days in sums.items()
            if (services is None or payer.service in services) and (models is None or payer.model in models)
        }

    return chosen(ledger.spend(period)), chosen(ledger.past(period.zone))


def _of_users(budget: Budget, ledger: Ledger, period: Period) -> tuple[dict[Payer, Days], dict[Payer, Days]]:
    services, models = _names(budget)
    within = SpendQuery(period.start, period.end, period.zone, services, models)
    weeks = ledger.weeks(period.zone)
    limit = MAX_USERS if budget.per == Budget.Per.USER else MAX_SUMMED_USERS
    users = heaviest_users(within, limit, name_matcher("service", budget.user).test)
    before = SpendQuery(weeks.start, weeks.end, period.zone, services, models)
    return spend_of_users_by_day(within, users), spend_of_users_by_day(before, users)


def _names(budget: Budget) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """The services and the models that it concerns, retired ones among them; None = all."""
    if budget.service == budget.model == "*" and budget.project_id is None:
        return None, None
    served = ServedModel.objects.order_by()
    if budget.project_id is not None:
        served = served.filter(service__project=budget.project_id)
    service, model = name_matcher("service", budget.service), name_matcher("model", budget.model)
    pairs = served.values_list("service__name", "name")
    found = [(name, of) for name, of in pairs if service.test(name) and model.test(of)]
    return frozenset(name for name, _ in found), frozenset(of for _, of in found)


def _accounts(budget: Budget, sums: Mapping[Payer, Days]) -> dict[str, list[tuple[Payer, Days]]]:
    found: defaultdict[str, list[tuple[Payer, Days]]] = defaultdict(list)
    for payer, days in sums.items():
        found["" if budget.per == Budget.Per.ALL else getattr(payer, budget.per)].append((payer, days))
    return dict(found)


def _standing(
    budget: Budget,
    now: datetime,
    period: Period,
    account: str,
    parts: Iterable[tuple[Payer, Days]],
    before: Iterable[tuple[Payer, Days]],
) -> Standing:
    by_service: defaultdict[str, float] = defaultdict(float)
    for payer, days in parts:
        by_service[payer.service] += _total(days).usd
    total = _total(_merged(days for _, days in parts))
    past = _dollars(_merged(days for _, days in before))
    expected = outlook(total.usd, budget.amount, past, budget.period, period, now)
    return Standing(
        account=account,
        period=period,
        amount=budget.amount,
        spent=total.usd,
        forecast=expected.forecast,
        runs_out_at=expected.runs_out_at,
        is_sure=expected.is_sure,
        unpriced_share=_unpriced_share(total),
        services=tuple(sorted(by_service, key=lambda name: (-by_service[name], name))),
    )


def _merged(parts: Iterable[Days]) -> Days:
    found: Days = {}
    for days in parts:
        for day, spend in days.items():
            found[day] = found.get(day, Spend()) + spend
    return found


def _total(days: Days) -> Spend:
    return reduce(add, days.values(), Spend())


def _dollars(days: Days) -> dict[Any, float]:
    return {day: spend.usd for day, spend in days.items()}


def _unpriced_share(spend: Spend) -> float:
    return spend.unpriced_tokens / spend.tokens if spend.tokens else 0.0
