"""Deliveries of single alerts become deliveries of notifications: per anomaly one group, per alert one notification."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import migrations

ROWS_AT_ONCE = 500
NAMESPACE = uuid.UUID("6f1f3c1e-5a0e-4f43-9a55-6b1f3f0c7d11")
RANK = {"": 0, "info": 1, "warning": 2, "critical": 3}
END = "anomaly.resolved"
UNHEARD = ("deduplicated", "muted")


def carry_over(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    alerts = apps.get_model("alerting", "Alert").objects.using(using)
    told = alerts.filter(deliveries__isnull=False).order_by().values_list("anomaly_id", flat=True).distinct()
    anomalies = list(told)
    for start in range(0, len(anomalies), ROWS_AT_ONCE):
        _carry(apps, using, anomalies[start : start + ROWS_AT_ONCE])


def _carry(apps: Any, using: str, ids: list[Any]) -> None:
    model = {name: apps.get_model("alerting", name) for name in ("AlertGroup", "GroupMember", "Notification")}
    alerts: dict[Any, list[Any]] = {}
    found = apps.get_model("alerting", "Alert").objects.using(using).filter(anomaly__in=ids, deliveries__isnull=False)
    for alert in found.select_related("anomaly__service").order_by("occurred_at", "type", "id").distinct():
        alerts.setdefault(alert.anomaly_id, []).append(alert)
    deliveries: dict[Any, list[Any]] = {}
    delivery_model = apps.get_model("alerting", "Delivery")
    for delivery in delivery_model.objects.using(using).filter(alert__anomaly__in=ids).select_related("rule"):
        deliveries.setdefault(delivery.alert_id, []).append(delivery)
    made: dict[str, list[Any]] = {name: [] for name in (*model, "links")}
    for events in alerts.values():
        _one(model, events, [deliveries.get(alert.id, []) for alert in events], made)
    for name, rows in model.items():
        rows.objects.using(using).bulk_create(made[name], batch_size=ROWS_AT_ONCE)
    model["Notification"].anomalies.through.objects.using(using).bulk_create(made["links"], batch_size=ROWS_AT_ONCE)
    every = [delivery for rows in deliveries.values() for delivery in rows]
    delivery_model.objects.using(using).bulk_update(
        every, ["notification", "anomaly_ids", "heard_ids"], batch_size=ROWS_AT_ONCE
    )
    _remember(apps, using, every)


def _one(model: dict[str, Any], events: list[Any], deliveries: list[list[Any]], made: dict[str, list[Any]]) -> None:
    """Group, member and notifications of one anomaly."""
    first, last = events[0], events[-1]
    anomaly = first.anomaly
    rule = next((d.rule for rows in deliveries for d in rows if d.rule is not None), None)
    severity = max((alert.severity for alert in events), key=RANK.__getitem__)
    lasts = anomaly.state == "active" and anomaly.status != "resolved" and last.type != END
    group = model["AlertGroup"](
        id=uuid.uuid5(NAMESPACE, f"group/{anomaly.id}"),
        rule=rule,
        rule_name=rule.name if rule else "",
        project_id=anomaly.service.project_id,
        key=f"anomaly/{anomaly.id}",
        labels={"incident": str(anomaly.incident_id)},
        phase="firing" if lasts else "resolved",
        created_at=first.created_at,
        opened_at=first.created_at,
        due_at=last.created_at if lasts else None,
        last_told_at=last.created_at,
        retold_at=last.created_at,
        told_severity=severity,
        sequence=len(events),
        resolved_at=None if lasts else last.created_at,
    )
    made["AlertGroup"].append(group)
    made["GroupMember"].append(
        model["GroupMember"](
            group=group,
            anomaly=anomaly,
            severity=severity,
            told_severity=severity,
            is_firing=lasts,
            is_settled=not lasts,
            occurred_at=last.occurred_at,
            ready_at=anomaly.first_seen,
            joined_at=first.created_at,
            ended_at=None if lasts else anomaly.last_seen,
        )
    )
    for number, (alert, rows) in enumerate(zip(events, deliveries, strict=True), start=1):
        notification = model["Notification"](
            id=uuid.uuid5(group.id, str(number)),
            group=group,
            sequence=number,
            type=alert.type,
            severity=alert.severity,
            occurred_at=alert.occurred_at,
            created_at=alert.routed_at or alert.created_at,
            count=1,
        )
        made["Notification"].append(notification)
        through = model["Notification"].anomalies.through
        made["links"].append(through(notification_id=notification.id, anomaly_id=anomaly.id))
        for delivery in rows:
            delivery.notification = notification
            unheard = delivery.status in UNHEARD
            delivery.anomaly_ids = [] if unheard else [str(anomaly.id)]
            delivery.heard_ids = [str(anomaly.id)] if delivery.status == "deduplicated" else []


def _remember(apps: Any, using: str, deliveries: list[Any]) -> None:
    """When channels last heard of what; later of equal ones win."""
    heard = apps.get_model("alerting", "Heard")
    latest: dict[tuple[Any, str], Any] = {}
    for delivery in sorted((d for d in deliveries if d.delivered_at), key=lambda d: d.delivered_at):
        latest[delivery.channel_id, delivery.dedup_key] = heard(
            channel_id=delivery.channel_id,
            dedup_key=delivery.dedup_key,
            severity=delivery.notification.severity,
            delivered_at=delivery.delivered_at,
        )
    known = {(row.channel_id, row.dedup_key): row.delivered_at for row in heard.objects.using(using).all()}
    never = [key for key, row in latest.items() if key not in known or known[key] < row.delivered_at]
    heard.objects.using(using).bulk_create(
        [latest[key] for key in never],
        update_conflicts=True,
        unique_fields=["channel", "dedup_key"],
        update_fields=["severity", "delivered_at"],
        batch_size=ROWS_AT_ONCE,
    )


class Migration(migrations.Migration):
    dependencies = [("alerting", "0006_group_times")]
    operations = [migrations.RunPython(carry_over, migrations.RunPython.noop)]
