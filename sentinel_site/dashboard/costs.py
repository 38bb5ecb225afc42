"""What is spent, what it will come to, and how much of each budget is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.dateparse import parse_datetime

from alerting.budgets import CostOutlook, cost_outlook
from alerting.models import Budget
from baselines.models import Service
from sentinel_site.dashboard.entrance import Sight
from sentinel_site.dashboard.momentary import Momentary
from sentinel_site.dashboard.selection import Selection

outlooks: Momentary[CostOutlook] = Momentary(60.0)
"""A forecast looks at weeks and does not change within a minute."""
BUDGETS_SHOWN = 6


@dataclass(frozen=True)
class Spent:
    """How the account of a budget that is nearest to its end stood when it was last looked at."""

    budget: Budget
    account: str
    spent: float
    share: float
    forecast: float | None
    runs_out_at: datetime | None

    @property
    def tone(self) -> str:
        if self.share >= 1:
            return "critical"
        return "warning" if self.share >= 0.8 or self.runs_out_at else "ok"


def outlook(sight: Sight, selection: Selection, now: datetime) -> CostOutlook:
    """Of the services that a page shows, by the days and months of UTC."""
    return outlooks.get((sight, selection.service), lambda: cost_outlook(_services(sight, selection), now))


def budgets(sight: Sight) -> list[Spent]:
    """The enabled budgets that were looked at, the one that is nearest to its end first."""
    rows = Budget.objects.visible_to(sight).filter(enabled=True, state__isnull=False)
    found = [_spent(row, row.state["accounts"][0]) for row in rows if row.state["accounts"]]
    return sorted(found, key=lambda each: -each.share)[:BUDGETS_SHOWN]


def _spent(budget: Budget, account: dict[str, object]) -> Spent:
    ends = account["runs_out_at"]
    return Spent(
        budget=budget,
        account=str(account["account"]),
        spent=float(account["spent"]),  # type: ignore[arg-type]
        share=float(account["share"]),  # type: ignore[arg-type]
        forecast=account["forecast"],  # type: ignore[arg-type]
        runs_out_at=parse_datetime(str(ends)) if ends else None,
    )


def _services(sight: Sight, selection: Selection) -> frozenset[str] | None:
    if sight.project_ids is None and not selection.service:
        return None
    names = Service.objects.visible_to(sight).order_by()
    if selection.service:
        names = names.filter(name=selection.service)
    return frozenset(names.values_list("name", flat=True))
