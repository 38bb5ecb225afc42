"""What happened in the life of an incident, and who did what about it, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from alerting.models import Delivery, Notification
from anomalies.circumstances import preceding
from anomalies.models import Anomaly, Feedback, State, Transition

MOST = 100

_DONE = {
    Transition.Kind.ACKNOWLEDGED: "acknowledged",
    Transition.Kind.ACKNOWLEDGEMENT_EXPIRED: "let the acknowledgement expire",
    Transition.Kind.RESOLVED: "resolved",
    Transition.Kind.REOPENED: "reopened",
    Transition.Kind.NOTED: "noted",
}
_TOLD = {
    Notification.Type.OPENED: "it had begun",
    Notification.Type.ESCALATED: "it had become worse",
    Notification.Type.REPEATED: "it goes on",
    Notification.Type.RESOLVED: "it was over",
}
_SENT = {
    Delivery.Status.PENDING: "is about to be told that",
    Delivery.Status.DELIVERED: "was told that",
    Delivery.Status.DEAD: "could not be told that",
}


@dataclass(frozen=True)
class Entry:
    """`who` did or met `what`; `kind` is begun, ended, done, told, failed, voted or noted."""

    at: datetime
    kind: str
    who: str
    what: str
    note: str = ""
    url: str = ""


def timeline(principal: object, members: Sequence[Anomaly]) -> list[Entry]:
    """Everything about these anomalies of one incident, oldest first: a constant number of queries."""
    ids = [row.pk for row in members]
    entries = [*_life(members), *_change_before(members), *_acts(ids), *_deliveries(principal, ids), *_votes(ids)]
    return sorted(entries, key=lambda entry: entry.at)


def _life(members: Sequence[Anomaly]) -> Iterable[Entry]:
    for row in members:
        yield Entry(row.first_seen, "begun", row.title, "began")
        if row.state == State.ADOPTED:
            yield Entry(row.last_seen, "ended", row.title, "lasted so long that it is the new normal")
        elif row.state == State.ENDED:
            yield Entry(row.last_seen, "ended", row.title, "was seen for the last time")


def _change_before(members: Sequence[Anomaly]) -> Iterable[Entry]:
    first = min(members, key=lambda row: row.first_seen, default=None)
    annotation = preceding(first) if first else None
    if annotation is not None:
        yield Entry(annotation.at, "noted", annotation.created_by or "Somebody", "noted", annotation.text)


def _acts(ids: Sequence[UUID]) -> Iterable[Entry]:
    """One entry for what somebody did to several anomalies at once."""
    rows = Transition.objects.filter(anomaly__in=ids).order_by("at", "id")
    acts = rows.values_list("at", "kind", "actor_name", "note").distinct()[:MOST]
    return [
        Entry(at, "done", actor, _DONE[Transition.Kind(kind)], note) for at, kind, actor, note in dict.fromkeys(acts)
    ]


def _deliveries(principal: object, ids: Sequence[UUID]) -> Iterable[Entry]:
    telling = Notification.anomalies.through.objects.filter(anomaly__in=ids).values("notification")
    rows = Delivery.objects.visible_to(principal).filter(notification__in=telling, status__in=list(_SENT))
    for row in rows.select_related("notification", "channel").order_by("created_at", "id")[:MOST]:
        told = f"{_SENT[Delivery.Status(row.status)]} {_TOLD[Notification.Type(row.notification.type)]}"
        kind = "failed" if row.status == Delivery.Status.DEAD else "told"
        trouble = row.last_error if row.status != Delivery.Status.DELIVERED else ""
        yield Entry(row.delivered_at or row.created_at, kind, row.channel.name, told, trouble)


def _votes(ids: Sequence[UUID]) -> Iterable[Entry]:
    rows = Feedback.objects.filter(anomaly__in=ids).order_by("at", "id")
    votes = dict.fromkeys(rows.values_list("at", "verdict", "actor_name", "note")[:MOST])
    return [Entry(at, "voted", actor, f"called it {verdict}", note) for at, verdict, actor, note in votes]
