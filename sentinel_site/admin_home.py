"""What the admin's own pages know beside their rows."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from anomalies.models import Incident, State, Status
from sentinel_site import health
from sentinel_site.command_line.situation import lines, situation

INCIDENTS_SHOWN = 8
PATIENCE_S = 0.1
"""People wait for the page: what takes longer is asked on, and the next look finds its answer."""


def everywhere(request: HttpRequest) -> dict[str, Any]:
    """For every page of the admin: where single sign-on begins, if it is set up."""
    oidc = settings.SENTINEL.access.oidc
    if not oidc.enabled:
        return {}
    wanted = urlencode({"next": request.GET.get("next", "")})
    return {"sign_on": {"name": oidc.name, "url": f"{reverse('sign-on')}?{wanted}"}}


def home(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """For the first page of the admin: how things stand, as far as this person may see it."""
    known = situation(request.user, timezone.now(), health.COMPONENTS, PATIENCE_S)
    if not request.user.has_perm("anomalies.view_incident"):  # type: ignore[union-attr]
        return context | {"situation": lines({"components": known["components"]}), "incidents": []}
    lasting = Incident.objects.visible_to(request.user).current().filter(state=State.ACTIVE)
    shown = lasting.exclude(status=Status.RESOLVED).order_by("-first_seen", "-id")[:INCIDENTS_SHOWN]
    return context | {"situation": lines(known), "incidents": shown}
