"""From rows to what receivers read."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from pytest_django import Settings

from alerting.messages import message_of, test_message
from anomalies.models import Anomaly
from tests.alerting.factories import NOW, a_group, a_service, a_telling, a_webhook, an_anomaly

test_message.__test__ = False  # type: ignore[attr-defined]
pytestmark = pytest.mark.django_db


def sent(*anomalies: Anomaly, type: str = "anomaly.opened") -> dict:  # type: ignore[type-arg]
    delivery = a_telling(a_webhook("https://x.example/"), *anomalies, type=type)
    message = message_of(delivery)
    assert message.id == str(delivery.id)
    return json.loads(message.body)  # type: ignore[no-any-return]


def test_an_alert_tells_the_anomaly_in_the_documented_form(settings: Settings) -> None:
    service = a_service(team="search", runbook_url="https://runbooks.example/chat")
    anomaly = an_anomaly(service, sample_trace_ids=["t1", "t2"], last_seen=NOW + timedelta(seconds=2))
    body = sent(anomaly)
    data = body.pop("data")
    assert body == {"type": "anomaly.opened", "timestamp": "2026-03-01T12:00:00Z"}
    assert "15.2 s" in data.pop("description")
    assert data == {
        "id": str(anomaly.id),
        "title": "Latency spike in chat-api (gpt-4)",
        "severity": "critical",
        "status": "open",
        "anomaly_type": "latency_spike",
        "service": "chat-api",
        "model": "gpt-4",
        "metric": "latency_ms",
        "detector": "zscore",
        "value": 15234.5,
        "baseline_mean": 1234.5,
        "baseline_stddev": 234.2,
        "z_score": 59.8,
        "occurrences": 3,
        "first_seen": "2026-03-01T12:00:00Z",
        "last_seen": "2026-03-01T12:00:02Z",
        "url": f"{settings.SENTINEL.api.public_url}/admin/anomalies/anomaly/{anomaly.id}/change/",
        "runbook_url": "https://runbooks.example/chat",
        "labels": {"team": "search", "runbook_url": "https://runbooks.example/chat"},
        "sample_trace_ids": ["t1", "t2"],
    }


def test_the_severity_is_that_of_the_event_and_an_end_is_resolved_whatever_people_did() -> None:
    anomaly = an_anomaly(status="acknowledged", severity="warning")
    a_group(anomaly)
    Anomaly.objects.update(severity="critical")
    data = sent(anomaly, type="anomaly.resolved")["data"]
    assert (data["severity"], data["status"]) == ("warning", "resolved")


def test_the_numbers_are_those_of_the_moment_of_sending() -> None:
    anomaly = an_anomaly()
    a_group(anomaly)
    Anomaly.objects.update(occurrences=9000)
    assert sent(anomaly)["data"]["occurrences"] == 9000


def test_the_words_for_people_are_those_of_the_channel() -> None:
    channel = a_webhook("https://x.example/", title_template="{{ anomaly.service }} {{ type }}")
    delivery = a_telling(channel)
    notice = message_of(delivery).notice
    assert (notice.title, notice.group_id) == ("chat-api opened", str(delivery.notification.group_id))
    assert "15.2 s" in notice.text
    assert test_message(channel, NOW).notice.title == "llm-sentinel test"
