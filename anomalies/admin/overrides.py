"""The admin of overrides: what operators set differently, series by series."""

from __future__ import annotations

from typing import Any

import msgspec
from django.contrib import admin
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from anomalies.detection.overrides import DETECTORS
from anomalies.detection.settings import CLASSIC
from anomalies.models import DetectionOverride
from baselines.admin import OwnedAdmin
from baselines.admin_tools import text_filter
from baselines.people import name_of

JSON_FIELDS = ("detectors", "thresholds")
WORDS = (
    f"The detectors are {', '.join(DETECTORS)}. What is left empty stays as it is. Thresholds of {', '.join(CLASSIC)} "
    "replace those of the configuration; those of the others are factors on their own: 1.2 asks for a fifth more. "
    "A direction that is named counts in full: drops and surges are info otherwise. Running consumers take all of it "
    "up within ten seconds."
)


@admin.register(DetectionOverride)
class DetectionOverrideAdmin(OwnedAdmin):
    list_display = ["series", "says", "enabled", "project", "note", "created_by", "updated_at"]
    list_select_related = ["project"]
    list_filter = [
        "enabled",
        ("sensitivity", ChoicesDropdownFilter),
        text_filter("service", "service__icontains"),
        text_filter("model", "model__icontains"),
    ]
    list_filter_submit = True
    search_fields = ["service", "model", "metric", "note"]
    readonly_fields = ["created_by", "created_at", "updated_at"]
    fieldsets = [
        ("Series", {"fields": ["service", "model", "metric", "project"]}),
        (
            "What is different",
            {
                "fields": ["muted", "sensitivity", "direction", "min_deviation", "detectors", "thresholds"],
                "description": WORDS,
            },
        ),
        ("Record", {"fields": ["enabled", "note", "created_by", "created_at", "updated_at"]}),
    ]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A proposal comes with the address: its objects are JSON there."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        for name in JSON_FIELDS:
            try:
                initial[name] = msgspec.json.decode(initial.get(name, "{}"))
            except msgspec.DecodeError:
                del initial[name]
        return initial

    def save_model(self, request: HttpRequest, obj: DetectionOverride, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = name_of(request.user)
        super().save_model(request, obj, form, change)

    @display(description="series")
    def series(self, override: DetectionOverride) -> str:
        return str(override)

    @display(description="says")
    def says(self, override: DetectionOverride) -> str:
        return in_words(override)


def in_words(override: DetectionOverride) -> str:
    """What an override says, in one line."""
    said = [{True: "muted", False: "not muted", None: ""}[override.muted]]
    said.append(f"sensitivity {override.sensitivity}" if override.sensitivity else "")
    said.append(f"only {override.direction}" if override.direction in ("up", "down") else override.direction)
    if override.min_deviation is not None:
        said.append(f"from {override.min_deviation:.0%} on")
    said += [f"{name} {'on' if runs else 'off'}" for name, runs in sorted(override.detectors.items())]
    said += [f"{name} at {value:g}" for name, value in sorted(override.thresholds.items())]
    return ", ".join(part for part in said if part) or "nothing"
