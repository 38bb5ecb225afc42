"""The paths that OTLP's exporters know, with the answers that they understand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog
from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from redis import RedisError
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from ingestion.bodies import BodyTooLarge, read_body
from ingestion.formats.otlp.envelopes import Encoding, SignalName
from ingestion.formats.otlp.faults import Unreadable
from ingestion.kafka import NotDelivered
from ingestion.otlp import answers
from ingestion.otlp.reception import MAX_CALLS, MAX_POINTS, take_in
from ingestion.reception import QueueFull, TooManyEvents
from ingestion.room import NoRoom, bodies
from ingestion.unavailable import IntakeBusy, KafkaBusy, KafkaUnavailable, MemoryAway

log = structlog.get_logger(__name__)


class AsSent(BaseContentNegotiation):
    """The answer has the type of the request, whatever Accept says."""

    def select_parser(self, request: Request, parsers: Sequence[Any]) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Sequence[Any], format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class Door(APIView):
    """POST of one signal."""

    scopes = {"POST": "ingest"}
    content_negotiation_class = AsSent
    signal: SignalName

    def get_permissions(self) -> Sequence[BasePermission]:
        if settings.SENTINEL.ingestion.otlp.require_token:
            return super().get_permissions()  # type: ignore[no-any-return]
        return [AllowAny()]

    @extend_schema(exclude=True)  # OpenTelemetry describes it
    def post(self, request: Request) -> HttpResponse:
        """Accept what can be used; 200 once Kafka has acknowledged it."""
        encoding = answers.encoding_of(request.headers.get("Content-Type", ""))
        if encoding is None:
            raise UnsupportedMediaType("", detail="Send application/x-protobuf or application/json.")
        body = read_body(request, settings.SENTINEL.ingestion.otlp.max_body_size, "ingestion.otlp.max_body_size")
        return answers.accepted(self.signal, self._taken_in(body, encoding, request), encoding)

    def _taken_in(self, body: bytes, encoding: Encoding, request: Request) -> list[Any]:
        try:
            with bodies.taken_by(len(body)):
                return take_in(self.signal, body, encoding, request.user, timezone.now())
        except NoRoom:
            raise IntakeBusy from None
        except Unreadable as error:
            raise ParseError(str(error)) from None
        except TooManyEvents:
            raise BodyTooLarge(
                f"A request may hold {MAX_CALLS} LLM calls and {MAX_POINTS} data points at most."
            ) from None
        except RedisError as error:
            log.warning("otlp_memory_away", error=str(error))
            raise MemoryAway from error
        except QueueFull as error:
            raise KafkaBusy from error
        except NotDelivered as error:
            raise KafkaUnavailable("Kafka did not take all of it; send it again later.") from error

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], HttpResponse]:
        described = super().get_exception_handler()

        def handle(exc: Exception, context: dict[str, Any]) -> HttpResponse:
            return _as_status(described(exc, context), context["request"])

        return handle


def _as_status(problem: HttpResponse | None, request: Request) -> HttpResponse:
    """The site's answer to an exception, said as OTLP's clients understand it; None is the unforeseen."""
    encoding = answers.encoding_of(request.headers.get("Content-Type", "")) or "json"
    if problem is None:
        log.exception("otlp_request_failed", path=request.path)
        return answers.failure(500, "Something unforeseen went wrong; it has been logged.", encoding)
    detail = msgspec.json.decode(problem.content)["detail"]
    answer = answers.failure(problem.status_code, detail, encoding)
    for name, value in problem.headers.items():
        if name != "Content-Type":
            answer.headers[name] = value
    return answer


class TracesDoor(Door):
    signal = "traces"


class MetricsDoor(Door):
    signal = "metrics"


class LogsDoor(Door):
    signal = "logs"
