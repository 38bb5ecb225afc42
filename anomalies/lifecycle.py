"""What people do about anomalies: acknowledge and resolve. Each change is a Transition row in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from anomalies import incidents
from anomalies.models import Anomaly, Status, Transition
from baselines.people import SYSTEM, name_of

ROWS_PER_TRANSACTION = 500


@dataclass(frozen=True)
class Act:
    """One thing somebody does: to which rows it applies, what it writes into them, what is remembered of it."""

    kind: Transition.Kind
    to_status: Status
    applies_to: Callable[[Anomaly], bool]
    columns: dict[str, Any]
    actor: AbstractBaseUser | None = None
    actor_name: str = SYSTEM
    note: str = ""
    now: datetime = field(default_factory=timezone.now)


def acknowledge(
    anomalies: QuerySet[Anomaly],
    actor: object,
    note: str = "",
    *,
    assignee: str = "",
    expires_at: datetime | None = None,
    now: datetime | None = None,
) -> int:
    """Acknowledge the open ones of `anomalies`; returns how many rows changed.

    One that is acknowledged already changes only where note, assignee or expiry are given and differ, and keeps who
    acknowledged it first; a resolved one never changes. So repeating a call changes nothing.
    """
    given = {"note": note, "assignee": assignee, "acknowledged_until": expires_at}
    given = {column: value for column, value in given.items() if value}
    who = _actor(actor)
    now = now or timezone.now()
    first = {"acknowledged_by": who["actor"], "acknowledged_by_name": who["actor_name"], "acknowledged_at": now}
    acts = [Act(Transition.Kind.ACKNOWLEDGED, Status.ACKNOWLEDGED, _is_open, given | first, note=note, now=now, **who)]
    if given:
        amended = _differs(Status.ACKNOWLEDGED, given)
        acts.append(Act(Transition.Kind.NOTED, Status.ACKNOWLEDGED, amended, given, note=note, now=now, **who))
    return _perform(acts, anomalies)


def resolve(anomalies: QuerySet[Anomaly], actor: object, note: str = "", now: datetime | None = None) -> int:
    """Resolve those of `anomalies` that are not resolved yet; returns how many rows changed.

    Resolving while the episode is active mutes it until it ends.
    """
    who = _actor(actor)
    now = now or timezone.now()
    columns = {"resolved_by": who["actor"], "resolved_by_name": who["actor_name"], "resolved_at": now}
    columns |= {"acknowledged_until": None} | ({"note": note} if note else {})
    return _perform(
        [Act(Transition.Kind.RESOLVED, Status.RESOLVED, _is_unresolved, columns, note=note, now=now, **who)], anomalies
    )


def expire_acknowledgements(now: datetime | None = None) -> int:
    """Reopen what was acknowledged until a time that has come; returns how many rows changed."""
    now = now or timezone.now()

    def is_due(row: Anomaly) -> bool:
        until = row.acknowledged_until
        return row.status == Status.ACKNOWLEDGED and until is not None and until <= now

    columns = {"acknowledged_by": None, "acknowledged_by_name": "", "acknowledged_at": None, "acknowledged_until": None}
    due = Anomaly.objects.filter(status=Status.ACKNOWLEDGED, acknowledged_until__lte=now)
    return _perform([Act(Transition.Kind.ACKNOWLEDGEMENT_EXPIRED, Status.OPEN, is_due, columns, now=now)], due)


def _actor(principal: object) -> dict[str, Any]:
    """A person is kept as a reference and by name, a program by its token's name only."""
    actor = principal if isinstance(principal, AbstractBaseUser) else None
    return {"actor": actor, "actor_name": name_of(principal)}


def _is_open(row: Anomaly) -> bool:
    return row.status == Status.OPEN


def _is_unresolved(row: Anomaly) -> bool:
    return row.status != Status.RESOLVED


def _differs(status: Status, given: dict[str, Any]) -> Callable[[Anomaly], bool]:
    return lambda row: row.status == status and any(getattr(row, column) != value for column, value in given.items())


def _perform(acts: Sequence[Act], anomalies: QuerySet[Anomaly]) -> int:
    """Perform on each row the first act that applies to it, in short transactions."""
    return sum(_perform_on(acts, ids) for ids in _batches(list(anomalies.order_by().values_list("pk", flat=True))))


def _batches(ids: list[Any]) -> Iterator[list[Any]]:
    ids.sort()
    return (ids[start : start + ROWS_PER_TRANSACTION] for start in range(0, len(ids), ROWS_PER_TRANSACTION))


@transaction.atomic
def _perform_on(acts: Sequence[Act], ids: list[Any]) -> int:
    incidents.lock(Anomaly.objects.filter(pk__in=ids).order_by().values_list("service_id", flat=True).distinct())
    # Locked in the order of their ids, so that two people who act on the same rows wait instead of deadlocking.
    rows = {row.pk: row for row in Anomaly.objects.select_for_update().filter(pk__in=ids).order_by("pk")}
    changed, touched = 0, set()
    for act in acts:
        chosen = [rows.pop(row.pk) for row in list(rows.values()) if act.applies_to(row)]
        touched |= {row.incident_id for row in chosen}
        changed += _write(act, chosen)
    incidents.summarise(touched)
    return changed


def _write(act: Act, rows: list[Anomaly]) -> int:
    columns = act.columns | {"status": act.to_status, "updated_at": act.now}
    changed = Anomaly.objects.filter(pk__in=[row.pk for row in rows]).update(**columns)
    Transition.objects.bulk_create(
        Transition(
            anomaly=row,
            kind=act.kind,
            from_status=row.status,
            to_status=act.to_status,
            actor=act.actor,
            actor_name=act.actor_name,
            note=act.note,
            at=act.now,
        )
        for row in rows
    )
    return changed
