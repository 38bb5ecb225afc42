"""What the new columns of incidents say about those there are."""

from typing import Any

from django.db import migrations

ROWS = 1000
COLUMNS = ["title", "type", "severity", "state", "status", "anomaly_count"]


def summarise(apps: Any, schema_editor: Any) -> None:
    """Until now every anomaly had an incident of its own."""
    using = schema_editor.connection.alias
    incidents = apps.get_model("anomalies", "Incident").objects.using(using)
    anomalies = apps.get_model("anomalies", "Anomaly").objects.using(using).select_related("service", "incident")
    rows = []
    for anomaly in anomalies.iterator(chunk_size=ROWS):
        row = anomaly.incident
        row.title = f"{anomaly.type.replace('_', ' ').capitalize()} in {anomaly.service.name} ({anomaly.model})"
        row.type, row.severity, row.state = anomaly.type, anomaly.severity, anomaly.state
        row.status, row.anomaly_count = anomaly.status, 1
        rows.append(row)
        if len(rows) == ROWS:
            incidents.bulk_update(rows, COLUMNS, batch_size=200)
            rows = []
    incidents.bulk_update(rows, COLUMNS, batch_size=200)


class Migration(migrations.Migration):
    dependencies = [("anomalies", "0004_incident_summary")]
    operations = [migrations.RunPython(summarise, migrations.RunPython.noop)]
