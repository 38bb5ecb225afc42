"""Single sign-on: two addresses, to the provider and back."""

from __future__ import annotations

import structlog
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from sentinel_site.access.identities import admit
from sentinel_site.access.oidc import Provider, SignOnFailed, provider

BACKEND = "django.contrib.auth.backends.ModelBackend"
NEXT = "sign_on_next"

log = structlog.get_logger(__name__)


@never_cache
@require_GET
def begin(request: HttpRequest) -> HttpResponse:
    """Off to the provider."""
    chosen = _provider()
    request.session[NEXT] = request.GET.get("next", "")
    callback = settings.SENTINEL.api.public_url.rstrip("/") + reverse("sign-on-callback")
    try:
        return chosen.begin(request, callback)
    except SignOnFailed as failure:
        return _refused(request, failure)


@never_cache
@require_GET
def finish(request: HttpRequest) -> HttpResponse:
    """Back from the provider, with a code that proves who it is."""
    chosen = _provider()
    try:
        user = admit(chosen.finish(request), chosen.config)
    except SignOnFailed as failure:
        return _refused(request, failure)
    wanted = request.session.pop(NEXT, "")
    login(request, user, backend=BACKEND)
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
    return redirect(wanted if is_ours else resolve_url(settings.LOGIN_REDIRECT_URL))


def _provider() -> Provider:
    config = settings.SENTINEL.access.oidc
    if not config.enabled:
        raise Http404("Single sign-on is not set up (access.oidc).")
    return provider(config)


def _refused(request: HttpRequest, failure: SignOnFailed) -> HttpResponse:
    log.warning("sign_on_refused", reason=failure.reason)
    messages.error(request, str(failure))
    return redirect(settings.LOGIN_URL)
