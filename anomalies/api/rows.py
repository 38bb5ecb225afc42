"""Anomalies as the API shows them: plain dicts straight from the columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from anomalies.models import Anomaly
from baselines.api.pages import Keyset

_SAME = (
    "id incident_id first_seen last_seen model metric type direction detector detectors value "
    "baseline_mean baseline_stddev baseline_median lower upper z_score score severity confidence occurrences "
    "state status acknowledged_at acknowledged_until assignee resolved_at note dimensions details "
    "sample_trace_ids feedback"
)
FIELDS = {name: name for name in _SAME.split()} | {
    "service": "service__name",
    "acknowledged_by": "acknowledged_by_name",
    "resolved_by": "resolved_by_name",
}
NOBODY = ("acknowledged_by", "resolved_by", "assignee")
NEWEST = Keyset(("first_seen", "id"), descending=True)
Position = tuple[datetime, UUID]


def newest(
    anomalies: QuerySet[Anomaly], limit: int, position: Sequence[Any] | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of anomalies, newest `first_seen` first, and the cursor of the next one."""
    rows, following = NEWEST.page(anomalies, FIELDS, limit, position)
    return [shown(row) for row in rows], following


def columns_of(names: Iterable[str] | None) -> dict[str, str]:
    """Fields and their columns for the named ones, None for all; `shown` makes the rest."""
    if names is None:
        return FIELDS
    return {
        name: FIELDS[name] for name in dict.fromkeys("first_seen" if name == "timestamp" else name for name in names)
    }


def one(anomalies: QuerySet[Anomaly], anomaly_id: UUID) -> dict[str, Any]:
    """One of `anomalies`; raises Anomaly.DoesNotExist."""
    rows, _ = newest(anomalies.filter(pk=anomaly_id), limit=1)
    if not rows:
        raise Anomaly.DoesNotExist
    return rows[0]


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """What is derived from the columns: `timestamp` (= first_seen), and null instead of an empty name."""
    if "first_seen" in row:
        row["timestamp"] = row["first_seen"]
    for key in NOBODY:
        if key in row:
            row[key] = row[key] or None
    return row
