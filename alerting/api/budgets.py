"""The API of budgets, with how each of them stands."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerting.budgets import SHOWN, Ledger
from alerting.crossings import watch_budget
from alerting.models import Budget
from alerting.models.budgets import MAX_AMOUNT, default_shares
from alerting.rules.budgets import HIGHEST_SHARE, MAX_SHARES
from baselines.api.owned import Owned, ProjectField
from baselines.api.pages import Keyset
from baselines.api.parameters import CursorField, LimitField, OneOfField, StrictSerializer
from baselines.api.serializers import NoQuery
from baselines.visibility import visible_project_ids

_SAME = "id name enabled amount period timezone service model user per shares warns_ahead state created_at updated_at"
FIELDS = {name: name for name in _SAME.split()} | {"project": "project__name"}


class BudgetQuery(StrictSerializer):
    limit = LimitField()
    cursor = CursorField(tuple[str, int])


class BudgetBody(StrictSerializer):
    """An amount that `service`, `model` and `user` may spend in a period, together or each for itself."""

    name = serializers.CharField(max_length=100)
    enabled = serializers.BooleanField(default=True)
    amount = serializers.FloatField(max_value=MAX_AMOUNT, help_text="dollars per period")
    period = OneOfField(choices=Budget.Period.choices, default=Budget.Period.MONTH)
    timezone = serializers.CharField(max_length=64, default="UTC", help_text="whose midnight a period begins at")
    service = serializers.CharField(max_length=128, default="*", help_text="name or glob")
    model = serializers.CharField(max_length=128, default="*", help_text="name or glob")
    user = serializers.CharField(max_length=256, default="*", help_text="name or glob; * = everybody, known or not")
    per = OneOfField(
        choices=Budget.Per.choices, default=Budget.Per.ALL, help_text="who has the amount: all together, or each"
    )
    shares = serializers.ListField(
        child=serializers.FloatField(max_value=HIGHEST_SHARE),
        min_length=1,
        max_length=MAX_SHARES,
        default=default_shares,
        help_text="that are told of when they are spent, rising: 0.8 = 80 %",
    )
    warns_ahead = serializers.BooleanField(
        default=False, help_text="tell also, once a period, that it will run out before the period ends"
    )
    project = ProjectField()


class AccountSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """How one account of a budget stands, in dollars."""

    account = serializers.CharField(allow_blank=True, help_text="the service, model or user; empty = all together")
    spent = serializers.FloatField()
    share = serializers.FloatField(help_text="of the amount: 0.8 = 80 %")
    forecast = serializers.FloatField(
        allow_null=True, help_text="at the end of the period, at the pace of the last days; null: too little is known"
    )
    runs_out_at = serializers.DateTimeField(allow_null=True, help_text="null: not before the period ends")
    unpriced_share = serializers.FloatField(help_text="of the tokens; what they cost is not known and not in it")


class StateSerializer(serializers.Serializer):  # type: ignore[type-arg]
    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField()
    judged_at = serializers.DateTimeField()
    account_count = serializers.IntegerField()
    accounts = AccountSerializer(many=True, help_text=f"those that spent most, at most {SHOWN}")


class BudgetSerializer(AccountSerializer):
    """A budget and how it stands; of several accounts the one that spent most."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    enabled = serializers.BooleanField()
    amount = serializers.FloatField()
    period = serializers.ChoiceField(choices=Budget.Period.choices)
    timezone = serializers.CharField()
    service = serializers.CharField()
    model = serializers.CharField()
    user = serializers.CharField()
    per = serializers.ChoiceField(choices=Budget.Per.choices)
    shares = serializers.ListField(child=serializers.FloatField())
    warns_ahead = serializers.BooleanField()
    project = serializers.CharField(allow_null=True)
    account = serializers.CharField(allow_null=True, allow_blank=True)
    spent = serializers.FloatField(
        allow_null=True, help_text="null: nobody has looked yet, or it is not for you to see"
    )
    share = serializers.FloatField(allow_null=True, help_text="of the amount: 0.8 = 80 %")
    unpriced_share = serializers.FloatField(allow_null=True)
    state = StateSerializer(allow_null=True, help_text="all accounts; null as `spent` is")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class BudgetPage(serializers.Serializer):  # type: ignore[type-arg]
    budgets = BudgetSerializer(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


def shown(row: dict[str, Any], principal: object) -> dict[str, Any]:
    """A row with its greatest account; what all projects spend is for those to see who see them all."""
    if row["project"] is None and visible_project_ids(principal) is not None:
        row["state"] = None
    accounts: list[dict[str, Any]] = (row["state"] or {}).get("accounts", [])
    first = accounts[0] if accounts else {}
    return row | {name: first.get(name) for name in AccountSerializer().fields}


BUDGETS = Owned(Budget, FIELDS, Keyset(("name", "id")), BudgetBody, shown)


def _write(budget: Budget, request: Request, *, partial: bool) -> None:
    """Save it and look at it at once: who lowers a budget need not wait for the beat."""
    BUDGETS.write(budget, request, partial=partial)
    watch_budget(budget.pk, Ledger(timezone.now()))


class BudgetList(APIView):
    scopes = {"GET": "read", "POST": "write"}

    @extend_schema(operation_id="list_budgets", parameters=[BudgetQuery], responses=BudgetPage, tags=["budgets"])
    def get(self, request: Request) -> Response:
        """Budgets of the projects one sees and of all projects, by name, as they stood within the last minute."""
        rows, following = BUDGETS.page(request.user, BudgetQuery.read(request.query_params))
        return Response({"budgets": rows, "count": len(rows), "next": following})

    @extend_schema(
        operation_id="create_budget", request=BudgetBody, responses={201: BudgetSerializer}, tags=["budgets"]
    )
    def post(self, request: Request) -> Response:
        """Have an anomaly opened whenever a share of an amount is spent."""
        budget = Budget()
        _write(budget, request, partial=False)
        return Response(BUDGETS.one(request.user, budget.pk), status.HTTP_201_CREATED)


class BudgetDetail(APIView):
    scopes = {"GET": "read", "PATCH": "write", "DELETE": "write"}

    @extend_schema(operation_id="get_budget", responses=BudgetSerializer, tags=["budgets"])
    def get(self, request: Request, budget_id: int) -> Response:
        """One budget, as it stood within the last minute."""
        NoQuery.read(request.query_params)
        return Response(BUDGETS.one(request.user, budget_id))

    @extend_schema(operation_id="change_budget", request=BudgetBody, responses=BudgetSerializer, tags=["budgets"])
    def patch(self, request: Request, budget_id: int) -> Response:
        """Change what the body names. Shares that are not reached any more are over, and told anew when they are."""
        _write(BUDGETS.mine(request.user, budget_id), request, partial=True)
        return Response(BUDGETS.one(request.user, budget_id))

    @extend_schema(operation_id="delete_budget", responses={204: None}, tags=["budgets"])
    def delete(self, request: Request, budget_id: int) -> Response:
        """Watch it no longer. Its anomalies stay; those that last end within a minute."""
        BUDGETS.mine(request.user, budget_id).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)
