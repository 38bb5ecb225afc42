"""`GET /metrics`: Prometheus text of this process (of all web workers where they share a directory)."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView
from rest_framework.exceptions import AuthenticationFailed

from sentinel_site.access.authentication import TokenAuthentication
from sentinel_site.access.models import Scope
from sentinel_site.access.principal import scopes_of
from sentinel_site.problems import http_problem


@csrf_exempt
@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Open where `api.metrics_open` says so; else for tokens and people that may read."""
    if settings.SENTINEL.api.metrics_open:
        return ExportToDjangoView(request)
    authentication = TokenAuthentication()
    try:
        found = authentication.authenticate(request)
    except AuthenticationFailed as failure:
        return unauthorized(request, str(failure.detail))
    principal = found[0] if found else request.user
    if not principal.is_authenticated:
        return unauthorized(request, "Metrics need a token with the scope read (or api.metrics_open).")
    if Scope.READ not in scopes_of(principal):
        return http_problem(request, 403, "Your account or token lacks the scope read.")
    return ExportToDjangoView(request)


def unauthorized(request: HttpRequest, detail: str) -> HttpResponse:
    answer = http_problem(request, 401, detail)
    answer.headers["WWW-Authenticate"] = TokenAuthentication().authenticate_header(request)
    return answer
