"""How things stand: the components, what is open, and what is on its way."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, QuerySet

from alerting.models import Channel, Delivery, Silence
from alerting.rules.health import is_unhealthy
from anomalies.models import SEVERITY_RANK, Incident, State, Status
from baselines.models import PartitionCheckpoint, Service, TelemetryMinute
from baselines.visibility import visible_project_ids
from ingestion.models import ReplayedLetter
from sentinel_site import health

COUNTED = 10_000
"""Rows that are counted at most: what is more is told as so many."""
RECENT = timedelta(hours=24)


def situation(
    principal: object,
    now: datetime,
    components: list[health.Component] = health.COMPONENTS + health.AT_STARTUP,
    patience: float | None = None,
) -> dict[str, Any]:
    """All of it, as far as `principal` may see it; in few queries, none of which reads a large table through.

    A component that does not answer within `patience` seconds counts as unhealthy.
    """
    status, parts = health.examine(components, patience)
    known: dict[str, Any] = {"status": status, "components": parts}
    if status == "unhealthy":
        return known
    return known | {
        "incidents": incidents(principal),
        "deliveries": deliveries(principal, now),
        "channels": channels(principal),
        "silences": Silence.objects.visible_to(principal).current(now).count(),
        "services": Service.objects.visible_to(principal).count(),
        "telemetry": telemetry(principal, now),
    }


def incidents(principal: object) -> dict[str, int]:
    """Incidents that nobody has resolved and whose evidence lasts, by severity, the worst first."""
    rows = Incident.objects.visible_to(principal).current().exclude(status=Status.RESOLVED)
    counted = Counter(rows.filter(state=State.ACTIVE).order_by().values_list("severity", flat=True)[:COUNTED])
    return {severity: counted[severity] for severity in sorted(SEVERITY_RANK, key=SEVERITY_RANK.get, reverse=True)}  # type: ignore[arg-type]


def deliveries(principal: object, now: datetime) -> dict[str, int]:
    """Those that wait, and those that were given up in the last day."""
    rows = Delivery.objects.visible_to(principal).order_by()
    dead = rows.filter(status=Delivery.Status.DEAD, created_at__gte=now - RECENT)
    return {"waiting": counted(rows.filter(status=Delivery.Status.PENDING)), "dead": counted(dead)}


def channels(principal: object) -> dict[str, list[str]]:
    """The names of channels that do not work, and of those that are turned off."""
    rows = list(Channel.objects.visible_to(principal).values_list("name", "enabled", "failure_count"))
    failing = [name for name, enabled, failures in rows if enabled and is_unhealthy(failures)]
    return {"failing": failing, "off": [name for name, enabled, _ in rows if not enabled]}


def telemetry(principal: object, now: datetime) -> dict[str, Any]:
    """When the newest event happened that a baseline knows of, and when detection last kept its state."""
    newest = TelemetryMinute.objects.visible_to(principal).order_by("-minute").values_list("minute", flat=True).first()
    kept = PartitionCheckpoint.objects.aggregate(at=Max("updated_at"), partitions=Count("id"))
    replayed = ReplayedLetter.objects.count() if visible_project_ids(principal) is None else None
    return {
        "newest_minute": newest,
        "minutes_behind": None if newest is None else round((now - newest).total_seconds() / 60, 1),
        "state_kept": kept["at"],
        "partitions": kept["partitions"],
        "dead_letters_replayed": replayed,
    }


def counted(rows: QuerySet[Any]) -> int:
    return rows.values("pk")[:COUNTED].count()


def lines(known: dict[str, Any]) -> list[tuple[str, str]]:
    """The same for people: what, and how it is."""
    told = [(part["name"], _component(part)) for part in known["components"]]
    if "incidents" not in known:
        return told
    active = ", ".join(f"{count} {severity}" for severity, count in known["incidents"].items() if count)
    waits = known["deliveries"]
    off, failing = known["channels"]["off"], known["channels"]["failing"]
    told.append(("incidents", active or "none that last"))
    told.append(("deliveries", f"{waits['waiting']} waiting, {waits['dead']} given up in 24 h"))
    told.append(("channels", "; ".join(filter(None, (_listed("failing", failing), _listed("off", off)))) or "all work"))
    told.append(("silences", f"{known['silences']} in force"))
    told.append(("services", str(known["services"])))
    newest = known["telemetry"]["newest_minute"]
    age = known["telemetry"]["minutes_behind"]
    told.append(
        ("telemetry", "none yet" if newest is None else f"newest minute {newest:%Y-%m-%d %H:%MZ}, {age} min ago")
    )
    return told


def _component(part: dict[str, Any]) -> str:
    detail = part["error"] or (f"{part['latency_ms']:.1f} ms" if part["latency_ms"] is not None else "")
    return f"{part['status']} ({detail})" if detail else str(part["status"])


def _listed(word: str, names: list[str]) -> str:
    return f"{word}: {', '.join(names)}" if names else ""
