"""The life of alerts with time passed in: events happen, seconds go by, and what each channel heard is noted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from alerting import joining
from alerting.channels import KINDS
from alerting.channels.base import Answer, DeliveryFailed, Message, Target
from alerting.delivery import deliver, queue_due
from alerting.models import Alert, AlertRule, Channel, Delivery
from alerting.outbox import announce
from alerting.quiet import load_quiet
from alerting.routing import route_pending
from alerting.telling import tell_due
from anomalies import lifecycle
from anomalies.models import Anomaly, State
from anomalies.record import Change
from tests.alerting.factories import NOW, a_service, a_webhook, an_anomaly

QUEUED_FOR = timedelta(seconds=30)


@dataclass(frozen=True)
class Heard:
    """One message that a channel accepted."""

    at: float
    """Seconds since the life began."""
    channel: str
    message: Message

    @property
    def type(self) -> str:
        return f"anomaly.{self.message.notice.type}"

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.message.body)  # type: ignore[no-any-return]

    @property
    def anomalies(self) -> list[str]:
        return [anomaly.id for anomaly in self.message.notice.anomalies]


@dataclass
class Scripted:
    """A kind of channel that accepts everything, or fails for channels named in `failing`."""

    life: Life
    name: str = "webhook"
    failing: set[str] = field(default_factory=set)
    refused: int = 0

    def problems(self, config: dict[str, Any], secret: str) -> dict[str, str]:
        return {}

    def send(self, target: Target, message: Message, at: datetime) -> Answer:
        if target.name in self.failing:
            self.refused += 1
            raise DeliveryFailed("the receiver answered 503", permanent=False, status_code=503)
        self.life.heard.append(Heard(self.life.seconds, target.name, message))
        return Answer(200, thread=f"thread of {message.notice.group_id}")


class Life:
    """A clock, the outbox, and the channels' ears."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = NOW
        self.heard: list[Heard] = []
        self.receivers = Scripted(self)
        patch.setitem(KINDS, "webhook", self.receivers)  # type: ignore[arg-type]

    @property
    def seconds(self) -> float:
        return (self.now - NOW).total_seconds()

    def rule(self, *channels: Channel, name: str = "rule", **changes: Any) -> AlertRule:
        rule = AlertRule.objects.create(name=name, **({"min_severity": "info"} | changes))
        rule.channels.set(channels)
        return rule

    def channel(self, name: str = "hook", **changes: Any) -> Channel:
        return a_webhook("http://x.example/", name, **changes)

    def opens(self, service: str = "chat-api", like: Anomaly | None = None, **changes: Any) -> Anomaly:
        """An anomaly begins now; `like` puts it into the incident of another one."""
        changes = {"severity": "critical", "first_seen": self.now, "last_seen": self.now} | changes
        anomaly = an_anomaly(like.service if like else a_service(service), **changes)
        if like is not None:
            Anomaly.objects.filter(pk=anomaly.pk).update(incident=like.incident_id)
        announce([Change(anomaly.id, "opened", anomaly.severity, self.now)], self.now)
        return anomaly

    def rises(self, anomaly: Anomaly, severity: str = "critical") -> None:
        Anomaly.objects.filter(pk=anomaly.pk).update(severity=severity, last_seen=self.now)
        announce([Change(anomaly.pk, "escalated", severity, self.now)], self.now)

    def ends(self, *anomalies: Anomaly) -> None:
        for anomaly in anomalies:
            Anomaly.objects.filter(pk=anomaly.pk).update(state=State.ENDED, last_seen=self.now)
            severity = Anomaly.objects.get(pk=anomaly.pk).severity
            announce([Change(anomaly.pk, "ended", severity, self.now)], self.now)

    def acknowledge(self, anomaly: Anomaly, until: float | None = None) -> None:
        expires = self.now + timedelta(seconds=until) if until is not None else None
        lifecycle.acknowledge(Anomaly.objects.filter(pk=anomaly.pk), None, expires_at=expires, now=self.now)

    def resolve(self, anomaly: Anomaly) -> None:
        lifecycle.resolve(Anomaly.objects.filter(pk=anomaly.pk), None, now=self.now)

    def passes(self, seconds: float, every: float = 5.0) -> None:
        """Time goes by, with a sweep now and every few seconds until the end."""
        self.sweep()
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(self.now + timedelta(seconds=every), end)
            self.sweep()

    def sweep(self) -> None:
        """What the workers do at this moment, until nothing is left to do."""
        lifecycle.expire_acknowledgements(self.now)
        while route_pending(self.now):
            pass
        joining.end_silently_ended(self.now)
        joining.revive_unattended(self.now)
        for _ in range(20):
            looked, made = tell_due(self.now, load_quiet(self.now))
            due = dict.fromkeys([*made, *queue_due(self.now, 1000, QUEUED_FOR)])
            tried = [deliver(each, lambda: self.now) for each in due]
            if not looked and not any(tried):
                return
        raise AssertionError("the workers found something to do for ever")

    def types(self, channel: str = "hook") -> list[tuple[float, str]]:
        """When a channel heard what kind of event."""
        return [(each.at, each.type.removeprefix("anomaly.")) for each in self.heard if each.channel == channel]

    @staticmethod
    def pending() -> int:
        alerts = Alert.objects.filter(outcome=Alert.Outcome.PENDING).count()
        return alerts + Delivery.objects.filter(status=Delivery.Status.PENDING).count()
