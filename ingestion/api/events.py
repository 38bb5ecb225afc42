"""POST /api/v1/events: native events over HTTP: one, an array, or one a line."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ingestion.bodies import BodyTooLarge, read_body
from ingestion.formats.validation import MARKS
from ingestion.kafka import NotDelivered
from ingestion.reception import MAX_EVENTS, QueueFull, Receipt, TooManyEvents, take_in
from ingestion.room import NoRoom, bodies
from ingestion.unavailable import IntakeBusy, KafkaBusy, KafkaUnavailable

TYPES = {"application/json": False, "application/x-ndjson": True, "application/jsonl": True}
"""Types of bodies, and whether each line of theirs is an event."""
INDEXES_NAMED = 100
PROBLEM_TYPE = "application/problem+json"
EXAMPLE = {
    "timestamp": "2024-11-06T10:25:00Z",
    "service_name": "chat-api",
    "model_name": "gpt-4",
    "latency_ms": 1234.5,
    "prompt_tokens": 512,
    "completion_tokens": 128,
    "cost_usd": 0.0123,
}


class RefusedEvent(serializers.Serializer):  # type: ignore[type-arg]
    index = serializers.IntegerField(help_text="place in the array, from 0")
    code = serializers.CharField()
    field = serializers.CharField(allow_blank=True)
    error = serializers.CharField()


class MarkedEvent(serializers.Serializer):  # type: ignore[type-arg]
    index = serializers.IntegerField(help_text="place in the array, from 0")
    marks = serializers.ListField(child=serializers.ChoiceField(choices=sorted(MARKS)))


class ReceiptSerializer(serializers.Serializer):  # type: ignore[type-arg]
    accepted = serializers.IntegerField()
    rejected = RefusedEvent(many=True)
    marked = MarkedEvent(
        many=True,
        required=False,
        help_text="accepted events in which something was repaired: a time too far ahead (future), a value beyond its "
        "limit (clamped_...), a total that did not add up; absent where there is none",
    )


class EventIntake(APIView):
    scopes = {"POST": "ingest"}

    @extend_schema(
        operation_id="post_events",
        request=dict.fromkeys(TYPES, OpenApiTypes.ANY),
        responses={
            202: ReceiptSerializer,
            (400, PROBLEM_TYPE): ReceiptSerializer,
            (413, PROBLEM_TYPE): OpenApiTypes.OBJECT,
            (415, PROBLEM_TYPE): OpenApiTypes.OBJECT,
            (429, PROBLEM_TYPE): OpenApiTypes.OBJECT,
            (503, PROBLEM_TYPE): OpenApiTypes.OBJECT,
        },
        examples=[OpenApiExample("one event", EXAMPLE, request_only=True)],
        tags=["telemetry"],
    )
    def post(self, request: Request) -> Response:
        """Accept one event, an array of them, or one a line: what is accepted is stored by Kafka before the answer.

        The body may be compressed (Content-Encoding gzip or deflate); its limit applies to what it unpacks to.
        400 if none could be used. 429 while Kafka takes less than comes in. 503 if Kafka did not take all that were
        usable: the detail names which.
        """
        receipt = received(request)
        if receipt.rejected and not receipt.accepted:
            return Response(nothing_accepted(receipt, request.path), 400, content_type=PROBLEM_TYPE)
        return Response(receipt.as_json(), status.HTTP_202_ACCEPTED)


def received(request: Request) -> Receipt:
    """Take the request's events in, its failures as the API's exceptions."""
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_lines = TYPES.get(media_type or "application/json")
    if is_lines is None:
        raise UnsupportedMediaType("", detail=f"Send one of {', '.join(TYPES)}.")
    body = read_body(request, settings.SENTINEL.api.max_body_size, "api.max_body_size")
    try:
        with bodies.taken_by(len(body)):
            return take_in(body, request.user, timezone.now(), is_lines=is_lines)
    except NoRoom:
        raise IntakeBusy from None
    except TooManyEvents:
        raise BodyTooLarge(f"A request may hold {MAX_EVENTS} events at most.") from None
    except RecursionError:
        raise ParseError("The body is nested too deeply.") from None
    except ValueError as error:
        raise ParseError(f"The body is not JSON: {error}") from None
    except QueueFull as error:
        raise KafkaBusy from error
    except NotDelivered as error:
        raise KafkaUnavailable(not_stored(error)) from error


def not_stored(error: NotDelivered) -> str:
    """Which events a client has to send again."""
    named = ", ".join(str(index) for index, _ in error.failures[:INDEXES_NAMED])
    rest = ", …" if len(error.failures) > INDEXES_NAMED else ""
    return f"{len(error.failures)} events were not stored; send these again later (places from 0): {named}{rest}."


def nothing_accepted(receipt: Receipt, path: str) -> dict[str, Any]:
    """A problem document (RFC 9457) that holds the receipt too."""
    first = receipt.rejected[0]
    return {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": f"No event was accepted; the first because: {first.error}",
        "instance": path,
        **receipt.as_json(),
    }
