"""From rows to what receivers read: facts for matchers, and the message of a delivery."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.conf import settings
from django.urls import reverse

from alerting.channels.base import Message, Notice, NoticeType
from alerting.channels.wording import worded
from alerting.models import Alert, Channel, Delivery
from alerting.rules.payload import AnomalyData, encode_body
from anomalies import circumstances
from anomalies.models import Severity, Status

TEST_EVENT = "channel.test"


def facts(alert: Alert) -> dict[str, str]:
    """What the matchers of a rule may ask about an alert; `alert.anomaly.service.project` must be loaded."""
    anomaly = alert.anomaly
    service = anomaly.service
    labels = {f"labels.{key}": str(value) for key, value in service.labels.items()}
    return labels | {
        "service": service.name,
        "project": service.project.name,
        "model": anomaly.model,
        "type": anomaly.type,
        "metric": anomaly.metric,
        "direction": anomaly.direction,
        "detector": anomaly.detector,
        "severity": alert.severity,
        "status": anomaly.status,
        "event": alert.type,
    }


def message_of(delivery: Delivery) -> Message:
    """The message of a delivery, with the anomaly as it is now and the severity and time of the event."""
    alert = delivery.alert
    anomaly = alert.anomaly
    data = _data(alert)
    return Message(
        id=str(delivery.id),
        event=alert.type,
        occurred_at=alert.occurred_at,
        severity=alert.severity,
        service=anomaly.service.name,
        anomaly_type=anomaly.type,
        body=encode_body(alert.type, alert.occurred_at, data),
        notice=in_words_of(
            delivery.channel, _notice(NoticeType(alert.type.removeprefix("anomaly.")), str(anomaly.id), data)
        ),
    )


def test_message(channel: Channel, now: datetime) -> Message:
    """A message of type `channel.test`: all keys of a real one, nothing that a program could take for an anomaly."""
    title = f"Test of the channel {channel.name}"
    text = "Somebody pressed “send test” in LLM-Sentinel. Nothing is wrong."
    return own_message(channel, uuid.uuid4(), TEST_EVENT, NoticeType.TEST, title, text, now, now)


def own_message(
    channel: Channel,
    identity: uuid.UUID,
    event: str,
    type_: NoticeType,
    title: str,
    text: str,
    since: datetime,
    now: datetime,
) -> Message:
    """A message to `channel` about LLM-Sentinel itself, in the form of all others; `identity` is its group, too."""
    severity = Severity.WARNING if type_ == NoticeType.OPENED else Severity.INFO
    data = AnomalyData(
        id=str(identity),
        title=title,
        description=text,
        severity=severity,
        status=Status.OPEN if type_ == NoticeType.OPENED else Status.RESOLVED,
        anomaly_type=event.replace(".", "_"),
        service="llm-sentinel",
        model="none",
        metric="none",
        detector="none",
        value=None,
        baseline_mean=None,
        baseline_stddev=None,
        z_score=None,
        occurrences=0,
        first_seen=since,
        last_seen=now,
        url=_public("/"),
        runbook_url=None,
        labels={},
        sample_trace_ids=[],
    )
    message_id = str(uuid.uuid5(identity, f"{event}/{channel.pk}"))
    notice = in_words_of(channel, _notice(type_, str(identity), data))
    body = encode_body(event, now, data)
    return Message(message_id, event, now, severity, data.service, data.anomaly_type, body, notice)


def in_words_of(channel: Channel, notice: Notice) -> Notice:
    """The notice with the title and the text that this channel gives it."""
    return worded(notice, channel.title_template, channel.body_template)


def _notice(type_: NoticeType, group_id: str, data: AnomalyData) -> Notice:
    return Notice(
        type=type_,
        status="resolved" if type_ == NoticeType.RESOLVED else "firing",
        severity=data.severity,
        group_id=group_id,
        anomalies=(data,),
        count=1,
        url=data.url,
        runbook_url=data.runbook_url or "",
    )


def _data(alert: Alert) -> AnomalyData:
    anomaly = alert.anomaly
    labels = {key: str(value) for key, value in anomaly.service.labels.items()}
    return AnomalyData(
        id=str(anomaly.id),
        title=anomaly.title,
        description=circumstances.told(anomaly),
        severity=alert.severity,
        status=Status.RESOLVED if alert.type == Alert.Type.RESOLVED else anomaly.status,
        anomaly_type=anomaly.type,
        service=anomaly.service.name,
        model=anomaly.model,
        metric=anomaly.metric,
        detector=anomaly.detector,
        value=anomaly.value,
        baseline_mean=anomaly.baseline_mean,
        baseline_stddev=anomaly.baseline_stddev,
        z_score=anomaly.z_score,
        occurrences=anomaly.occurrences,
        first_seen=anomaly.first_seen,
        last_seen=anomaly.last_seen,
        url=_public(reverse("admin:anomalies_anomaly_change", args=[anomaly.id])),
        runbook_url=labels.get("runbook_url"),
        labels=labels,
        sample_trace_ids=list(anomaly.sample_trace_ids),
    )


def _public(path: str) -> str:
    return str(settings.SENTINEL.api.public_url).rstrip("/") + path
