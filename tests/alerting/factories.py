"""Rows and settings for tests of alerting."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from django.conf import settings
from django.utils import timezone

from alerting.channels.base import Message, Notice, NoticeType
from alerting.models import Alert, AlertGroup, Channel, Delivery, GroupMember, Notification
from alerting.outbox import alert_id
from alerting.rules.payload import AnomalyData
from alerting.telling import notification_id
from anomalies.models import Anomaly, Incident
from baselines.models import Project, Service

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "whsec_" + "c2VudGluZWwtdGVzdC1zZWNyZXQtMzItYnl0ZXMhISE="
LOOPBACK = (ip_network("127.0.0.0/8"),)


def alerting_settings(**sections: dict[str, Any] | float) -> Any:
    """The configuration with some keys of `alerting` changed: `webhook={"enabled": True}`, `max_event_age=60.0`."""
    config = settings.SENTINEL
    changes = {
        name: getattr(config.alerting, name).model_copy(update=value) if isinstance(value, dict) else value
        for name, value in sections.items()
    }
    return config.model_copy(update={"alerting": config.alerting.model_copy(update=changes)})


def anomaly_data(**changes: Any) -> AnomalyData:
    values = {
        "id": "0190c2f0-0000-5000-8000-000000000001",
        "title": "Latency spike in chat-api (gpt-4)",
        "description": "Answers took 15.2 s where 1.2 s is usual.",
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
        "first_seen": NOW,
        "last_seen": NOW,
        "url": "https://sentinel.example/admin/anomalies/anomaly/1/change/",
        "runbook_url": None,
        "labels": {},
        "sample_trace_ids": [],
    }
    return AnomalyData(**(values | changes))


def notice(**changes: Any) -> Notice:
    anomalies = changes.setdefault("anomalies", (anomaly_data(),))
    values = {
        "type": NoticeType.OPENED,
        "status": "firing",
        "severity": "critical",
        "title": anomalies[0].title,
        "text": anomalies[0].description,
        "group_id": "0190c2f0-0000-5000-8000-0000000000aa",
        "count": len(anomalies),
        "url": anomalies[0].url,
    }
    return Notice(**(values | changes))


def message(body: bytes = b'{"type":"anomaly.opened"}', **changes: Any) -> Message:
    values = {
        "id": str(uuid.uuid4()),
        "event": "anomaly.opened",
        "occurred_at": NOW,
        "severity": "critical",
        "service": "chat-api",
        "anomaly_type": "latency_spike",
        "body": body,
        "notice": notice(),
    }
    return Message(**(values | changes))


def a_service(name: str = "chat-api", project: str = "default", **labels: str) -> Service:
    owner, _ = Project.objects.get_or_create(name=project)
    values = {"project": owner, "labels": labels, "first_seen": NOW, "last_seen": NOW}
    return Service.objects.get_or_create(name=name, defaults=values)[0]


def an_anomaly(service: Service | None = None, **changes: Any) -> Anomaly:
    service = service or a_service()
    incident = Incident.objects.create(service=service, first_seen=NOW, last_seen=NOW)
    values: dict[str, Any] = {
        "id": uuid.uuid4(),
        "model": "gpt-4",
        "metric": "latency_ms",
        "type": "latency_spike",
        "direction": "up",
        "detector": "zscore",
        "detectors": {"zscore": 19.9},
        "value": 15234.5,
        "baseline_mean": 1234.5,
        "baseline_stddev": 234.2,
        "lower": 531.9,
        "upper": 1937.1,
        "z_score": 59.8,
        "score": 19.9,
        "severity": "critical",
        "occurrences": 3,
        "first_seen": NOW,
        "last_seen": NOW,
        "topic_id": uuid.uuid4(),
        "partition": 0,
        "first_offset": 1,
        "last_offset": 3,
    }
    return Anomaly.objects.create(incident=incident, service=service, **(values | changes))


def an_alert(anomaly: Anomaly | None = None, event: str = Alert.Type.OPENED, **changes: Any) -> Alert:
    anomaly = anomaly or an_anomaly()
    severity = changes.setdefault("severity", anomaly.severity)
    values = {"id": alert_id(anomaly.id, event, severity), "occurred_at": NOW, "created_at": NOW}
    return Alert.objects.create(anomaly=anomaly, type=event, **(values | changes))


def a_webhook(url: str, name: str = "hook", **changes: Any) -> Channel:
    values = {"kind": Channel.Kind.WEBHOOK, "config": {"url": url, "timeout_secs": 2}, "secret": SECRET}
    return Channel.objects.create(name=name, **(values | changes))


def a_group(*anomalies: Anomaly, **changes: Any) -> AlertGroup:
    """A group that these anomalies are in, told of them, as if nothing were due."""
    first = anomalies[0]
    values = {
        "project": first.service.project,
        "key": str(uuid.uuid4()),
        "phase": "firing",
        "told_severity": "critical",
    }
    times = dict.fromkeys(("created_at", "opened_at", "last_told_at", "retold_at"), NOW)
    group = AlertGroup.objects.create(**(values | times | changes))
    for anomaly in anomalies:
        a_member(group, anomaly)
    return group


def a_member(group: AlertGroup, anomaly: Anomaly, **changes: Any) -> GroupMember:
    values = {"severity": anomaly.severity, "told_severity": anomaly.severity, "joined_at": NOW}
    times = {"occurred_at": anomaly.last_seen, "ready_at": anomaly.first_seen}
    return GroupMember.objects.create(group=group, anomaly=anomaly, **(values | times | changes))


def a_notification(*anomalies: Anomaly, group: AlertGroup | None = None, **changes: Any) -> Notification:
    """The next telling of a group: of these anomalies, or of one made for it."""
    told = anomalies or (an_anomaly(),)
    group = group or AlertGroup.objects.filter(members__anomaly=told[0]).first() or a_group(*told)
    group.sequence += 1
    group.save()
    values: dict[str, Any] = {
        "type": Notification.Type.OPENED,
        "severity": told[0].severity,
        "occurred_at": NOW,
        "created_at": NOW,
        "count": len(told),
    }
    made = Notification(group=group, sequence=group.sequence, **(values | changes))
    made.id = notification_id(group.pk, group.sequence)
    made.save(force_insert=True)
    made.anomalies.set(told)
    return made


def a_telling(channel: Channel, *anomalies: Anomaly, type: str = Notification.Type.OPENED, **changes: Any) -> Delivery:
    """A delivery of the next telling of these anomalies."""
    notification = changes.pop("notification", None) or a_notification(*anomalies, type=type)
    ids = [str(anomaly) for anomaly in notification.anomalies.values_list("pk", flat=True)]
    values = {"anomaly_ids": ids, "created_at": NOW, "next_attempt_at": NOW}
    return Delivery.objects.create(notification=notification, channel=channel, **(values | changes))


def a_delivery(of: str = "default", **changes: Any) -> Delivery:
    """A notification of one anomaly of a project that was sent over a webhook."""
    channel = Channel.objects.filter(name="hook").first() or a_webhook("https://x.example/")
    values = {"created_at": timezone.now()} | changes
    return a_telling(channel, an_anomaly(a_service(f"service of {of}", of)), **values)
