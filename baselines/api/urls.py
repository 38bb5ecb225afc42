"""Routes of baselines and services under /api/v1/."""

from django.urls import path

from baselines.api import views

urlpatterns = [
    path("baselines", views.BaselineList.as_view(), name="baselines"),
    path("services", views.Services.as_view(), name="services"),
]
