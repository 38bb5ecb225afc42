"""From rows to what receivers read."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from pytest_django import Settings

from alerting.messages import message_of, test_message
from alerting.models import Alert, Delivery
from anomalies.models import Anomaly
from tests.alerting.factories import NOW, a_service, a_webhook, an_alert, an_anomaly

test_message.__test__ = False  # type: ignore[attr-defined]
pytestmark = pytest.mark.django_db


def sent(alert: Alert) -> dict:  # type: ignore[type-arg]
    delivery = Delivery.objects.create(alert=alert, channel=a_webhook("https://x.example/"), dedup_key="k")
    message = message_of(delivery)
    assert message.id == str(delivery.id)
    return json.loads(message.body)  # type: ignore[no-any-return]


def test_an_alert_tells_the_anomaly_in_the_documented_form(settings: Settings) -> None:
    service = a_service(team="search", runbook_url="https://runbooks.example/chat")
    anomaly = an_anomaly(service, sample_trace_ids=["t1", "t2"], last_seen=NOW + timedelta(seconds=2))
    body = sent(an_alert(anomaly))
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
    anomaly = an_anomaly(status="acknowledged", severity="critical")
    data = sent(an_alert(anomaly, Alert.Type.RESOLVED, severity="warning"))["data"]
    assert (data["severity"], data["status"]) == ("warning", "resolved")


def test_the_numbers_are_those_of_the_moment_of_sending() -> None:
    alert = an_alert()
    Anomaly.objects.update(occurrences=9000)
    assert sent(Alert.objects.get(pk=alert.pk))["data"]["occurrences"] == 9000


def test_the_words_for_people_are_those_of_the_channel() -> None:
    channel = a_webhook("https://x.example/", title_template="{{ anomaly.service }} {{ type }}")
    assert test_message(channel, NOW).notice.title == "llm-sentinel test"


def test_a_test_message_has_the_keys_of_a_real_one() -> None:
    real = sent(an_alert())
    test = json.loads(test_message(a_webhook("https://x.example/", name="other"), NOW).body)
    assert test["type"] == "channel.test"
    assert list(test["data"]) == list(real["data"])
    assert test["data"]["severity"] == "info"
