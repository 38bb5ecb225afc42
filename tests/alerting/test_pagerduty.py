"""What PagerDuty is sent; https://developer.pagerduty.com/docs/events-api-v2/trigger-events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alerting.channels.base import Answer, DeliveryFailed, NoticeType, Target
from alerting.channels.pagerduty import PagerDuty
from tests.alerting.factories import NOW, anomaly_data, message, notice
from tests.alerting.receivers import Receiver, answer, receiver

pytestmark = pytest.mark.usefixtures("loopback_allowed")

KEY = "0123456789abcdef0123456789abcdef"
ACCEPTED = answer(202, b'{"status":"success","message":"Event processed","dedup_key":"x"}')


def send(hook: Receiver, **changes: Any) -> Answer:
    return PagerDuty().send(
        Target("pd", {"url": hook.url, "timeout_secs": 2}, KEY), message(notice=notice(**changes)), NOW
    )


def sent(hook: Receiver) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in hook.requests]


def test_an_opening_triggers_an_incident_under_the_groups_key() -> None:
    with receiver(ACCEPTED) as hook:
        said = send(hook, runbook_url="https://wiki.example/r")
    (event,) = sent(hook)
    details = event["payload"].pop("custom_details")
    assert event == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "0190c2f0-0000-5000-8000-0000000000aa",
        "payload": {
            "summary": "Latency spike in chat-api (gpt-4)",
            "source": "chat-api",
            "severity": "critical",
            "timestamp": "2026-03-01T12:00:00.000+00:00",
            "component": "gpt-4",
            "class": "latency_spike",
        },
        "client": "LLM-Sentinel",
        "client_url": "https://sentinel.example/admin/anomalies/anomaly/1/change/",
        "links": [
            {"href": "https://sentinel.example/admin/anomalies/anomaly/1/change/", "text": "Open"},
            {"href": "https://wiki.example/r", "text": "Runbook"},
        ],
    }
    assert details["anomalies"][0]["value"] == 15234.5
    assert (said.status_code, said.thread) == (202, "0190c2f0-0000-5000-8000-0000000000aa")


@pytest.mark.parametrize("type_", [NoticeType.OPENED, NoticeType.ESCALATED, NoticeType.REPEATED])
def test_whatever_still_fires_adds_to_the_same_incident(type_: NoticeType) -> None:
    with receiver(ACCEPTED) as hook:
        send(hook, type=type_)
    assert [(e["event_action"], e["dedup_key"][-2:]) for e in sent(hook)] == [("trigger", "aa")]


def test_an_end_resolves_the_incident() -> None:
    with receiver(ACCEPTED) as hook:
        send(hook, type=NoticeType.RESOLVED, status="resolved")
    key = "0190c2f0-0000-5000-8000-0000000000aa"
    assert sent(hook) == [{"routing_key": KEY, "event_action": "resolve", "dedup_key": key}]


def test_a_test_leaves_no_incident_behind() -> None:
    with receiver(ACCEPTED) as hook:
        send(hook, type=NoticeType.TEST, severity="info")
    assert [(e["event_action"], e["dedup_key"][-2:]) for e in sent(hook)] == [("trigger", "aa"), ("resolve", "aa")]


def test_names_and_numbers_stay_within_what_pagerduty_takes() -> None:
    many = tuple(anomaly_data(id=str(n), title="t" * 3000, service="s" * 5000) for n in range(200))
    with receiver(ACCEPTED) as hook:
        send(hook, anomalies=many, title="x" * 3000, count=9000)
    (request,) = hook.requests
    payload = json.loads(request.body)["payload"]
    assert len(request.body) <= 512_000
    assert (len(payload["summary"]), len(payload["source"])) == (1024, 8)
    assert payload["custom_details"]["count"] == 9000
    assert 0 < len(payload["custom_details"]["anomalies"]) < 200


def test_a_refused_key_ends_the_delivery_and_is_not_repeated() -> None:
    refusal = b'{"status":"invalid event","message":"Event object is invalid","errors":["' + KEY.encode() + b'"]}'
    with receiver(answer(400, refusal)) as hook, pytest.raises(DeliveryFailed) as caught:
        send(hook)
    assert caught.value.permanent
    assert "Event object is invalid" in caught.value.answer
    assert KEY not in caught.value.answer


@pytest.mark.parametrize(
    ("config", "secret", "key"),
    [
        ({}, "", "secret"),
        ({}, "a b", "secret"),
        ({}, "a\r\nb", "secret"),
        ({"url": "pd"}, KEY, "url"),
        ({"x": 1}, KEY, "x"),
    ],
)
def test_settings_that_cannot_work_are_refused(config: dict[str, Any], secret: str, key: str) -> None:
    assert list(PagerDuty().problems(config, secret)) == [key]


def test_the_integration_key_is_all_that_is_needed() -> None:
    assert PagerDuty().problems({}, KEY) == {}
