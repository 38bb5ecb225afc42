"""Send a test message over a channel and tell what the receiver really said."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

import structlog

from alerting import health
from alerting.channels import kind_named
from alerting.channels.base import DeliveryFailed
from alerting.config_channels import target_of
from alerting.messages import test_message
from alerting.models import Channel

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcome of one test message, with the keys of the API's answer."""

    ok: bool
    status_code: int | None
    latency_ms: float
    answer: str
    error: str


def send_test(channel: Channel, now: datetime) -> Trial:
    """One attempt with a message of type `channel.test`; disabled channels may be tried too. Raises nothing.

    A test that arrives says as much as a delivery: what waited for the channel goes now.
    """
    began = time.monotonic()
    try:
        answer = kind_named(channel.kind).send(target_of(channel), test_message(channel, now), now)
    except DeliveryFailed as failure:
        return Trial(False, failure.status_code, _milliseconds(began), failure.answer, str(failure))
    except Exception as error:
        log.exception("channel_test_raised", channel=channel.name)
        return Trial(
            False, None, _milliseconds(began), "", f"{type(error).__name__}, which is an error of LLM-Sentinel"
        )
    health.note_success(channel, now)
    return Trial(True, answer.status_code, _milliseconds(began), answer.text, "")


def _milliseconds(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)
