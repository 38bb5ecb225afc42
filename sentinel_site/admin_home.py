"""What the admin's own pages know beside their rows."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse


def everywhere(request: HttpRequest) -> dict[str, Any]:
    """For every page of the admin: where single sign-on begins, if it is set up."""
    oidc = settings.SENTINEL.access.oidc
    if not oidc.enabled:
        return {}
    wanted = urlencode({"next": request.GET.get("next", "")})
    return {"sign_on": {"name": oidc.name, "url": f"{reverse('sign-on')}?{wanted}"}}
