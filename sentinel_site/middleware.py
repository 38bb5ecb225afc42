"""What every request passes: a bound on its body, and the content security policy of the page it asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from sentinel_site.problems import API_PREFIX, http_problem

# The admin's Alpine.js evaluates expressions in attributes and sets styles on elements; nothing else may.
ADMIN_PREFIX = "/admin/"
ADMIN_SOURCES = {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}


class BodyLimit:
    """Refuses a body beyond `api.max_body_size` under /api/ before a byte of it is read.

    DRF reads the stream itself, past Django's own limit. A body without Content-Length is empty under WSGI.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(API_PREFIX) and content_length(request) > settings.SENTINEL.api.max_body_size:
            limit = settings.SENTINEL.api.max_body_size
            return http_problem(request, 413, f"The body may have {limit} bytes at most (api.max_body_size).")
        return self.get_response(request)


def content_length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


class ContentSecurityPolicy(CSPMiddleware):
    """The strict policy everywhere, relaxed only under /admin/."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts: Any = super().get_policy_parts(request, response, report_only)
        if request.path.startswith(ADMIN_PREFIX):
            parts.replace = ADMIN_SOURCES | (parts.replace or {})
        return parts
