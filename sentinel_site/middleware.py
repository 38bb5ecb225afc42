"""What every request passes: a bound on its body, and the content security policy of the page it asks for.

Programs pass less: who sends a token has no session, gets no page, and is not logged in by a form.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from axes.middleware import AxesMiddleware
from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from xxhash import xxh3_128_hexdigest

from sentinel_site.problems import API_PREFIX, http_problem

# The admin's Alpine.js evaluates expressions in attributes and sets styles on elements; nothing else may.
SAFE = ("GET", "HEAD")
ADMIN_PREFIX = "/admin/"
ADMIN_SOURCES = {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}


PROGRAM_PREFIXES = (API_PREFIX, "/v1/")


def is_program(request: HttpRequest) -> bool:
    """Whether it asks the API and brings its own proof, which then is all that counts."""
    return "HTTP_AUTHORIZATION" in request.META and request.path.startswith(PROGRAM_PREFIXES)


class _ForPeople:
    """Before a middleware of Django's own: programs go past it."""

    get_response: Callable[[HttpRequest], HttpResponse]

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if is_program(request):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc, no-any-return]


class Sessions(_ForPeople, SessionMiddleware):
    """Sessions of people."""


class Logins(_ForPeople, AuthenticationMiddleware):
    """Who a session belongs to."""


class Messages(_ForPeople, MessageMiddleware):
    """What a page says once."""


class Lockouts(_ForPeople, AxesMiddleware):
    """The answer to who guesses passwords."""


class EntityTags:
    """Answers 304 under /api/ where the client has the very answer already; it still costs the work of making it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.method not in SAFE or response.status_code != HTTPStatus.OK or response.streaming:
            return response
        if not request.path.startswith(API_PREFIX):
            return response
        tag = f'"{xxh3_128_hexdigest(response.content)}"'
        response.headers["ETag"] = tag
        if "HTTP_IF_NONE_MATCH" not in request.META:
            return response
        answer: HttpResponseBase = get_conditional_response(request, tag, response=response)
        return answer


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


class ContentSecurityPolicy(_ForPeople, CSPMiddleware):
    """The strict policy on every page, relaxed only under /admin/."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts: Any = super().get_policy_parts(request, response, report_only)
        if request.path.startswith(ADMIN_PREFIX):
            parts.replace = ADMIN_SOURCES | (parts.replace or {})
        return parts
