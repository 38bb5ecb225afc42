"""What people read of a budget: what was spent of it, and when it runs out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

NOTABLE = 0.001
"""Share of tokens without a price from which on one says so."""


@dataclass(frozen=True, slots=True)
class Told:
    """How a budget stands at `now`; `whose` as `whose_spend` says it, `forecast` None where there is none."""

    budget: str
    whose: str
    period: str
    zone: ZoneInfo
    amount: float
    spent: float
    forecast: float | None
    runs_out_at: datetime | None
    unpriced_share: float
    is_lower_bound: bool
    now: datetime


def whose_spend(service: str, model: str, user: str) -> str:
    """Patterns or names as in "chat-api (gpt-4)", "user ann of chat-api", "all services"; `*` = any."""
    where = service if service != "*" else ("all services" if model == "*" else model)
    if service != "*" and model != "*":
        where = f"{service} ({model})"
    return where if user == "*" else f"user {user}" + ("" if service == model == "*" else f" of {where}")


def title(told: Told, share: float | None) -> str:
    """As in "Budget “chat”: 80 % spent"; with no share, that it will run out."""
    if share is not None:
        return f"Budget “{told.budget}” of {told.whose}: {percent(share)} spent"
    return f"Budget “{told.budget}” of {told.whose} will run out"


def share_reached(told: Told, share: float) -> str:
    """That a share of the budget is spent, and what is to be expected."""
    happened = (
        f"Spend of {told.whose} reached {percent(share)} of its {_kind(told)} budget of {dollars(told.amount)} "
        f"(spent: {dollars(told.spent)}) {_when(told, told.now)}"
    )
    return f"{happened}{_ahead(told)}.{_reserve(told)}"


def will_run_out(told: Told) -> str:
    """That at this pace all of it will be spent before the period ends."""
    when = "" if told.runs_out_at is None else f" {_when(told, told.runs_out_at)}"
    expected = "" if told.forecast is None else f", {dollars(told.forecast)} to be expected by the end of {_this(told)}"
    return (
        f"At this pace the {_kind(told)} budget of {dollars(told.amount)} of {told.whose} runs out{when}: "
        f"{dollars(told.spent)} ({percent(told.spent / told.amount)}) spent so far{expected}.{_reserve(told)}"
    )


def _ahead(told: Told) -> str:
    if told.spent < told.amount and told.runs_out_at is not None:
        return f"; at this pace it runs out {_when(told, told.runs_out_at)}"
    return "" if told.forecast is None else f"; at this pace {_this(told)} ends at {dollars(told.forecast)}"


def _reserve(told: Told) -> str:
    """Why it may be more in truth."""
    reserve = ""
    if told.unpriced_share >= NOTABLE:
        reserve = f" {percent(told.unpriced_share)} of the tokens have no price and are not in it."
    if told.is_lower_bound:
        reserve += " Of each hour only the users who cost the most are known: it is at least this much."
    return reserve


def _kind(told: Told) -> str:
    return "daily" if told.period == "day" else "monthly"


def _this(told: Told) -> str:
    return "the day" if told.period == "day" else "the month"


def _when(told: Told, at: datetime) -> str:
    local = at.astimezone(told.zone)
    if told.period == "day":
        return f"at {local:%H:%M} ({told.zone.key})"
    return f"on {local.day} {local:%B}"


def percent(share: float) -> str:
    """As in "80 %", "0.3 %"."""
    return f"{round(100 * share, 1):g} %"


def dollars(amount: float) -> str:
    """As in "$500", "$400.12", "$0.0042"."""
    if amount and abs(amount) < 1:
        return f"${amount:.3g}"
    return f"${amount:,.0f}" if amount == round(amount) else f"${amount:,.2f}"
