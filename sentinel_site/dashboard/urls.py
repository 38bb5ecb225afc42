"""The routes of the pages."""

from django.urls import path

from sentinel_site.dashboard import views

urlpatterns = [
    path("", views.home, name="home"),
    path("dashboard/data", views.data, name="dashboard-data"),
    path("incidents/<uuid:incident_id>", views.incident_page, name="incident-page"),
    path("incidents/<uuid:incident_id>/data", views.incident_data, name="incident-page-data"),
    path("incidents/<uuid:incident_id>/acknowledge", views.acknowledge, name="incident-page-acknowledge"),
    path("incidents/<uuid:incident_id>/resolve", views.resolve, name="incident-page-resolve"),
    path("incidents/<uuid:incident_id>/feedback", views.vote, name="incident-page-feedback"),
    path("live/", views.live, name="live"),
]
