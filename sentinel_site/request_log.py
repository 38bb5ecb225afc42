"""One line in the log for every request, written as cheaply as one can: a busy API writes thousands a second."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from sentinel_site.logs import REQUESTS, SCRUBBER

SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
PROBES = ("/health/", "/static/")

log = logging.getLogger(REQUESTS)
_encode = msgspec.json.Encoder().encode


class RequestLog:
    """Names the request in every line that is logged meanwhile (`request_id`), and logs what came of it.

    Like every line it holds no personal data: the path with its query is scrubbed. Probes and files are logged only
    when they fail.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._is_on = settings.SENTINEL.api.enable_logging

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began, name = time.perf_counter(), request_id(request)
        structlog.contextvars.bind_contextvars(request_id=name)
        try:
            response = self.get_response(request)
        finally:
            structlog.contextvars.unbind_contextvars("request_id")
        level = logging.ERROR if response.status_code >= 500 else logging.INFO
        is_dull = level == logging.INFO and request.path.startswith(PROBES)
        if self._is_on and not is_dull and log.isEnabledFor(level):
            log.log(level, "%s", self._line(request, response, name, time.perf_counter() - began, level))
        return response

    def _line(self, request: HttpRequest, response: HttpResponse, name: str, seconds: float, level: int) -> str:
        told = {
            "event": "request",
            "method": request.method,
            "path": SCRUBBER.scrub(request.get_full_path()),
            "status": response.status_code,
            "ms": round(seconds * 1000, 2),
            "who": who(request),
            "request_id": name,
            "level": logging.getLevelName(level).lower(),
            "logger": REQUESTS,
            "timestamp": datetime.now(UTC),
        }
        if settings.SENTINEL.logging.json_lines:
            return _encode(told).decode()
        return "{timestamp:%Y-%m-%dT%H:%M:%S} [{level}] {method} {path} {status} {ms} ms {who}".format(**told)


def request_id(request: HttpRequest) -> str:
    """The client's own where it is sane, so that its log and ours can be laid side by side."""
    given = request.META.get("HTTP_X_REQUEST_ID", "")
    return given if SANE_ID.fullmatch(given) else uuid4().hex


def who(request: HttpRequest) -> str:
    """The token or the person, by number: names are private, and nobody is looked up for the log."""
    token: Any = getattr(request, "auth", None)
    if token is not None:
        return f"token:{token.pk}"
    user: Any = request.__dict__.get("_cached_user")
    return f"user:{user.pk}" if user is not None and user.pk else ""
