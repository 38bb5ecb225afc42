"""What was spent, by day: whole months from hours and minutes, of which none is counted twice or left out.

An hour counts from its row once that holds all its minutes, else from these. Both are read in one statement, which sees
the database as of one moment; a roll-up or a deletion that goes on meanwhile changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from baselines.models import DueHour, TelemetryHour, TelemetryMinute, UserHour
from baselines.rollup import HOUR, hour_of, runs

CONSIDERED = 10_000
"""Users among whom one looks for those of a name."""


class Payer(NamedTuple):
    """Who spent; `user` is empty where users are not told apart."""

    service: str
    model: str
    user: str = ""


@dataclass(frozen=True, slots=True)
class Spend:
    """Dollars of the calls that have a price, tokens of all successful calls, and of those without a price."""

    usd: float = 0.0
    tokens: int = 0
    unpriced_tokens: int = 0

    def __add__(self, other: Spend) -> Spend:
        unpriced = self.unpriced_tokens + other.unpriced_tokens
        return Spend(self.usd + other.usd, self.tokens + other.tokens, unpriced)


Days = dict[date, Spend]
"""By day of the calendar; days without calls are absent."""


@dataclass(frozen=True)
class SpendQuery:
    """Which calls: those of [start, end) of these services and models (None = all); days are those of `zone`.

    Where a day does not begin with an hour of UTC, only the first minutes of the range are told apart from the rest of
    their hour, and these only while minutes are kept.
    """

    start: datetime
    end: datetime
    zone: ZoneInfo
    services: frozenset[str] | None = None
    models: frozenset[str] | None = None


def spend_by_day(query: SpendQuery) -> dict[Payer, Days]:
    """What each pair of service and model spent each day. Failed calls cost nothing."""
    first = hour_of(query.start)
    first = first if first == query.start else first + HOUR
    hours = _chosen(TelemetryHour.objects.filter(hour__gte=first, hour__lt=query.end), query)
    hours = hours.annotate(is_due=Exists(_note("hour"))).filter(Q(is_final=True) | Q(is_due=False))
    parts = [_sums(hours, "hour", query)]
    if young := _minutes(query, first):
        parts += [_sums(rows, "minute", query) for rows in young]
    rows = parts[0].union(*parts[1:], all=True) if len(parts) > 1 else parts[0]
    return _added((Payer(*row[:2]), *row[2:]) for row in rows)


def spend_of_users_by_day(query: SpendQuery, users: Iterable[str] | None = None) -> dict[Payer, Days]:
    """The same for each user, as far as users were counted; with `users` only for these."""
    rows = _chosen(UserHour.objects.filter(hour__gte=hour_of(query.start), hour__lt=query.end), query)
    if users is not None:
        rows = rows.filter(user__in=list(users))
    return _added((Payer(*row[:3]), *row[3:]) for row in _sums(rows, "hour", query, "user"))


def heaviest_users(query: SpendQuery, limit: int, is_wanted: Callable[[str], bool]) -> list[str]:
    """The users who spent the most, the first of them first; of as many as `CONSIDERED`."""
    rows = _chosen(UserHour.objects.filter(hour__gte=hour_of(query.start), hour__lt=query.end), query)
    ranked = rows.order_by().values("user").annotate(usd=Sum("cost_usd")).order_by("-usd", "user")
    found = ranked.values_list("user", flat=True)[:CONSIDERED]
    return [user for user in found if is_wanted(user)][:limit]


def _minutes(query: SpendQuery, first: datetime) -> list[QuerySet[TelemetryMinute]]:
    """Minutes of hours that are to be added up yet, and those before the first whole hour."""
    due = DueHour.objects.filter(hour__gte=first, hour__lt=query.end).order_by()
    within = Q()
    for start, end in runs(due.values_list("hour", flat=True).distinct()):
        within |= Q(minute__gte=start, minute__lt=end)
    found = []
    if within:
        rows = _chosen(TelemetryMinute.objects.filter(within, minute__lt=query.end), query)
        found.append(rows.filter(Exists(_note("minute"))))
    if query.start < first:
        rows = TelemetryMinute.objects.filter(minute__gte=query.start, minute__lt=min(first, query.end))
        found.append(_chosen(rows, query))
    return found


def _note(time: str) -> QuerySet[DueHour]:
    """Notes that the hour in which `time` of the outer row lies is to be added up."""
    of_pair = DueHour.objects.filter(service=OuterRef("service"), model=OuterRef("model"))
    return of_pair.filter(hour__lte=OuterRef(time), hour__gt=OuterRef(time) - timedelta(hours=1))


def _chosen(rows: QuerySet[Any], query: SpendQuery) -> QuerySet[Any]:
    if query.services is not None:
        rows = rows.filter(service__in=query.services)
    if query.models is not None:
        rows = rows.filter(model__in=query.models)
    return rows


def _sums(rows: QuerySet[Any], time: str, query: SpendQuery, *also: str) -> QuerySet[Any, tuple[Any, ...]]:
    keys = ("service", "model", *also)
    by_day = rows.order_by().values(*keys, day=TruncDate(time, tzinfo=query.zone))
    sums = {"usd": Sum("cost_usd"), "tokens": Sum("total_tokens"), "unpriced": Sum("unpriced_tokens")}
    return by_day.annotate(**sums).values_list(*keys, "day", *sums)


def _added(rows: Iterable[tuple[Any, ...]]) -> dict[Payer, Days]:
    found: defaultdict[Payer, Days] = defaultdict(dict)
    for payer, day, *sums in rows:
        found[payer][day] = found[payer].get(day, Spend()) + Spend(*sums)
    return dict(found)
