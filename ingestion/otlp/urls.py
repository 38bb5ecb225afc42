"""Routes of OTLP under /v1/."""

from django.urls import path

from ingestion.otlp import views

urlpatterns = [
    path("traces", views.TracesDoor.as_view(), name="otlp-traces"),
    path("metrics", views.MetricsDoor.as_view(), name="otlp-metrics"),
    path("logs", views.LogsDoor.as_view(), name="otlp-logs"),
]
