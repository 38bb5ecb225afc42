"""The API of alert rules: who hears of which anomalies, grouped how, how often, and who is next."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerting.api.rule_bodies import RuleBody, RulePage, RuleQuery, RuleSerializer
from alerting.api.rule_rows import BY_ORDER, FIELDS, as_rows, save_rule
from alerting.models import AlertRule
from baselines.api.owned import found, mine
from baselines.api.serializers import NoQuery


class RuleList(APIView):
    scopes = {"GET": "read", "POST": "write"}

    @extend_schema(operation_id="list_alert_rules", parameters=[RuleQuery], responses=RulePage, tags=["alert rules"])
    def get(self, request: Request) -> Response:
        """Rules of the projects one sees and of all projects, in the order in which they are tried."""
        query = RuleQuery.read(request.query_params)
        visible = AlertRule.objects.visible_to(request.user)
        rows, following = BY_ORDER.page(visible, FIELDS, query["limit"], query.get("cursor"))
        shown = as_rows(rows, request.user)
        return Response({"alert_rules": shown, "count": len(shown), "next": following})

    @extend_schema(
        operation_id="create_alert_rule", request=RuleBody, responses={201: RuleSerializer}, tags=["alert rules"]
    )
    def post(self, request: Request) -> Response:
        """Make a rule. It acts on the next alert; the first rule of a project ends the built-in one there."""
        rule = AlertRule()
        save_rule(rule, RuleBody.read_body(request, partial=False))
        return Response(one(rule.pk, request.user), status.HTTP_201_CREATED)


class RuleDetail(APIView):
    scopes = {"GET": "read", "PATCH": "write", "DELETE": "write"}

    @extend_schema(operation_id="get_alert_rule", responses=RuleSerializer, tags=["alert rules"])
    def get(self, request: Request, rule_id: int) -> Response:
        """One rule."""
        NoQuery.read(request.query_params)
        return Response(one(found(AlertRule.objects.visible_to(request.user), rule_id).pk, request.user))

    @extend_schema(operation_id="change_alert_rule", request=RuleBody, responses=RuleSerializer, tags=["alert rules"])
    def patch(self, request: Request, rule_id: int) -> Response:
        """Change what the body names; `channels`, `channels_by_severity` and `escalation` are replaced as a whole."""
        rule = mine(AlertRule, request.user, rule_id)
        save_rule(rule, RuleBody.read_body(request, partial=True))
        return Response(one(rule.pk, request.user))

    @extend_schema(operation_id="delete_alert_rule", responses={204: None}, tags=["alert rules"])
    def delete(self, request: Request, rule_id: int) -> Response:
        """Remove a rule; what was told by it stays told."""
        mine(AlertRule, request.user, rule_id).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


def one(rule_id: int, principal: object) -> dict[str, Any]:
    rows, _ = BY_ORDER.page(AlertRule.objects.filter(pk=rule_id), FIELDS, 1, None)
    return as_rows(rows, principal)[0]
