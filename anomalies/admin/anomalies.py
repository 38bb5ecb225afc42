"""The admin of anomalies: a list to work through, a page that says what happened, and two things to do about it."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from anomalies import circumstances, feedback, story
from anomalies.admin.acting import ActingAdmin
from anomalies.api.rows import FIELDS
from anomalies.models import Anomaly, Status, Verdict
from baselines.admin_exports import ExportingAdmin
from baselines.admin_tools import CalendarQuerySet, service_filter, text_filter
from baselines.models import ServedModel, Service

SIMILAR_SHOWN = 5
MOST_VOTES_AT_ONCE = 500


@admin.register(Anomaly)
class AnomalyAdmin(ExportingAdmin, ActingAdmin):
    export_columns = FIELDS
    list_display = ["first_seen", "shown_severity", "what", "peak", "expected", "occurrences", "shown_status", "state"]
    list_display_links = ["first_seen", "what"]
    list_select_related = ["service"]
    list_filter = [
        ("severity", ChoicesDropdownFilter),
        ("status", ChoicesDropdownFilter),
        ("state", ChoicesDropdownFilter),
        service_filter(),
        text_filter("model"),
        text_filter("metric"),
        text_filter("detector"),
    ]
    list_filter_submit = True
    search_fields = ["service__name"]
    search_help_text = "Service or model (parts of a name), or the id of an anomaly or incident"
    date_hierarchy = "first_seen"
    sortable_by = ["first_seen"]
    actions = [*ActingAdmin.actions, "call_useful", "call_noise"]
    change_form_outer_before_template = "anomalies/admin/episode.html"
    fieldsets = [
        ("Series", {"fields": ["service", "model", "metric", "direction", "type", "incident"]}),
        ("Evidence", {"fields": ["detector", "score", "z_score", "confidence", "baseline_mean", "baseline_stddev"]}),
        ("More", {"fields": ["baseline_median", "dimensions", "sample_trace_ids", "state", "updated_at"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Anomaly]:
        rows = super().get_queryset(request)
        return CalendarQuerySet(rows.model, query=rows.query, using=rows.db)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Names are looked up in the small tables of what exists, never in the large one."""
        for word in search_term.split():
            queryset = queryset.filter(_matching(word))
        return queryset, False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        anomaly = self.get_object(request, object_id)
        page = {} if anomaly is None else episode(anomaly) | {"may_act": self.has_change_permission(request)}
        return super().change_view(request, object_id, form_url, (extra_context or {}) | page)

    @display(description="what")
    def what(self, anomaly: Anomaly) -> str:
        return anomaly.title

    @display(description="peak")
    def peak(self, anomaly: Anomaly) -> str:
        return story.quantity(anomaly.value, anomaly.metric)

    @display(description="expected")
    def expected(self, anomaly: Anomaly) -> str:
        return story.band(anomaly)

    @action(description="Useful", permissions=["change"])
    def call_useful(self, request: HttpRequest, queryset: QuerySet[Anomaly]) -> HttpResponse | None:
        return self.act(request, queryset, partial(_vote, Verdict.USEFUL), "called useful")

    @action(description="Noise", permissions=["change"])
    def call_noise(self, request: HttpRequest, queryset: QuerySet[Anomaly]) -> HttpResponse | None:
        return self.act(request, queryset, partial(_vote, Verdict.NOISE), "called noise")


def _vote(verdict: Verdict, anomalies: QuerySet[Anomaly], actor: object, note: str) -> int:
    chosen = list(anomalies.order_by("pk").values_list("pk", flat=True)[:MOST_VOTES_AT_ONCE])
    for anomaly in chosen:
        feedback.vote(anomaly, actor, verdict, note, timezone.now())
    return len(chosen)


def _matching(word: str) -> Q:
    """Anomalies of an id, or of services or models with `word` in their name."""
    try:
        identity = UUID(word)
    except ValueError:
        # As lists, not as subqueries: so the database sees how few they are, and takes the index.
        services = Service.objects.filter(name__icontains=word).order_by().values_list("id", flat=True)
        models = ServedModel.objects.filter(name__icontains=word).order_by().values_list("name", flat=True)
        return Q(service__in=list(services)) | Q(model__in=list(models.distinct()))
    return Q(pk=identity) | Q(incident_id=identity)


def page_of(anomaly_id: object) -> str:
    return reverse("admin:anomalies_anomaly_change", args=[anomaly_id])


def episode(anomaly: Anomaly) -> dict[str, Any]:
    """What the page of an anomaly shows beside its fields."""
    similar = Anomaly.objects.filter(service=anomaly.service_id, model=anomaly.model, metric=anomaly.metric)
    similar = similar.exclude(pk=anomaly.pk).select_related("service").order_by("-first_seen", "-id")
    return {
        "anomaly": anomaly,
        "sentence": circumstances.told(anomaly),
        "peak": story.quantity(anomaly.value, anomaly.metric),
        "expected": story.band(anomaly),
        "detectors": sorted(anomaly.detectors.items(), key=lambda found: -found[1]),
        "transitions": anomaly.transitions.all(),
        "votes": anomaly.votes.all(),
        "similar": [(page_of(other.pk), story.sentence(other), other) for other in similar[:SIMILAR_SHOWN]],
        "list_url": reverse("admin:anomalies_anomaly_changelist"),
        "api_url": f"/api/v1/anomalies/{anomaly.pk}",
        "is_resolved": anomaly.status == Status.RESOLVED,
        "is_open": anomaly.status == Status.OPEN,
    }
