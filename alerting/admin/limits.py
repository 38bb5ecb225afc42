"""The admin of limits that people set."""

from __future__ import annotations

from django.contrib import admin
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from alerting.models import Threshold
from baselines.admin import OwnedAdmin


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
