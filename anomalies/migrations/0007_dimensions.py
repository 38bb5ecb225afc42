"""Dimensions become a list; until now nothing was written to them."""

from typing import Any

from django.db import migrations, models


def empty(apps: Any, schema_editor: Any) -> None:
    rows = apps.get_model("anomalies", "Anomaly").objects.using(schema_editor.connection.alias)
    rows.filter(dimensions={}).update(dimensions=[])


class Migration(migrations.Migration):
    dependencies = [("anomalies", "0006_overrides_and_feedback")]
    operations = [
        migrations.AlterField(
            model_name="anomaly",
            name="dimensions",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="values that its events have far more often than usual: dimension, value, share, usual_share",
            ),
        ),
        migrations.RunPython(empty, migrations.RunPython.noop),
    ]
