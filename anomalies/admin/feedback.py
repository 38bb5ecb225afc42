"""The admin of feedback: the votes, and above them what they come to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from anomalies.feedback import proposals, shares, votes_seen_by
from anomalies.models import Feedback
from baselines.admin_tools import ReadOnlyAdmin, ScopedAdmin, service_filter

REPORTED_DAYS = 30
ROWS_SHOWN = 20


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin, ScopedAdmin):
    list_display = ["at", "verdict", "what", "actor_name", "note"]
    list_select_related = ["anomaly__service"]
    list_filter = [("verdict", ChoicesDropdownFilter), service_filter("anomaly__service")]
    list_filter_submit = True
    list_before_template = "anomalies/admin/noise.html"
    sortable_by = ["at"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        may_override = request.user.has_perm("anomalies.add_detectionoverride")  # type: ignore[union-attr]
        report = noise_report(request.user) | {"days": REPORTED_DAYS, "may_override": may_override}
        return super().changelist_view(request, (extra_context or {}) | report)

    @display(description="anomaly")
    def what(self, feedback: Feedback) -> str:
        return feedback.anomaly.title


def noise_report(principal: object) -> dict[str, Any]:
    """The noisiest series and detectors, each series with the address of the override that is proposed for it."""
    since = timezone.now() - timedelta(days=REPORTED_DAYS)
    votes = votes_seen_by(principal, since)
    proposed = proposals(votes)
    form = reverse("admin:anomalies_detectionoverride_add")
    series = [
        (":".join(key), counts, f"{form}?{urlencode(proposed[key])}" if key in proposed else "", percent(counts))
        for key, counts in list(shares(votes, lambda vote: vote.series).items())[:ROWS_SHOWN]
    ]
    by_detector = shares(votes, lambda vote: vote.detector).items()
    return {"series": series, "detectors": [(name, counts, percent(counts)) for name, counts in by_detector]}


def percent(counts: dict[str, Any]) -> str:
    return f"{counts['noise_share']:.0%}"
