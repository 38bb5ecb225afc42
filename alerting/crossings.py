"""Budgets are watched: a share that is reached becomes an anomaly, its incident and its alert, once a period.

A crossing is a moment, not a stretch of time: its anomaly is active until its period ends or the budget is changed so
that it is beyond it no more, but it is seen when it happens, and what befalls the service weeks later is no part of
its incident. Of several shares that are reached at once only the highest is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import structlog
from django.db import transaction
from django.db.models import Q

from alerting import metrics
from alerting.budgets import Ledger, Standing, standings, state_of
from alerting.models import Budget
from alerting.rules.budget_words import Told, share_reached, title, whose_spend, will_run_out
from alerting.rules.budgets import period_of, reached, severity_of
from alerting.watching import announce, claimed, end_unwatched, episode
from anomalies.detection.verdicts import EPISODE_NAMESPACE, Episode
from anomalies.models import BUDGET, Anomaly, Severity, State
from baselines.models import Project, Service
from baselines.stats.series import SeriesKey

log = structlog.get_logger(__name__)

TOPIC_ID = uuid5(EPISODE_NAMESPACE, "budgets")
EVERYTHING = "all projects"
"""Who spends what belongs to no single project: visible to those who see them all, and no name that a slug can be."""
METRIC = "cost_usd"
MEASURED = 100
"""Budgets that have metrics, the first by name."""
RECOVERED = 0.9
"""Of the amount: a forecast below it takes the warning back."""


class Mark(NamedTuple):
    """What is crossed: a share of the account's amount; None = the forecast says that it will run out."""

    account: str
    share: float | None


def watch_budgets(now: datetime) -> int:
    """Look at all budgets once; returns how many crossings began or ended.

    It may run at the same time as often as one likes: a budget that somebody else looks at is passed over.
    """
    ledger, enabled = Ledger(now), Budget.objects.filter(enabled=True)
    changes = sum(watch_budget(pk, ledger) for pk in list(enabled.order_by("pk").values_list("pk", flat=True)))
    changes += end_unwatched(TOPIC_ID, enabled, lambda pk, anomalies: _end_all(pk, anomalies, now))
    measure(enabled.order_by("name")[:MEASURED])
    return changes


def watch_budget(budget_id: int, ledger: Ledger) -> int:
    """One budget, in a transaction of its own: what breaks with one does not stop the others."""
    try:
        with transaction.atomic():
            budget = claimed(Budget.objects.filter(enabled=True), budget_id)
            return 0 if budget is None else _judge(budget, ledger)
    except Exception:
        log.exception("budget_failed", budget=budget_id)
        return 0


def measure(budgets: Iterable[Budget]) -> None:
    """Show how budgets stand as metrics; of each the account that has spent most."""
    for budget in budgets:
        accounts = (budget.state or {}).get("accounts") or [{"spent": 0.0, "share": 0.0}]
        metrics.BUDGET_SPENT.labels(budget.name).set(accounts[0]["spent"])
        metrics.BUDGET_SHARE.labels(budget.name).set(accounts[0]["share"])


def _judge(budget: Budget, ledger: Ledger) -> int:
    found, now = standings(budget, ledger), ledger.now
    # Not by `save`: nobody changed what it says.
    Budget.objects.filter(pk=budget.pk).update(state=state_of(found, budget, now))
    known = _known(budget, now)
    by_account = {each.account: each for each in found}
    over = {mark for mark, row in known.items() if _is_over(budget, mark, row, by_account.get(mark.account), now)}
    lasting = {mark for mark, row in known.items() if row.state == State.ACTIVE} - over
    episodes = [_ended(known[mark]) for mark in over]
    services = {known[mark].service.name: known[mark].service for mark in over}
    details: dict[UUID, dict[str, Any]] = {}
    for each in found:
        for mark in _crossed(budget, each, lasting, known):
            home = _home(each)
            services[home.name] = home
            begun = _begun(budget, each, mark, home, now)
            details[begun.id] = _details(budget, each, mark, now)
            episodes.append(begun)
    return announce(episodes, TOPIC_ID, budget.pk, services, now, details, ends_now=True)


def _known(budget: Budget, now: datetime) -> dict[Mark, Anomaly]:
    """The last crossing of each mark, of those that last and those of this period that were crossed as it stands."""
    since = max(period_of(budget.period, budget.zone, now).start, budget.updated_at)
    rows = Anomaly.objects.filter(topic_id=TOPIC_ID, partition=budget.pk)
    rows = rows.filter(Q(state=State.ACTIVE) | Q(first_seen__gte=since)).select_related("service")
    return {Mark(row.details["account"], row.details["share"]): row for row in rows.order_by("first_offset", "id")}


def _is_over(budget: Budget, mark: Mark, row: Anomaly, now_stands: Standing | None, now: datetime) -> bool:
    """Whether a crossing that is active lasts no longer.

    Within a period nobody spends less than before, unless the budget was changed; a sum that seems less is one that
    something is missing from.
    """
    if row.state != State.ACTIVE:
        return False
    if _instant(row.details["period_end"]) <= now or row.details["period"] != budget.period:
        return True
    was_changed = budget.updated_at > row.first_seen
    if mark.share is None:
        is_safe = now_stands is not None and (now_stands.forecast or 0.0) < RECOVERED * budget.amount
        return is_safe or (was_changed and not budget.warns_ahead)
    if not was_changed:
        return False
    return now_stands is None or reached(now_stands.spent, budget.amount, [mark.share]) is None


def _crossed(budget: Budget, stands: Standing, lasting: set[Mark], known: Mapping[Mark, Anomaly]) -> Iterable[Mark]:
    """What is crossed and was not told yet."""
    shares = [mark.share for mark in lasting if mark.account == stands.account and mark.share is not None]
    share = reached(stands.spent, stands.amount, budget.shares)
    if share is not None and share > max(shares, default=0.0):
        yield Mark(stands.account, share)
    ahead = Mark(stands.account, None)
    is_coming = stands.is_sure and stands.runs_out_at is not None and stands.spent < stands.amount
    if budget.warns_ahead and is_coming and ahead not in known:
        yield ahead


def _home(stands: Standing) -> Service:
    """The service that a crossing belongs to: the greatest spender.

    What several projects spent together is not for the members of one of them to see.
    """
    rows = {row.name: row for row in Service.objects.filter(name__in=stands.services)}
    if len({row.project_id for row in rows.values()}) == 1:
        return next(rows[name] for name in stands.services if name in rows)
    seen = {"first_seen": stands.period.start, "last_seen": stands.period.start}
    project = Project.objects.get_or_create(name=EVERYTHING)[0]
    return Service.objects.get_or_create(name=EVERYTHING, defaults={"project": project, **seen})[0]


def _begun(budget: Budget, stands: Standing, mark: Mark, home: Service, now: datetime) -> Episode:
    limit = stands.amount * (1.0 if mark.share is None else mark.share)
    value = (stands.forecast or 0.0) if mark.share is None else stands.spent
    now_ms = int(now.timestamp() * 1000)
    name = stands.account if budget.per == Budget.Per.MODEL else budget.model
    return episode(
        uuid5(TOPIC_ID, f"{budget.pk}|{mark.account}|{mark.share}|{now_ms}"),
        SeriesKey(home.name, name, METRIC),
        "up",
        BUDGET,
        value=value,
        score=max(1.0, value / limit),
        severity=Severity.WARNING if mark.share is None else severity_of(mark.share),
        lower=None,
        upper=limit,
        occurrences=1,
        seen_ms=(now_ms, now_ms),
        offsets=(now_ms // 60_000, now_ms // 60_000),
        is_active=True,
    )


def _details(budget: Budget, stands: Standing, mark: Mark, now: datetime) -> dict[str, Any]:
    told = _told(budget, stands, now)
    text = will_run_out(told) if mark.share is None else share_reached(told, mark.share)
    return {
        "budget": budget.name,
        "title": title(told, mark.share),
        "text": text,
        **stands.as_json(),
        "share": mark.share,
        "amount": stands.amount,
        "period": budget.period,
        "period_start": stands.period.start.isoformat(),
        "period_end": stands.period.end.isoformat(),
    }


def _told(budget: Budget, stands: Standing, now: datetime) -> Told:
    names = {"service": budget.service, "model": budget.model, "user": budget.user}
    if budget.per != Budget.Per.ALL:
        names[budget.per] = stands.account
    return Told(
        budget=budget.name,
        whose=whose_spend(**names),
        period=budget.period,
        zone=stands.period.zone,
        amount=stands.amount,
        spent=stands.spent,
        forecast=stands.forecast,
        runs_out_at=stands.runs_out_at,
        unpriced_share=stands.unpriced_share,
        is_lower_bound=budget.is_of_users,
        now=now,
    )


def _end_all(budget_id: int, anomalies: list[Anomaly], now: datetime) -> int:
    services = {row.service.name: row.service for row in anomalies}
    return announce(map(_ended, anomalies), TOPIC_ID, budget_id, services, now, {}, ends_now=True)


def _ended(row: Anomaly) -> Episode:
    """An anomaly as it is, but over."""
    seen = tuple(int(at.timestamp() * 1000) for at in (row.first_seen, row.last_seen))
    return episode(
        row.id,
        SeriesKey(row.service.name, row.model, row.metric),
        row.direction,
        row.detector,
        value=row.value,
        score=row.score,
        severity=row.severity,
        lower=row.lower,
        upper=row.upper,
        occurrences=row.occurrences,
        seen_ms=(seen[0], seen[1]),
        offsets=(row.first_offset, row.last_offset),
        is_active=False,
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
