"""PagerDuty: Events API v2. One incident per group of anomalies, by `dedup_key`; a resolve resolves it.

https://developer.pagerduty.com/docs/events-api-v2/trigger-events
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec

from alerting.channels.base import (
    TIMEOUT,
    Answer,
    DeliveryFailed,
    Message,
    NoticeType,
    Setting,
    Target,
    seconds_problem,
    unknown_keys,
)
from alerting.channels.posting import credential_problem, post, url_problem
from alerting.channels.wording import links
from alerting.rules.plain import one_line

EVENTS = "https://events.pagerduty.com/v2/enqueue"
MAX_SUMMARY = 1024
MAX_FIELD = 255
MAX_EVENT_BYTES = 500_000
"""PagerDuty takes 512 kB."""
SEVERITIES = {"critical": "critical", "warning": "warning", "info": "info"}
ABOUT = ("id", "title", "severity", "anomaly_type", "service", "model", "metric", "value", "first_seen", "url")


class PagerDuty:
    """The secret is the integration key. A test triggers an incident and resolves it at once."""

    name: ClassVar[str] = "pagerduty"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("url", f"Where events go; {EVENTS} if empty. In the EU: https://events.eu.pagerduty.com/v2/enqueue"),
        TIMEOUT,
    )
    credential: ClassVar[str] = "The integration key (routing key) of an Events API v2 integration."

    def problems(self, config: dict[str, Any], secret: str) -> dict[str, str]:
        found = unknown_keys(config, self.settings) | seconds_problem(config, "timeout_secs")
        problem = url_problem(config.get("url", EVENTS), EVENTS)
        if problem:
            found["url"] = problem
        wrong = credential_problem(secret) if secret else "is required: the integration key of the service"
        return found | ({"secret": wrong} if wrong else {})

    def send(self, target: Target, message: Message, at: datetime) -> Answer:
        if credential_problem(target.secret):
            raise DeliveryFailed("the integration key " + credential_problem(target.secret), permanent=True)
        answer = self._post(target, event(message, target.secret), at)
        if message.notice.type == NoticeType.TEST:
            answer = self._post(target, ending(message, target.secret), at)
        return dataclasses.replace(answer, thread=message.notice.group_id)

    @staticmethod
    def _post(target: Target, body: dict[str, Any], at: datetime) -> Answer:
        url = target.config.get("url", EVENTS)
        return post(url, _within_limit(body), at, target.config, secret=target.secret)


def event(message: Message, routing_key: str) -> dict[str, Any]:
    """The event that a notice is: a trigger, which raises or adds to an incident, or the resolve that ends it."""
    notice = message.notice
    if notice.is_resolved:
        return ending(message, routing_key)
    first = notice.anomalies[0] if notice.anomalies else None
    payload = {
        "summary": one_line(notice.title, MAX_SUMMARY),
        "source": one_line(message.service, MAX_FIELD),
        "severity": SEVERITIES.get(notice.severity, "error"),
        "timestamp": message.occurred_at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "component": one_line(first.model, MAX_FIELD) if first else "",
        "class": message.anomaly_type,
        "custom_details": {
            "text": notice.text,
            "count": notice.count,
            "delivery_id": message.id,
            "anomalies": [{name: getattr(anomaly, name) for name in ABOUT} for anomaly in notice.anomalies],
        },
    }
    return ending(message, routing_key) | {
        "event_action": "trigger",
        "payload": payload,
        "client": "LLM-Sentinel",
        "client_url": notice.url,
        "links": [{"href": url, "text": label} for label, url in links(notice)],
    }


def ending(message: Message, routing_key: str) -> dict[str, Any]:
    """The event that resolves the incident of the group."""
    key = message.notice.group_id[:MAX_FIELD]
    return {"routing_key": routing_key, "event_action": "resolve", "dedup_key": key}


def _within_limit(body: dict[str, Any]) -> bytes:
    """The event as JSON; with half of the anomalies as often as it is too big, which the count tells."""
    encoded = msgspec.json.encode(body)
    while len(encoded) > MAX_EVENT_BYTES:
        details = body["payload"]["custom_details"]
        details["anomalies"] = details["anomalies"][: len(details["anomalies"]) // 2]
        encoded = msgspec.json.encode(body)
    return encoded
