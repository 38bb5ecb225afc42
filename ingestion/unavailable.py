"""Answers to senders whose telemetry cannot be taken now: nothing is lost if they send it again."""

from __future__ import annotations

from rest_framework import status
from rest_framework.exceptions import APIException


class KafkaUnavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "kafka_unavailable"
    wait = 5  # seconds, as Retry-After


class KafkaBusy(APIException):
    """More comes in than Kafka takes."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_detail = "More telemetry comes in than Kafka takes. Send it again later."
    default_code = "kafka_busy"
    wait = 2


class IntakeBusy(APIException):
    """Other requests took all the memory that is meant for them, for longer than one should wait."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_detail = "Too many large requests are being read. Send it again later."
    default_code = "intake_busy"
    wait = 2


class MemoryAway(APIException):
    """Redis, which knows what cumulative metrics said before, does not answer."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Redis does not answer. Send it again later."
    default_code = "memory_away"
    wait = 5
