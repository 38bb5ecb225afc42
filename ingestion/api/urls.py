"""Routes of telemetry under /api/v1/."""

from django.urls import path

from ingestion.api import events, telemetry

urlpatterns = [
    path("events", events.EventIntake.as_view(), name="events"),
    path("telemetry", telemetry.TelemetryList.as_view(), name="telemetry"),
    path("telemetry/summary", telemetry.TelemetrySummary.as_view(), name="telemetry-summary"),
]
