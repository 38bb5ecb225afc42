"""What a consumer left in its database, without what no two runs share: surrogate keys and the times of writing."""

from __future__ import annotations

import psycopg

ANOMALIES = """
    SELECT a.*, s.name AS service_name, i.first_seen AS incident_first_seen, i.last_seen AS incident_last_seen
    FROM anomalies_anomaly a
    JOIN baselines_service s ON s.id = a.service_id
    JOIN anomalies_incident i ON i.id = a.incident_id
"""
TABLES = {
    "anomalies": ANOMALIES,
    "minutes": "SELECT * FROM baselines_telemetryminute",
    "telemetry": "SELECT * FROM ingestion_telemetryevent",
    "detections": "SELECT * FROM ingestion_detection",
    "models": "SELECT s.name AS service_name, m.name FROM baselines_servedmodel m"
    " JOIN baselines_service s ON s.id = m.service_id",
}
SURROGATES = {"anomalies": "service_id", "minutes": "id", "telemetry": "id", "detections": "id", "models": "id"}
DETECTED = ("anomalies", "minutes", "models")
STORED = ("telemetry", "detections")
ALL = (*DETECTED, *STORED)

Dump = dict[str, list[str]]


def dump(database: str, tables: tuple[str, ...] = ALL) -> Dump:
    """The rows of each table as JSON texts in order."""
    with psycopg.connect(database) as connection:
        return {name: _rows(connection, name) for name in tables}


def _rows(connection: psycopg.Connection, name: str) -> list[str]:
    hidden = [SURROGATES[name], "updated_at"]
    query = f"SELECT (to_jsonb(t) - %s::text[])::text AS row FROM ({TABLES[name]}) t ORDER BY row"
    return [row for (row,) in connection.execute(query, [hidden]).fetchall()]


def differences(expected: Dump, found: Dump) -> dict[str, tuple[list[str], list[str]]]:
    """Per table that differs: the rows that are missing, and those that should not be there."""
    different = {}
    for name, rows in expected.items():
        if rows != found[name]:
            missing, added = set(rows) - set(found[name]), set(found[name]) - set(rows)
            different[name] = (sorted(missing)[:3], sorted(added)[:3] or [f"{len(found[name])} rows, not {len(rows)}"])
    return different
