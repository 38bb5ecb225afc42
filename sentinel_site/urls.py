"""Every route of the product."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from alerting import pages
from sentinel_site import api, feedback, health
from sentinel_site.access import sign_on
from sentinel_site.exposition import metrics

# Django tries them in order: what programs ask most comes first.
api_v1 = [
    path("", include("anomalies.api.urls")),
    path("anomalies/<uuid:anomaly_id>", api.AnomalyDetail.as_view(), name="anomaly"),
    path("feedback/summary", feedback.FeedbackSummary.as_view(), name="feedback-summary"),
    path("", include("alerting.api.urls")),
    path("", include("baselines.api.urls")),
    path("", include("ingestion.api.urls")),
    path("schema/", api.Schema.as_view(), name="schema"),
    path("docs/", api.Docs.as_view(), name="docs"),
]

urlpatterns = [
    path("api/v1/", include(api_v1)),
    path("", include("sentinel_site.dashboard.urls")),
    path("admin/", admin.site.urls),
    path("login/oidc/", sign_on.begin, name="sign-on"),
    path("login/oidc/callback", sign_on.finish, name="sign-on-callback"),
    path("v1/", include("ingestion.otlp.urls")),
    path("alerts/acknowledge/<path:token>", pages.acknowledge, name="acknowledge-alert"),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("health/startup", health.startup, name="health-startup"),
    path(settings.SENTINEL.api.metrics_path.removeprefix("/"), metrics, name="metrics"),
]

handler400 = "sentinel_site.problems.bad_request"
handler403 = "sentinel_site.problems.permission_denied"
handler404 = "sentinel_site.problems.not_found"
handler500 = "sentinel_site.problems.server_error"
