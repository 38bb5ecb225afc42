"""A row of everything that is in the admin, in one project and with its marks in every text: for tests over all pages.

A model that comes into the admin has to come in here, or the tests that ask for it fail.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from auditlog.models import LogEntry
from axes.models import AccessAttempt
from django.contrib.auth.models import Group
from django.db.models import Model
from django.utils import timezone

from alerting.models import AlertRule, Budget, Channel, Inhibition, Silence, Threshold
from anomalies import feedback
from anomalies.models import DetectionOverride
from baselines.models import Annotation, PartitionCheckpoint, Project, Service
from ingestion.models import ReplayedLetter
from tests.alerting import factories
from tests.support import catalogue
from tests.support.catalogue import NOON

MATCHERS = [{"field": "service", "op": "exact", "value": "chat-api"}]


class World:
    """Makes rows that belong to project `of` and say `mark`."""

    def __init__(self, of: str, mark: str) -> None:
        self.of, self.mark = of, mark
        self.project: Project = catalogue.project(of)

    def one_of_each(self) -> dict[str, Model]:
        """A new row of each model, by its label."""
        return {label: make(self) for label, make in MAKERS.items()}

    def name(self) -> str:
        return f"{self.mark}-{uuid.uuid4().hex[:8]}"

    def service(self) -> Service:
        return catalogue.service(self.name(), of=self.of, models=(f"model-{self.mark}",))

    def anomaly(self) -> Any:
        return catalogue.anomaly(self.service(), at=timezone.now(), note=self.mark)

    def channel(self) -> Channel:
        return Channel.objects.create(name=self.name(), kind="email", project=self.project)

    def delivery(self) -> Any:
        return factories.a_telling(self.channel(), self.anomaly())

    def letter(self) -> ReplayedLetter:
        place = {"topic": "llm.telemetry", "partition": 0, "offset": 1, "reason": "malformed_json", "actor": "otto"}
        return ReplayedLetter.objects.create(id=uuid.uuid4(), claim=uuid.uuid4(), claimed_at=NOON, **place)

    def vote(self) -> Any:
        anomaly = self.anomaly()
        feedback.vote(anomaly.pk, catalogue.token("write")[0], "noise", self.mark, timezone.now())
        return anomaly.votes.get()

    def trail(self) -> LogEntry:
        entry = LogEntry.objects.get_for_object(self.channel()).first()
        assert entry is not None
        return entry


MAKERS: dict[str, Callable[[World], Any]] = {
    "access.apitoken": lambda world: catalogue.token("read", of=world.of, name=world.name())[0],
    "alerting.alert": lambda world: factories.an_alert(world.anomaly()),
    "alerting.alertrule": lambda world: AlertRule.objects.create(name=world.name(), project=world.project),
    "alerting.budget": lambda world: Budget.objects.create(name=world.name(), amount=5, project=world.project),
    "alerting.channel": World.channel,
    "alerting.delivery": World.delivery,
    "alerting.inhibition": lambda world: Inhibition.objects.create(name=world.name(), project=world.project),
    "alerting.silence": lambda world: Silence.objects.create(
        comment=world.mark, project=world.project, matchers=MATCHERS, ends_at=NOON.replace(year=2100)
    ),
    "alerting.threshold": lambda world: Threshold.objects.create(
        name=world.name(), aggregation="mean", metric="latency_ms", operator=">", value=1, project=world.project
    ),
    "anomalies.anomaly": World.anomaly,
    "anomalies.detectionoverride": lambda world: DetectionOverride.objects.create(
        service=world.mark, project=world.project
    ),
    "anomalies.feedback": World.vote,
    "anomalies.incident": lambda world: world.anomaly().incident,
    "auditlog.logentry": World.trail,
    "auth.group": lambda world: Group.objects.create(name=world.name()),
    "auth.user": lambda world: catalogue.person(world.name(), projects=(world.of,)),
    "axes.accessattempt": lambda world: AccessAttempt.objects.create(
        username=world.name(), ip_address="192.0.2.1", failures_since_start=1
    ),
    "baselines.annotation": lambda world: Annotation.objects.create(service=world.service(), at=NOON, text=world.mark),
    "baselines.baselinesnapshot": lambda world: catalogue.baseline(world.service().name),
    "baselines.partitioncheckpoint": lambda world: PartitionCheckpoint.objects.create(
        topic="llm.telemetry", topic_id=uuid.uuid4(), partition=0, offset=1, updated_at=NOON
    ),
    "baselines.project": lambda world: catalogue.project(world.name()),
    "baselines.servedmodel": lambda world: world.service().models.get(),
    "baselines.service": World.service,
    "ingestion.replayedletter": World.letter,
}
