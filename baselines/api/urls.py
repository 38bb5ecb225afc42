"""Routes of baselines and services under /api/v1/."""

from django.urls import path

from baselines.api import annotations, views

urlpatterns = [
    path("baselines", views.BaselineList.as_view(), name="baselines"),
    path("services", views.Services.as_view(), name="services"),
    # A name may hold anything that a sender puts in, slashes too.
    path("services/<path:name>/retire", views.Retire.as_view(), name="service-retire"),
    path("annotations", annotations.Annotations.as_view(), name="annotations"),
]
