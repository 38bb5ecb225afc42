"""From rows to what receivers read: the message of a delivery, about one anomaly or many."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from alerting.acknowledging import link as acknowledge_link
from alerting.channels.base import Message, Notice, NoticeType
from alerting.channels.wording import built_in_title, worded
from alerting.models import Channel, Delivery, GroupMember, Notification
from alerting.rules.payload import MANY, MAX_LISTED, AnomalyData, BatchData, encode_body
from alerting.succession import told_as, told_as_over
from anomalies import circumstances
from anomalies.models import SEVERITY_RANK, Anomaly, Severity, Status

TEST_EVENT = "channel.test"
BATCH_EVENT = "anomaly.batch"


@dataclass(frozen=True, slots=True)
class Part:
    """What a message tells of one group: its notification, the anomalies as they are now, and their severities."""

    notification: Notification
    type: str
    anomalies: tuple[AnomalyData, ...]

    @property
    def is_resolved(self) -> bool:
        return self.type == Notification.Type.RESOLVED


def message_of(delivery: Delivery, carried: Sequence[Delivery] = (), now: datetime | None = None) -> Message:
    """The message of a delivery, and of those it carries as a summary, with the anomalies as they are `now`.

    Raises `LookupError` when none of its anomalies exists any more.
    """
    parts = [part for part in map(_part, (delivery, *carried)) if part.anomalies]
    told = [anomaly for part in parts for anomaly in part.anomalies]
    if not told:
        raise LookupError("the anomalies of this delivery were deleted")
    notice = _notice_of(delivery, parts, now or timezone.now())
    occurred_at = max(part.notification.occurred_at for part in parts)
    services = {anomaly.service for anomaly in told}
    data: AnomalyData | BatchData = told[0]
    event, kind = parts[0].type, told[0].anomaly_type
    if len(told) > 1:
        event, kind = BATCH_EVENT, "batch"
        data = _batch(notice, _incident(delivery, parts), len(told))
    return Message(
        id=str(delivery.id),
        event=event,
        occurred_at=occurred_at,
        severity=notice.severity,
        service=services.pop() if len(services) == 1 else MANY,
        anomaly_type=kind,
        body=encode_body(event, occurred_at, data),
        notice=in_words_of(delivery.channel, notice),
    )


def _part(delivery: Delivery) -> Part:
    notification, type_ = delivery.notification, told_as(delivery)
    rows = Anomaly.objects.filter(pk__in=delivery.anomaly_ids).select_related("service").order_by("first_seen", "id")
    members = GroupMember.objects.filter(group=notification.group_id, anomaly__in=delivery.anomaly_ids)
    severities = dict(members.values_list("anomaly_id", "severity"))
    over = told_as_over(delivery)
    data = [_data(r, severities.get(r.pk, notification.severity), is_over=str(r.pk) in over) for r in rows]
    return Part(notification, type_, tuple(data))


def _notice_of(delivery: Delivery, parts: Sequence[Part], now: datetime) -> Notice:
    """What people read. A summary of several groups is a thing of its own: no thread, no group to follow."""
    firing = [part for part in parts if not part.is_resolved]
    everything = [anomaly for part in parts for anomaly in part.anomalies]
    told = [anomaly for anomaly in everything if anomaly.status != Status.RESOLVED] or everything
    group = delivery.notification.group
    single = len(parts) == 1
    incident = _incident(delivery, parts)
    return Notice(
        type=NoticeType(parts[0].type.removeprefix("anomaly.")) if single else _summary_type(firing),
        status="firing" if firing else "resolved",
        severity=max((anomaly.severity for anomaly in told), key=lambda name: SEVERITY_RANK[Severity(name)]),
        group_id=str(group.pk) if single else str(delivery.id),
        anomalies=tuple(everything[:MAX_LISTED]),
        count=len(everything),
        thread=str(group.thread.get(str(delivery.channel_id), "")) if single else "",
        url=everything[0].url if len(everything) == 1 else _incident_url(incident),
        runbook_url=next((anomaly.runbook_url for anomaly in everything if anomaly.runbook_url), None) or "",
        acknowledge_url=acknowledge_link(delivery.channel, group.pk, now) if single and firing else "",
    )


def _summary_type(firing: Sequence[Part]) -> NoticeType:
    return NoticeType.OPENED if firing else NoticeType.RESOLVED


def _batch(notice: Notice, incident: str | None, count: int) -> BatchData:
    return BatchData(
        incident_id=incident,
        status=Status.RESOLVED if notice.is_resolved else Status.OPEN,
        severity=notice.severity,
        title=built_in_title(notice),
        anomalies=list(notice.anomalies),
        count=count,
    )


def _incident(delivery: Delivery, parts: Sequence[Part]) -> str | None:
    """The incident that all of it belongs to, if it is one."""
    ids = [anomaly.id for part in parts for anomaly in part.anomalies]
    incidents = set(Anomaly.objects.filter(pk__in=ids).values_list("incident_id", flat=True))
    return str(incidents.pop()) if len(incidents) == 1 else None


def _incident_url(incident: str | None) -> str:
    if incident is None:
        return _public(reverse("admin:anomalies_anomaly_changelist"))
    return _public(reverse("admin:anomalies_incident_change", args=[incident]))


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


def _data(anomaly: Anomaly, severity: str, *, is_over: bool) -> AnomalyData:
    labels = {key: str(value) for key, value in anomaly.service.labels.items()}
    return AnomalyData(
        id=str(anomaly.id),
        title=anomaly.title,
        description=circumstances.told(anomaly),
        severity=severity,
        status=Status.RESOLVED if is_over else anomaly.status,
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
