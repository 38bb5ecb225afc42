"""Errors of the API as RFC 9457 problem documents (`application/problem+json`), wherever they arise."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.views import exception_handler

CONTENT_TYPE = "application/problem+json"
API_PREFIX = "/api/"
WHOLE = "non_field_errors"  # what is wrong with a whole body, or with the whole of a nested part
KEPT_HEADERS = ("WWW-Authenticate", "Retry-After", "Allow")

log = structlog.get_logger(__name__)


class TooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request's body is larger than api.max_body_size."
    default_code = "too_large"


class DatabaseAway(exceptions.APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The database does not answer. Try again later."
    default_code = "database_away"
    wait = 5


def problem(
    code: int, detail: str = "", *, instance: str = "", errors: dict[str, list[str]] | None = None
) -> dict[str, Any]:
    """A problem document: type, title, status, detail, instance, and `errors` by field where fields are wrong."""
    document: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(code).phrase, "status": code}
    document |= {"detail": detail or HTTPStatus(code).description, "instance": instance}
    return document | ({"errors": errors} if errors else {})


def problem_response(exc: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's exception handler; None for the unforeseen, which Django then logs and `server_error` answers.

    The answer is rendered here: the view's own renderer may be one of YAML or HTML.
    """
    exc = translated(exc)
    answer = exception_handler(exc, context)
    if answer is None:
        return None
    errors = field_errors(exc)
    detail = summary(errors) if errors else detail_of(answer.data)
    response = http_problem(context["request"], answer.status_code, detail, errors)
    for name in KEPT_HEADERS:
        if name in answer.headers:
            response.headers[name] = answer.headers[name]
    return response


def translated(exc: Exception) -> Exception:
    """Django's own exceptions that have a meaning to callers of the API."""
    if isinstance(exc, RequestDataTooBig):
        return TooLarge()
    if isinstance(exc, OperationalError | InterfaceError):
        log.error("database_away", error=str(exc))
        return DatabaseAway()
    return exc


def detail_of(data: Any) -> str:
    return str(data["detail"]) if isinstance(data, dict) and "detail" in data else ""


def field_errors(exc: Exception) -> dict[str, list[str]]:
    """Messages by field ("matchers.0.op" for a nested one) of a validation error; empty for any other."""
    if not isinstance(exc, exceptions.ValidationError):
        return {}
    found: dict[str, list[str]] = {}
    for path, message in _messages(exc.detail, ""):
        found.setdefault(path or WHOLE, []).append(message)
    return found


def _messages(detail: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(detail, dict):
        for key, inner in detail.items():
            yield from _messages(inner, path if key == WHOLE and path else f"{path}.{key}".lstrip("."))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            yield from _messages(inner, f"{path}.{index}" if isinstance(inner, dict) and inner else path)
    else:
        yield path, str(detail)


def summary(errors: dict[str, list[str]]) -> str:
    """All messages in one line, for clients that read `detail` only."""
    return " ".join(f"{field}: {' '.join(messages)}" for field, messages in errors.items())


def http_problem(
    request: HttpRequest, code: int, detail: str = "", errors: dict[str, list[str]] | None = None
) -> HttpResponse:
    """A problem document about a request to `request.path`."""
    body = encoded_problem(code, detail, request.path, errors)
    return HttpResponse(body, status=code, content_type=CONTENT_TYPE)


def encoded_problem(code: int, detail: str, instance: str, errors: dict[str, list[str]] | None = None) -> bytes:
    """A problem document as it is sent."""
    return msgspec.json.encode(problem(code, detail, instance=instance, errors=errors))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API_PREFIX):
        return http_problem(request, 413 if isinstance(exception, RequestDataTooBig) else 400)
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API_PREFIX):
        return http_problem(request, 403)
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API_PREFIX):
        return http_problem(request, 404)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    if request.path.startswith(API_PREFIX):
        return http_problem(request, 500, "Something unforeseen went wrong; it has been logged.")
    return defaults.server_error(request)
