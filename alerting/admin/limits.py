"""The admin of limits that people set."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, Value
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from alerting.budgets import Ledger
from alerting.crossings import watch_budget
from alerting.models import Budget, Threshold
from alerting.rules.budget_words import dollars, percent
from baselines.admin import OwnedAdmin
from baselines.visibility import visible_project_ids


@admin.register(Threshold)
class ThresholdAdmin(OwnedAdmin):
    list_display = ["name", "enabled", "service", "model", "shown_limit", "severity", "project"]
    list_select_related = ["project"]
    list_filter = ["enabled", ("metric", ChoicesDropdownFilter)]
    search_fields = ["name", "service", "model"]
    readonly_fields = ["created_at", "updated_at"]
    fieldsets = [
        (None, {"fields": ["name", "enabled", "severity", "project"]}),
        ("Of", {"fields": ["service", "model"], "description": "Each model of each service is judged by itself."}),
        ("Breached when", {"fields": ["aggregation", "metric", "window", "operator", "value", "no_data"]}),
        (
            "Often enough",
            {
                "fields": ["breaches", "out_of"],
                "description": "Of windows that end one minute after the other so many must be beyond the limit. It is "
                "over once none of them is.",
            },
        ),
        ("Record", {"fields": ["created_at", "updated_at"]}),
    ]

    @display(description="breached when")
    def shown_limit(self, threshold: Threshold) -> str:
        what = f"{threshold.aggregation} of {threshold.metric} over {threshold.window} min"
        return f"{what} {threshold.operator} {threshold.value:g}"


@admin.register(Budget)
class BudgetAdmin(OwnedAdmin):
    list_display = ["name", "enabled", "shown_amount", "shown_spent", "shown_forecast", "project"]
    list_select_related = ["project"]
    list_filter = ["enabled", ("period", ChoicesDropdownFilter)]
    search_fields = ["name", "service", "model", "user"]
    readonly_fields = ["shown_accounts", "created_at", "updated_at"]
    fieldsets = [
        (None, {"fields": ["name", "enabled", "project"]}),
        ("How it stands", {"fields": ["shown_accounts"]}),
        ("May spend", {"fields": ["amount", "period", "timezone"]}),
        (
            "Who",
            {
                "fields": ["service", "model", "user", "per"],
                "description": "Of users only those who cost the most are known, hour by hour.",
            },
        ),
        ("Tell", {"fields": ["shares", "warns_ahead"]}),
        ("Record", {"fields": ["created_at", "updated_at"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        """What all projects spend is for those to see who see them all."""
        is_member = visible_project_ids(request.user) is not None
        return (
            super()
            .get_queryset(request)
            .annotate(is_hidden=ExpressionWrapper(Q(project=None) if is_member else Value(False), BooleanField()))
        )

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        """Look at it at once: who lowers a budget need not wait for the beat."""
        super().save_model(request, obj, form, change)
        transaction.on_commit(lambda: watch_budget(obj.pk, Ledger(timezone.now())))

    @display(description="may spend")
    def shown_amount(self, budget: Budget) -> str:
        return f"{dollars(budget.amount)} a {budget.period}" + ("" if budget.per == "all" else f" per {budget.per}")

    @display(description="spent")
    def shown_spent(self, budget: Budget) -> str:
        account = next(iter(_accounts(budget)), None)
        return "—" if account is None else _spent(account)

    @display(description="to be expected")
    def shown_forecast(self, budget: Budget) -> str:
        account = next(iter(_accounts(budget)), None)
        return "—" if account is None else _expected(account, budget)

    @display(description="now")
    def shown_accounts(self, budget: Budget) -> SafeString | str:
        lines = [(each["account"] or "all", _spent(each), _expected(each, budget)) for each in _accounts(budget)]
        return format_html_join("", "<div>{}: {}; {}</div>", lines) or "—"


def _accounts(budget: Budget) -> list[dict[str, Any]]:
    """Those that it keeps; none where whoever looks is not to see them."""
    is_hidden = getattr(budget, "is_hidden", False)
    accounts: list[dict[str, Any]] = [] if is_hidden else (budget.state or {}).get("accounts", [])
    return accounts


def _spent(account: dict[str, Any]) -> str:
    return f"{dollars(round(account['spent'], 2))} ({percent(account['share'])})"


def _expected(account: dict[str, Any], budget: Budget) -> str:
    """As in "$640; runs out on 21 March 14:00"."""
    forecast = "too little is known" if account["forecast"] is None else dollars(round(account["forecast"], 2))
    at = parse_datetime(account["runs_out_at"]) if account["runs_out_at"] else None
    if account["share"] >= 1 or at is None:
        return forecast
    return f"{forecast}; runs out on {at.astimezone(budget.zone):%-d %B %H:%M}"
