"""Routes of anomalies under /api/v1/. That of one anomaly is the site's: it shows more than this app has."""

from django.urls import path

from anomalies.api import feedback, incidents, overrides, views

urlpatterns = [
    path("anomalies", views.AnomalyList.as_view(), name="anomalies"),
    path("anomalies/recent", views.RecentAnomalies.as_view(), name="anomalies-recent"),
    path("anomalies/<uuid:anomaly_id>/acknowledge", views.Acknowledge.as_view(), name="anomaly-acknowledge"),
    path("anomalies/<uuid:anomaly_id>/resolve", views.Resolve.as_view(), name="anomaly-resolve"),
    path("anomalies/<uuid:anomaly_id>/feedback", feedback.GiveFeedback.as_view(), name="anomaly-feedback"),
    path("incidents", incidents.IncidentList.as_view(), name="incidents"),
    path("incidents/<uuid:incident_id>", incidents.IncidentDetail.as_view(), name="incident"),
    path(
        "incidents/<uuid:incident_id>/acknowledge", incidents.AcknowledgeIncident.as_view(), name="incident-acknowledge"
    ),
    path("incidents/<uuid:incident_id>/resolve", incidents.ResolveIncident.as_view(), name="incident-resolve"),
    path("detection-overrides", overrides.OverrideList.as_view(), name="detection-overrides"),
    path("detection-overrides/<int:override_id>", overrides.OverrideDetail.as_view(), name="detection-override"),
]
